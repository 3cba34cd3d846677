"""Numbers that come metric by metric, put together to rows of one stream and time.

A bundle of features scores the metrics of a stream together, so they must be one row
although the message names each of them apart. A metric that comes twice for one stream
and time is a row of its own: the detector drops and counts every point that comes
again, and so this one. The rows of a message are in the order of their times, and then
of their first numbers. A value that is NaN is missing.

Theory of operation. OTLP has a row for each stream and a number for each metric of it,
so this is its innermost loop. Points are collected in columns. Once for each batch they
are sorted by message, time and stream; where one of these changes, a row begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from operator import attrgetter
from typing import Final

import numpy as np

from detector.errors import BadRecord, MissingReason
from detector.events import F64, I64, U8, Labels, MetricKind
from detector.ingest.keying import series_name
from detector.ingest.rows import Flags, MissingCell, NamedValues, Rows

_NAN: Final = float("nan")


class Stream:
    """What rows say of their stream; equal only to itself, so that it is a fast key.

    Attributes:
        name: the stream's whole name, tags included.
        labels: what alerts may say of it; all tags are in it.
    """

    __slots__ = ("labels", "name")

    def __init__(self, name: str, tags: Labels, labels: Labels) -> None:
        self.name = series_name(name, tags)
        self.labels = labels


@dataclass(slots=True)
class Points:
    """Points in columns of one length.

    Attributes:
        times, starts: in the unit of the message; 0 where unknown.
        values: NaN where there is none.
    """

    streams: list[Stream] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, stream: Stream, time: float, value: float, start: float = 0) -> None:
        self.streams.append(stream)
        self.times.append(time)
        self.starts.append(start)
        self.values.append(value)

    def cut(self, length: int) -> None:
        """Keep the first points alone."""
        for column in (self.streams, self.times, self.starts, self.values):
            del column[length:]

    def __len__(self) -> int:
        return len(self.streams)


class GroupedRows:
    """The rows of a batch: those of one message after the other.

    Points are added to ``points``, and :meth:`name` says which metric they are of. A
    message ends with :meth:`close` or :meth:`reject`.
    """

    def __init__(self, units_a_second: int) -> None:
        """``units_a_second``: of the times and starts that are added."""
        self._units = units_a_second
        self.points = Points()
        self._names: dict[str, str] = {}  # equal names as one object
        self._metrics: list[str] = []  # of each point
        self._kinds = bytearray()
        self._records: list[int] = []  # the message of each point
        self._closed = 0  # how many points are of messages that have ended
        self._missing: list[MissingCell] = []
        self._without_points: list[int] = []
        self._faults: list[tuple[int, BadRecord]] = []

    def name(self, metric: str, kind: MetricKind) -> None:
        """Say the metric of the points that were added since the last call."""
        count = len(self.points.streams) - len(self._metrics)
        same = self._names.setdefault(metric, metric)
        if count == 1:
            self._metrics.append(same)
            self._kinds.append(kind)
        else:
            self._metrics.extend(repeat(same, count))
            self._kinds.extend(repeat(kind, count))

    def name_each(self, metrics: Sequence[str], kinds: bytes) -> None:
        """Say metric and kind of each point that was added since the last call."""
        self._metrics.extend(metrics)
        self._kinds.extend(kinds)

    def names_from(self, first: int) -> tuple[list[str], bytes]:
        """Metrics and kinds of the points from one on."""
        return self._metrics[first:], bytes(self._kinds[first:])

    def miss(self, message: int, metric: str, reason: MissingReason) -> None:
        """A value of a message that can't be used, and is no number of a row."""
        self._missing.append((message, metric, reason))

    def close(self, message: int) -> None:
        """The message has been read; if it added nothing, it has no points."""
        count = len(self.points) - self._closed
        self._records.extend(repeat(message, count))
        self._closed += count
        if not count:
            self._without_points.append(message)

    def reject(self, message: int, fault: BadRecord) -> None:
        """The message can't be read: forget what was added of it."""
        self._faults.append((message, fault))
        self.points.cut(self._closed)
        del self._metrics[self._closed :]
        del self._kinds[self._closed :]
        self._missing = [cell for cell in self._missing if cell[0] != message]

    def rows(self) -> Rows[NamedValues]:
        """The rows of all messages that were closed."""
        values = np.array(self.points.values, np.float64)
        self._count_missing(np.isnan(values))
        order, firsts = self._grouped(np.flatnonzero(~np.isnan(values)))
        first_points = order[firsts].tolist()
        streams = [self.points.streams[i] for i in first_points]
        times = [self.points.times[i] for i in first_points]
        return Rows(
            records=np.array([self._records[i] for i in first_points], np.int64),
            names=list(map(attrgetter("name"), streams)),
            stamps=[time / self._units if time else None for time in times],
            numbers=self._numbers(values, order, firsts),
            labels=list(map(attrgetter("labels"), streams)),
            missing=self._missing,
            without_points=self._without_points,
            faults=self._faults,
        )

    def _count_missing(self, is_nan: Flags) -> None:
        for i in np.flatnonzero(is_nan).tolist():
            cell = self._records[i], self._metrics[i], MissingReason.NAN
            self._missing.append(cell)

    def _grouped(self, points: I64) -> tuple[I64, I64]:
        """The points in the order of their rows, and the place of each row's first."""
        keys = (
            _ids(self.points.streams)[points],
            np.array(self.points.times, np.float64)[points],
            np.array(self._records, np.int64)[points],
        )
        rows = _row_numbers(keys)
        metrics = _ids(self._metrics)[points]
        turns = _turns(rows, metrics)
        if turns is not None:
            rows = _row_numbers((turns, *keys))
        order = np.argsort(rows, kind="stable")
        firsts = np.flatnonzero(_changes(rows[order]))
        return points[order], firsts

    def _numbers(self, values: F64, order: I64, firsts: I64) -> NamedValues:
        metrics = self._metrics
        names = [metrics[i] for i in order.tolist()]
        bounds = [*firsts.tolist(), len(order)]
        of_rows = [names[first:end] for first, end in pairwise(bounds)]
        return NamedValues(
            names=of_rows,
            values=values[order],
            counts=np.array([len(each) for each in of_rows], np.int64),
            kinds=self._known_kinds(order),
            starts=self._known_starts(order),
        )

    def _known_kinds(self, order: I64) -> U8 | None:
        kinds = np.frombuffer(self._kinds, np.uint8)
        return kinds[order] if kinds.any() else None

    def _known_starts(self, order: I64) -> F64 | None:
        starts = np.array(self.points.starts, np.float64)
        if not starts.any():
            return None
        return np.where(starts == 0.0, _NAN, starts / self._units)[order]


def _row_numbers(keys: Sequence[I64 | F64]) -> I64:
    """int64 [m], the row of each point, by keys that are equal within a row.

    The last two are times and records. Rows are numbered by record, by time, and then
    by their first points.
    """
    order = np.lexsort(keys)
    changes = np.zeros(len(order), np.bool_)
    for column in keys:
        changes |= _changes(column[order])
    first_points = order[changes]
    times, records = (column[first_points] for column in keys[-2:])
    ranks = np.empty(len(first_points), np.int64)
    ranks[np.lexsort((first_points, times, records))] = np.arange(len(first_points))
    rows = np.empty(len(order), np.int64)
    rows[order] = ranks[np.cumsum(changes) - 1]
    return rows


def _turns(rows: I64, metrics: I64) -> I64 | None:
    """How often each point's metric came before in its row; None: no metric did."""
    order = np.lexsort((metrics, rows))
    is_first = _changes(rows[order]) | _changes(metrics[order])
    if is_first.all():
        return None
    places = np.arange(len(order))
    first_places = np.maximum.accumulate(np.where(is_first, places, 0))
    turns = np.empty(len(order), np.int64)
    turns[order] = places - first_places
    return turns


def _changes(column: I64 | F64) -> Flags:
    """bool [m], where a value is not that before it; the first is not."""
    changes = np.ones(len(column), np.bool_)
    changes[1:] = column[1:] != column[:-1]
    return changes


def _ids(column: Sequence[object]) -> I64:
    """int64 [m], equal where the objects are the same."""
    return np.fromiter(map(id, column), np.int64, len(column))
