"""LABELS: when each stream was anomalous, as intervals of event time, both ends
included.

They come from a file, ``stream,start,end[,...]``, times as in DATA; or from the 0/1
column ``label`` in DATA itself, where a run of ones is an interval from its first row
to its last. Overlapping intervals of a stream are one event.

A file may name a stream, ``host-1``, or a metric of it, ``host-1/cpu``, whatever the
bundle makes a stream of: :func:`applied` gives the interval of a stream to all its
metrics, and that of a metric to a stream that is scored as a whole.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detector.data.tables import Table
from detector.errors import DataError
from detector.events import F64
from detector.timestamps import seconds
from training.evaluation.metrics import Truth, runs

#: stream -> float64 [k, 2], start and end in epoch seconds, apart and in order
Labels = Mapping[str, F64]


def label_column(tables: Sequence[Table]) -> Labels | None:
    """The intervals of the ``label`` column, for every stream (perhaps none of them);
    None where no file has one. Raises DataError.
    """
    parts: dict[str, list[tuple[F64, F64]]] = {}
    for table in tables:
        if table.label is None:
            continue
        odd = np.flatnonzero(~np.isin(table.label, (0, 1)) & np.isfinite(table.label))
        if len(odd):
            raise DataError(
                f"{table.path}, row {odd[0] + 1}: label {table.label[odd[0]]:g} is neither 0 nor 1"
            )
        for name, rows in table.by_stream():
            parts.setdefault(name, []).append((table.times[rows], table.label[rows]))
    if not parts:
        return None
    found = {}
    for name, pieces in parts.items():
        times, label = (
            np.concatenate(columns) for columns in zip(*pieces, strict=True)
        )
        order = np.argsort(times, kind="stable")
        first, last = runs(label[order] == 1)
        found[name] = np.stack([times[order][first], times[order][last]], axis=1)
    return found


def read_labels(path: Path) -> Labels:
    """The intervals in a file. Raises DataError that names the row and the remedy."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [
                c
                for c in ("stream", "start", "end")
                if c not in (reader.fieldnames or ())
            ]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}: its first line is stream,start,end"
                )
            rows = [
                (i, r["stream"] or "", r["start"] or "", r["end"] or "")
                for i, r in enumerate(reader, 1)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} can't be read as CSV ({getattr(error, 'strerror', None) or error})"
        ) from None
    found: dict[str, list[tuple[float, float]]] = {}
    for number, stream, start, end in rows:
        first = _time(start, path, number, "start")
        last = _time(end, path, number, "end")
        if last < first:
            raise DataError(
                f"{path}, row {number}: the event of {stream} ends ({end}) before it starts ({start})"
            )
        found.setdefault(stream, []).append((first, last))
    return {
        name: _merged(np.array(sorted(intervals))) for name, intervals in found.items()
    }


def applied(known: Labels, tables: Sequence[Table], source: Path) -> Labels:
    """The labels of a file for the streams of DATA as they are scored. Raises DataError
    where one meets no data.
    """
    spans: dict[str, tuple[float, float]] = {}
    found: dict[str, list[F64]] = {}
    named: dict[tuple[str, str], None] = {}
    for table in tables:
        wholes = dict(zip(table.streams, table.wholes, strict=True))
        for stream, rows in table.by_stream():
            metrics = (
                [f"{stream}/{feature}" for feature in (*table.features, *table.aside)]
                if table.parted is None
                else []
            )
            span = float(table.times[rows].min()), float(table.times[rows].max())
            for name in dict.fromkeys(
                (stream, wholes[stream], *(m for m in metrics if m in known))
            ):
                first, last = spans.get(name, span)
                spans[name] = (min(first, span[0]), max(last, span[1]))
                named[stream, name] = None
    refuse_strangers(known, spans, source)
    for stream, name in named:
        if name in known:
            found.setdefault(stream, []).append(known[name])
    return {stream: joined(parts) for stream, parts in found.items()}


def joined(parts: Sequence[F64]) -> F64:
    """Intervals [k, 2] of several kinds as one, those that overlap as one event."""
    if len(parts) == 1:
        return parts[0]
    intervals = np.concatenate([np.zeros((0, 2)), *parts])
    return (
        _merged(intervals[np.lexsort(intervals.T[::-1])])
        if len(intervals)
        else intervals
    )


def _time(cell: str, path: Path, row: int, column: str) -> float:
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
    first = np.flatnonzero(np.concatenate(([True], intervals[1:, 0] > reach[:-1])))
    return np.stack(
        [intervals[first, 0], reach[np.append(first[1:] - 1, len(intervals) - 1)]],
        axis=1,
    )


def marked(times: F64, intervals: F64) -> Truth:
    """Which of ``times`` [n] lie in one of ``intervals`` [k, 2]."""
    if not len(intervals):
        return np.zeros(len(times), np.bool_)
    at = np.searchsorted(intervals[:, 0], times, side="right") - 1
    return np.asarray((at >= 0) & (times <= intervals[np.maximum(at, 0), 1]), np.bool_)


def refuse_strangers(
    labels: Labels, spans: Mapping[str, tuple[float, float]], source: Path
) -> None:
    """Raise DataError where a label names no stream of the data, or an event lies
    outside of its stream's first and last time.
    """
    strangers = sorted(set(labels) - set(spans))
    if strangers:
        some = ", ".join(sorted(spans)[:5])
        raise DataError(
            f"{source} labels {_few(strangers)}, which the data does not hold (it holds {some}{', …' if len(spans) > 5 else ''})"
        )
    for name, intervals in labels.items():
        first, last = spans[name]
        outside = (intervals[:, 1] < first) | (intervals[:, 0] > last)
        if outside.any():
            start, end = intervals[int(np.argmax(outside))]
            raise DataError(
                f"{source}: the event of {name} from {start:.15g} to {end:.15g} lies outside of its data ({first:.15g} to {last:.15g}): "
                "are both in the same unit and time zone?"
            )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )
