"""What there is to say of a history, in sums: how many streams, which, and the remedy.

A fleet has hundreds of streams. So a note counts streams and names a few of them, and
metrics that the same streams share are in one note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detector.events import F32, F64
from detector.phrases import duration, listed
from detector.timestamps import WEEK, rfc3339

# Streams, metrics or files that a note names.
NAMED = 3
# Notes on one thing; the others are summed up in one more.
_NOTES = 4
# A metric is constant if its range is at most this share of its largest value: float32
# has seven digits, and the last one is noise of the writer's rounding.
_RESOLUTION = 1e-6
# Ticks of a stream from which on an interval between two rows is a gap.
_GAP = 10
# A stream has another tick if it is this many times the fleet's, or a part of it.
_OTHER_TICK = 1.5
# Stream-weeks of calibration rows below which a budget of one a week is not counted.
_CALIBRATED_WEEKS = 1.0

_Rows = Mapping[str, tuple[F64, F32]]


def counted(count: int, what: str) -> str:
    """``1 row``, ``1,234 rows``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def of_streams(count: int, total: int) -> str:
    """``12 of 300 streams``, ``all 12 streams``, ``the only stream``."""
    if count == total:
        return "the only stream" if total == 1 else f"all {total:,} streams"
    return f"{count:,} of {total:,} streams"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def notes_on(
    features: Sequence[str],
    heads: Mapping[str, F32],
    streams: _Rows,
    calibrated: float,
) -> Iterator[str]:
    """All that is to be said of ``streams``.

    ``heads``: the fit rows of each stream, float32 [n, F]. ``calibrated``: the share of
    its rows that calibrates.
    """
    yield from notes_on_time(streams, len(features) == 1)
    yield from notes_on_metrics(features, heads, streams)
    yield from notes_on_calibration(streams, calibrated)


def notes_on_counters(counters: Sequence[str]) -> Iterator[str]:
    """The features that are totals: what is fitted is their rate."""
    if counters:
        yield (
            f"{counted(len(counters), 'counter')} ({listed(counters, NAMED)}) "
            "fitted as a rate per second, as the daemon scores them"
        )


def notes_on_time(streams: _Rows, single_metric: bool) -> Iterator[str]:
    """Other ticks, and gaps. The graph of a ``single_metric`` follows each tick."""
    ticks = {name: _tick(times) for name, (times, _) in streams.items()}
    usual = float(np.median(list(ticks.values())))
    other = {
        name: tick
        for name, tick in ticks.items()
        if max(tick / usual, usual / tick) > _OTHER_TICK
    }
    if other:
        shown = [f"{name}: {tick:g} s" for name, tick in other.items()]
        remedy = "a bundle counts time in points, so fit one for each interval"
        if single_metric:
            remedy = "each is scored at its own, and its threshold follows it"
        yield (
            f"{of_streams(len(other), len(streams))} {_has(len(other))} a point at "
            f"another interval than {usual:g} s ({listed(shown, NAMED)}): {remedy}"
        )
    yield from _gaps(streams, ticks)


def _tick(times: F64) -> float:
    """Seconds between two points, the median."""
    return float(np.median(np.diff(times)))


def _gaps(streams: _Rows, ticks: Mapping[str, float]) -> Iterator[str]:
    """In how many streams rows are missing, and the longest gap."""
    longest = {}
    for name, (times, _) in streams.items():
        intervals = np.diff(times)
        widest = int(np.argmax(intervals))
        if intervals[widest] > _GAP * ticks[name]:
            longest[name] = (float(intervals[widest]), float(times[widest]))
    if longest:
        worst = max(longest, key=lambda name: longest[name][0])
        seconds, since = longest[worst]
        yield (
            f"{of_streams(len(longest), len(streams))} {_has(len(longest))} gaps of "
            f"more than {_GAP} points, the longest in {worst}: {duration(seconds)} from "
            f"{rfc3339(since, 0)}; nothing is learned there: complete the export if "
            "the rows exist"
        )


def notes_on_metrics(
    features: Sequence[str], heads: Mapping[str, F32], streams: _Rows
) -> Iterator[str]:
    """Metrics that are never there, and metrics that never move in the fit rows.

    ``heads``: the fit rows of each stream, float32 [n, F]. Whether a metric moves is
    judged by its own values: it may be small beside those of another stream.
    """
    total = len(heads)
    missing: dict[str, list[str]] = {}
    late: dict[str, list[str]] = {}
    constant: dict[str, list[str]] = {}
    for name, values in heads.items():
        for j, feature in enumerate(features):
            known = values[:, j][np.isfinite(values[:, j])]
            if not np.isfinite(streams[name][1][:, j]).any():
                missing.setdefault(feature, []).append(name)
            elif not len(known):
                late.setdefault(feature, []).append(name)
            elif is_constant(known):
                constant.setdefault(feature, []).append(name)
    yield from _sums(
        missing,
        total,
        ("never reports", "never report"),
        "drop the column if nobody does",
    )
    yield from _sums(
        late,
        total,
        ("only lately reports", "only lately report"),
        "no value is in the rows that are fitted to, so the fleet's scale is taken; "
        "give more history",
    )
    yield from _sums(
        constant,
        total,
        ("has constant", "have constant"),
        "kept, as any change of it is unusual; drop the column if no change matters",
    )


def is_constant(known: F32) -> bool:
    """Whether finite values [n] do not move, but for float32's last digit."""
    low = float(known.min())
    high = float(known.max())
    return high - low <= _RESOLUTION * max(abs(low), abs(high))


def _sums(
    found: Mapping[str, Sequence[str]],
    total: int,
    verbs: tuple[str, str],
    remedy: str,
) -> Iterator[str]:
    """One note for all metrics of the same streams, those of most streams first.

    ``found``: the streams of each metric. ``verbs``: of one stream, and of several.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for feature, names in found.items():
        alike.setdefault(tuple(names), []).append(feature)
    by_streams = sorted(alike.items(), key=lambda item: -len(item[0]))
    for names, metrics in by_streams[:_NOTES]:
        which = listed([f"`{metric}`" for metric in metrics], NAMED)
        where = "" if len(names) == total else f" ({listed(names, NAMED)})"
        verb = verbs[len(names) > 1]
        yield f"{of_streams(len(names), total)}{where} {verb} {which}: {remedy}"
    rest = by_streams[_NOTES:]
    others = sorted({f"`{metric}`" for _, metrics in rest for metric in metrics})
    if others:
        count = len({name for names, _ in rest for name in names})
        which = listed(others, NAMED)
        verb = verbs[count > 1]
        yield f"{of_streams(count, total)} {verb} one or more of {which}: {remedy}"


def notes_on_calibration(streams: _Rows, share: float) -> Iterator[str]:
    """Calibration rows that are too few to count incidents on.

    ``share``: of each stream's rows that calibrates.
    """
    rows = [round(len(times) * share) for times, _ in streams.values()]
    seconds = [
        count * _tick(times)
        for count, (times, _) in zip(rows, streams.values(), strict=True)
    ]
    weeks = sum(seconds) / WEEK
    if weeks < _CALIBRATED_WEEKS:
        yield (
            f"{counted(sum(rows), 'row')} calibrate ({weeks:.2g} stream-weeks), too "
            "few to count one incident a week on: thresholds rest on the shape of the "
            "score's tail; give more history, or more streams"
        )
