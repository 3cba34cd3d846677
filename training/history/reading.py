"""The rows of every stream, over all files, and the streams that a fit can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detector.data.table import Table, as_single
from detector.errors import DataError
from detector.events import F32, F64
from detector.phrases import listed
from training.history.counters import RawRows
from training.history.notes import NAMED, counted, of_streams

# Rows that a stream needs for a fit: the network's window is 64.
MIN_ROWS = 100

#: stream -> event times float64 [n], rising, and values float32 [n, F], NaN missing
Rows = Mapping[str, tuple[F64, F32]]


def read_streams(tables: Sequence[Table]) -> tuple[RawRows, list[str]]:
    """Each stream's rows over all files, and notes of what was done to them.

    Rows are in time order, one for each timestamp (the first of a repeated one).
    """
    all_times: dict[str, list[F64]] = {}
    all_values: dict[str, list[F64]] = {}
    for table in tables:
        finite = table.finite_raw
        for name, rows in table.by_stream():
            all_times.setdefault(name, []).append(table.times[rows])
            all_values.setdefault(name, []).append(finite[rows])
    streams = {}
    repeated = {}
    late = {}
    for name in sorted(all_times):
        read = np.concatenate(all_times[name])
        late[name] = int((read < np.maximum.accumulate(read)).sum())
        times, first = np.unique(read, return_index=True)
        repeated[name] = len(read) - len(times)
        streams[name] = (times, np.concatenate(all_values[name])[first])
    return streams, _notes(tables, late, repeated)


def _notes(
    tables: Sequence[Table], late: Mapping[str, int], repeated: Mapping[str, int]
) -> list[str]:
    """What was done to the rows, each with its place and the remedy."""
    infinite = {
        t.path.name: int(np.isinf(as_single(t.values)).sum()) for t in tables if len(t)
    }
    without_offset = {t.path.name: t.without_offset for t in tables}
    found = (
        (
            late,
            "row",
            "came after later ones of their stream: put in order, "
            "while the daemon would reject them",
        ),
        (
            repeated,
            "row",
            "with a repeated timestamp left out: the first of each is kept",
        ),
        (
            infinite,
            "infinite value",
            "taken as missing, while the daemon would reject their records",
        ),
        (
            without_offset,
            "time",
            "without an offset taken as UTC: if they are local times, write their "
            "offset, as in 2026-03-01T12:00:00+01:00",
        ),
    )
    notes = []
    for counts, what, consequence in found:
        places = [place for place, count in counts.items() if count]
        if places:
            total = sum(counts.values())
            where = listed(places, NAMED)
            notes.append(f"{counted(total, what)} ({where}) {consequence}")
    return notes


def usable(
    data: Path, features: Sequence[str], streams: Rows
) -> tuple[Rows, list[str]]:
    """The streams that are long enough and have a value, and notes of the others.

    Raises DataError if none is left.
    """
    if not any(np.isfinite(values).any() for _, values in streams.values()):
        raise DataError(f"{data} holds no finite value in {', '.join(features)}")
    short = {
        name: len(times)
        for name, (times, _) in streams.items()
        if len(times) < MIN_ROWS
    }
    empty = [
        name
        for name, (_, values) in streams.items()
        if name not in short and not np.isfinite(values).any()
    ]
    kept = {
        name: rows
        for name, rows in streams.items()
        if name not in short and name not in empty
    }
    if not kept:
        raise DataError(_none_long_enough(data, streams))
    notes = []
    if short:
        lengths = [f"{name}: {rows}" for name, rows in short.items()]
        notes.append(
            f"{of_streams(len(short), len(streams))} left out, with fewer than the "
            f"{MIN_ROWS} rows that a fit needs ({listed(lengths, NAMED)}): give more "
            "history of them, or let the daemon learn them as new streams"
        )
    if empty:
        notes.append(
            f"{of_streams(len(empty), len(streams))} left out, without any value "
            f"({listed(empty, NAMED)}): export their values, or drop their rows"
        )
    return kept, notes


def _none_long_enough(data: Path, streams: Rows) -> str:
    """Of streams that are all too short or empty."""
    rows, name = max((len(times), name) for name, (times, _) in streams.items())
    if rows >= MIN_ROWS:
        return (
            f"{data}: every stream that has a value has fewer than the {MIN_ROWS} "
            "rows that a fit needs: give it more history"
        )
    return (
        f"{data}: no stream has the {MIN_ROWS} rows that a fit needs; the longest, "
        f"{name}, has {rows}: give it more history, or set no bundle: the built-in "
        "one learns from each stream while it runs"
    )
