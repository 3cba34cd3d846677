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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise, repeat
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

import numpy as np

from detector.distributions import Totals
from detector.errors import BadRecord, MissingReason
from detector.events import F64, I64, U8, Labels, MetricKind
from detector.ingest.keying import series_name
from detector.ingest.rows import (
    NO_TOTALS,
    Flags,
    MissingCell,
    NamedValues,
    Rows,
    joined_totals,
    moved,
)

_NAN: Final = float("nan")
_T = TypeVar("_T")


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
        totals: of means and quantiles of cumulative histograms, by their place.
    """

    streams: list[Stream] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    totals: dict[int, Totals] = field(default_factory=dict)

    def add(self, stream: Stream, time: float, value: float, start: float = 0) -> None:
        self.streams.append(stream)
        self.times.append(time)
        self.starts.append(start)
        self.values.append(value)

    def cut(self, length: int) -> None:
        """Keep the first points alone."""
        for column in (self.streams, self.times, self.starts, self.values):
            del column[length:]
        for place in [each for each in self.totals if each >= length]:
            del self.totals[place]

    def __len__(self) -> int:
        return len(self.streams)


class BuiltRows(NamedTuple):
    """Rows in columns: r rows with n numbers, those of one row after the other.

    Attributes:
        records: int64 [r], the message of each row.
        times: float64 [r], epoch seconds; 0: unknown.
        ticks: float64 [r], the same in the unit of the message.
        firsts: int64 [r], in the order of the first points of one message's rows.
        names, labels: of the streams, see :class:`Stream`.
        counts: int64 [r], of the numbers of each row.
        values: float64 [n], none is NaN.
        starts: float64 [n], in the unit of the message; 0: unknown.
        kinds: uint8 [n].
        totals: of means and quantiles of cumulative histograms, by their place.
    """

    records: I64
    times: F64
    ticks: F64
    firsts: I64
    names: Sequence[str]
    labels: Sequence[Labels]
    metrics: Sequence[Sequence[str]]
    counts: I64
    values: F64
    kinds: U8
    starts: F64
    totals: Mapping[int, Totals] = NO_TOTALS


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
        self._whole: list[BuiltRows] = []
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

    def names_from(self, first: int) -> tuple[list[str], bytes]:
        """Metrics and kinds of the points from one on."""
        return self._metrics[first:], bytes(self._kinds[first:])

    def add_whole(self, rows: BuiltRows) -> None:
        """Rows of messages of which nothing else is added, nor closed.

        None of their values is NaN.
        """
        self._whole.append(rows)

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
        parts = list(self._whole)
        if len(self.points) or not parts:
            parts.append(self._grouped_points())
        built = _merged(parts)
        return Rows(
            records=built.records,
            names=built.names,
            stamps=[time or None for time in built.times.tolist()],
            numbers=NamedValues(
                names=built.metrics,
                values=built.values,
                counts=built.counts,
                kinds=built.kinds if built.kinds.any() else None,
                starts=self._known(built.starts),
                totals=built.totals,
            ),
            labels=built.labels,
            missing=sorted(self._missing, key=itemgetter(0)),
            without_points=self._without_points,
            faults=sorted(self._faults, key=itemgetter(0)),
        )

    def _known(self, starts: F64) -> F64 | None:
        if not starts.any():
            return None
        return np.where(starts == 0.0, _NAN, starts / self._units)

    def _grouped_points(self) -> BuiltRows:
        """The points that were added one by one, as rows."""
        values = np.array(self.points.values, np.float64)
        self._count_missing(np.isnan(values))
        order, firsts = self._grouped(np.flatnonzero(~np.isnan(values)))
        first_points = order[firsts]
        places = first_points.tolist()
        times = self.points.times
        streams = self.points.streams
        metrics = self._metrics
        names = [metrics[i] for i in order.tolist()]
        bounds = [*firsts.tolist(), len(order)]
        return BuiltRows(
            records=np.array(self._records, np.int64)[first_points],
            # a division of integers is exact, where nanoseconds are no float
            times=np.array([times[i] / self._units for i in places], np.float64),
            ticks=np.array([times[i] for i in places], np.float64),
            firsts=first_points,
            names=[streams[i].name for i in places],
            labels=[streams[i].labels for i in places],
            metrics=[names[first:end] for first, end in pairwise(bounds)],
            counts=np.diff(np.append(firsts, len(order))).astype(np.int64),
            values=values[order],
            kinds=np.frombuffer(self._kinds, np.uint8)[order],
            starts=np.array(self.points.starts, np.float64)[order],
            totals=moved(self.points.totals, order),
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


def _merged(parts: Sequence[BuiltRows]) -> BuiltRows:
    """Rows by record, by time, and then by their first points."""
    whole = parts[0] if len(parts) == 1 else _joined(parts)
    if _are_in_order(whole):
        return whole
    order = np.lexsort((whole.firsts, whole.ticks, whole.records))
    counts = whole.counts[order]
    ends = np.cumsum(whole.counts)
    shift = (ends - whole.counts)[order] - (np.cumsum(counts) - counts)
    points = np.repeat(shift, counts) + np.arange(ends[-1])
    places = order.tolist()
    return BuiltRows(
        records=whole.records[order],
        times=whole.times[order],
        ticks=whole.ticks[order],
        firsts=whole.firsts[order],
        names=_at(whole.names, places),
        labels=_at(whole.labels, places),
        metrics=_at(whole.metrics, places),
        counts=counts,
        values=whole.values[points],
        kinds=whole.kinds[points],
        starts=whole.starts[points],
        totals=moved(whole.totals, points),
    )


def _joined(parts: Sequence[BuiltRows]) -> BuiltRows:
    """The rows of all parts, one part after the other."""
    return BuiltRows(
        records=np.concatenate([part.records for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        ticks=np.concatenate([part.ticks for part in parts]),
        firsts=np.concatenate([part.firsts for part in parts]),
        names=list(chain.from_iterable(part.names for part in parts)),
        labels=list(chain.from_iterable(part.labels for part in parts)),
        metrics=list(chain.from_iterable(part.metrics for part in parts)),
        counts=np.concatenate([part.counts for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        totals=joined_totals(
            [part.totals for part in parts], [part.values.shape for part in parts]
        ),
    )


def _are_in_order(rows: BuiltRows) -> bool:
    """Whether rows are by record, by time and by first point."""
    is_later = np.zeros(max(len(rows.records) - 1, 0), np.bool_)
    is_same = ~is_later
    for column in (rows.records, rows.ticks, rows.firsts):
        is_later |= is_same & (column[1:] > column[:-1])
        is_same &= column[1:] == column[:-1]
    return bool(is_later.all())


def _at(column: Sequence[_T], places: Sequence[int]) -> list[_T]:
    return list(map(column.__getitem__, places))


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
