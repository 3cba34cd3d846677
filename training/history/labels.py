"""LABELS: when each stream was anomalous, as intervals of event time, both ends
included.

They come from a file, ``stream,start,end[,...]``, with times as in DATA. Or they come
from the 0/1 column ``label`` in DATA itself: a run of ones is an interval from its
first row to its last. Overlapping intervals of a stream are one event.

A file may name a stream, ``host-1``, or a metric of it, ``host-1/cpu``, whatever the
bundle makes a stream of. :func:`applied` gives the interval of a stream to all its
metrics, and that of a metric to a stream that is scored as a whole.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.data.table import Table
from detector.errors import DataError
from detector.events import F64, I64
from detector.names import metric_stream
from detector.phrases import listed
from detector.timestamps import seconds

#: stream -> float64 [k, 2], start and end in epoch seconds, apart and in order
Labels = Mapping[str, F64]
#: bool [n], whether each row is in an event
Truth = npt.NDArray[np.bool_]

_COLUMNS = ("stream", "start", "end")
# Names that a message lists.
_LISTED = 3


def runs(truth: Truth) -> tuple[I64, I64]:
    """First and last index of every run of True."""
    edges = np.diff(np.concatenate(([False], truth, [False])).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def label_column(tables: Sequence[Table]) -> Labels | None:
    """The intervals of the ``label`` column, for every stream (perhaps none of them);
    None if no file has the column. Raises DataError.
    """
    all_times: dict[str, list[F64]] = {}
    all_labels: dict[str, list[F64]] = {}
    for table in tables:
        if table.label is None:
            continue
        _refuse_other_labels(table, table.label)
        for name, rows in table.by_stream():
            all_times.setdefault(name, []).append(table.times[rows])
            all_labels.setdefault(name, []).append(table.label[rows])
    if not all_times:
        return None
    found = {}
    for name, pieces in all_times.items():
        times = np.concatenate(pieces)
        label = np.concatenate(all_labels[name])
        order = np.argsort(times, kind="stable")
        first, last = runs(label[order] == 1)
        ordered = times[order]
        found[name] = np.stack([ordered[first], ordered[last]], axis=1)
    return found


def _refuse_other_labels(table: Table, label: F64) -> None:
    """Raises DataError for a label other than 0 and 1; NaN is no label."""
    strange = np.flatnonzero(~np.isin(label, (0, 1)) & np.isfinite(label))
    if len(strange):
        row = strange[0]
        raise DataError(
            f"{table.path}, row {row + 1}: label {label[row]:g} is neither 0 nor 1"
        )


def read_labels(path: Path) -> Labels:
    """The intervals in a file. Raises DataError that names the row and the remedy."""
    found: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(_read_rows(path), 1):
        start = row["start"] or ""
        end = row["end"] or ""
        stream = row["stream"] or ""
        first = _time(start, path, number, "start")
        last = _time(end, path, number, "end")
        if last < first:
            raise DataError(
                f"{path}, row {number}: the event of {stream} ends ({end}) "
                f"before it starts ({start})"
            )
        found.setdefault(stream, []).append((first, last))
    return {
        name: _merged(np.array(sorted(intervals))) for name, intervals in found.items()
    }


def _read_rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            missing = [column for column in _COLUMNS if column not in names]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}: "
                    f"its first line is {','.join(_COLUMNS)}"
                )
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} can't be read as CSV ({reason})") from None


def applied(known: Labels, tables: Sequence[Table], source: Path) -> Labels:
    """The labels of a file for the streams of DATA as they are scored.

    Raises DataError for a label that meets no data.
    """
    spans: dict[str, tuple[float, float]] = {}
    # pairs of a stream and a name that its labels may have, in order
    named: dict[tuple[str, str], None] = {}
    for table in tables:
        wholes = dict(zip(table.streams, table.wholes, strict=True))
        for stream, rows in table.by_stream():
            times = table.times[rows]
            own = float(times.min()), float(times.max())
            for name in (stream, wholes[stream], *_metrics(stream, table, known)):
                first, last = spans.get(name, own)
                spans[name] = (min(first, own[0]), max(last, own[1]))
                named[stream, name] = None
    refuse_strangers(known, spans, source)
    found: dict[str, list[F64]] = {}
    for stream, name in named:
        if name in known:
            found.setdefault(stream, []).append(known[name])
    return {stream: joined(parts) for stream, parts in found.items()}


def _metrics(stream: str, table: Table, known: Labels) -> Iterator[str]:
    """The metrics of a stream that have labels of their own."""
    if table.parted is None:
        for feature in (*table.features, *table.aside):
            metric = metric_stream(stream, feature)
            if metric in known:
                yield metric


def joined(parts: Sequence[F64]) -> F64:
    """Intervals [k, 2] of several kinds as one, those that overlap as one event."""
    if len(parts) == 1:
        return parts[0]
    intervals = np.concatenate([np.zeros((0, 2)), *parts])
    if not len(intervals):
        return intervals
    return _merged(intervals[np.lexsort(intervals.T[::-1])])


def _time(
    cell: str,
    path: Path,
    row: int,
    column: str,
) -> float:
    try:
        when = seconds(cell)
        if math.isfinite(when):
            return when
    except ValueError:
        pass
    raise DataError(
        f"{path}, row {row}: {column} {cell!r} is neither epoch seconds nor ISO 8601"
    )


def _merged(intervals: F64) -> F64:
    """``intervals`` [k, 2] in order of start, those that overlap as one."""
    reach = np.maximum.accumulate(intervals[:, 1])
    begins_anew = np.concatenate(([True], intervals[1:, 0] > reach[:-1]))
    first = np.flatnonzero(begins_anew)
    last = np.append(first[1:] - 1, len(intervals) - 1)
    return np.stack([intervals[first, 0], reach[last]], axis=1)


def marked(times: F64, intervals: F64) -> Truth:
    """Which of ``times`` [n] are in one of ``intervals`` [k, 2]."""
    if not len(intervals):
        return np.zeros(len(times), np.bool_)
    at = np.searchsorted(intervals[:, 0], times, side="right") - 1
    before_end = times <= intervals[np.maximum(at, 0), 1]
    return np.asarray((at >= 0) & before_end, np.bool_)


def refuse_strangers(
    labels: Labels, spans: Mapping[str, tuple[float, float]], source: Path
) -> None:
    """Raises DataError for a label whose stream is not in the data, and for an event
    outside of its stream's first and last time.
    """
    strangers = sorted(set(labels) - set(spans))
    if strangers:
        some = listed(sorted(spans), _LISTED)
        raise DataError(
            f"{source} labels {listed(strangers, _LISTED)}, "
            f"which the data does not hold (it holds {some})"
        )
    for name, intervals in labels.items():
        first, last = spans[name]
        outside = (intervals[:, 1] < first) | (intervals[:, 0] > last)
        if outside.any():
            start, end = intervals[int(np.argmax(outside))]
            raise DataError(
                f"{source}: the event of {name} from {start:.15g} to {end:.15g} is "
                f"outside of its data ({first:.15g} to {last:.15g}): "
                "are both in the same unit and time zone?"
            )
