"""What a format makes of records: rows of numbers, in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from detector.distributions import Totals
from detector.errors import BadRecord, MissingReason
from detector.events import F64, I64, U8, Labels, MetricKind

Flags = npt.NDArray[np.bool_]
# the record's index, the metric, and why its value can't be used
MissingCell = tuple[int, str, MissingReason]
F32_MOST = float(np.finfo(np.float32).max)
_F64_MOST = float(np.finfo(np.float64).max)


class Numbers(Protocol):
    """The numbers of n rows."""

    def empty(self) -> Flags:
        """bool [n], rows without a number."""
        ...

    def usable(self) -> tuple[Self, Sequence[MissingCell]]:
        """The same without numbers that float32 can't hold, which are missing then.

        The cells that are missing have the index of their row.
        """
        ...

    def take(self, rows: I64) -> Self:
        """The numbers of these rows, in this order."""
        ...

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, one part after another."""
        ...

    def with_longer_names(self, limit: int) -> Flags:
        """bool [n], rows that name a number with more characters."""
        ...


_NumbersT = TypeVar("_NumbersT", bound=Numbers)
_T = TypeVar("_T")
NO_TOTALS: Mapping[int, Any] = {}
# by row, and by feature
CellTotals = Mapping[int, Mapping[int, Totals]]
NumbersT_co = TypeVar("NumbersT_co", bound=Numbers, covariant=True)


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """The values of known features.

    Attributes:
        values: float64 [n, F], NaN where missing.
        kinds: uint8 [n, F], a :class:`~detector.events.MetricKind` each; None: unknown.
        starts: float64 [n, F], epoch seconds at which a counter began, NaN where
            unknown; None: all are unknown.
        totals: of means and quantiles of cumulative histograms, by row and feature.
    """

    features: Sequence[str]
    values: F64
    kinds: U8 | None = None
    starts: F64 | None = None
    totals: CellTotals = field(default_factory=dict)

    def empty(self) -> Flags:
        is_missing = np.isnan(self.values)
        return np.asarray(is_missing.all(axis=1))

    def with_longer_names(self, limit: int) -> Flags:
        return np.zeros(len(self.values), np.bool_)

    def usable(self) -> tuple[Self, Sequence[MissingCell]]:
        bad = beyond_f32(self.values)
        if not bad.any():
            return self, ()
        cells = [
            (row, self.features[column], why_missing(self.values[row, column]))
            for row, column in np.argwhere(bad).tolist()
        ]
        values = np.where(bad, np.nan, self.values)
        return replace(self, values=values), cells

    def take(self, rows: I64) -> Self:
        return replace(
            self,
            values=self.values[rows],
            kinds=None if self.kinds is None else self.kinds[rows],
            starts=None if self.starts is None else self.starts[rows],
            totals=moved(self.totals, rows),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        sizes = [part.values.shape for part in parts]
        return cls(
            parts[0].features,
            np.concatenate([part.values for part in parts]),
            _joined_kinds([part.kinds for part in parts], sizes),
            _joined_starts([part.starts for part in parts], sizes),
            joined_totals([part.totals for part in parts], sizes),
        )


@dataclass(frozen=True, slots=True)
class NamedValues:
    """All numbers of rows whose fields nobody knows beforehand.

    Attributes:
        names: for each row, the names of its m_i numbers.
        values: float64 [m], the numbers of all rows. The decoder takes out what is not
            finite and counts it as missing.
        counts: int64 [n], m_i.
        kinds: uint8 [m], a :class:`~detector.events.MetricKind` each; None: unknown.
        starts: float64 [m], epoch seconds at which a counter began, NaN where unknown;
            None: all are unknown.
        totals: of means and quantiles of cumulative histograms, by their place.
    """

    names: Sequence[Sequence[str]]
    values: F64
    counts: I64
    kinds: U8 | None = None
    starts: F64 | None = None
    totals: Mapping[int, Totals] = field(default_factory=dict)

    def rows_of_values(self) -> I64:
        """int64 [m], the row of each value."""
        rows = np.arange(len(self.counts))
        return np.repeat(rows, self.counts)

    def empty(self) -> Flags:
        return np.equal(self.counts, 0)

    def with_longer_names(self, limit: int) -> Flags:
        names = chain.from_iterable(distinct_names(self.names))
        if max(map(len, names), default=0) <= limit:
            return np.zeros(len(self.names), np.bool_)
        longest = [max(map(len, of_row), default=0) for of_row in self.names]
        return np.greater(longest, limit)

    def usable(self) -> tuple[Self, Sequence[MissingCell]]:
        bad = ~(np.abs(self.values) <= F32_MOST)  # also NaN
        if not bad.any():
            return self, ()
        rows = self.rows_of_values()
        flat = list(chain.from_iterable(self.names))
        cells = [
            (int(rows[i]), flat[i], why_missing(self.values[i]))
            for i in np.flatnonzero(bad).tolist()
        ]
        ends = np.cumsum(self.counts)
        names = list(self.names)
        for row in np.unique(rows[bad]).tolist():
            end = int(ends[row])
            start = end - int(self.counts[row])
            names[row] = list(compress(flat[start:end], ~bad[start:end]))
        kept = self._at(np.flatnonzero(~bad))
        counts = self.counts - np.bincount(rows[bad], minlength=len(self.counts))
        return replace(kept, names=names, counts=counts), cells

    def take(self, rows: I64) -> Self:
        counts = self.counts[rows]
        starts = np.cumsum(self.counts)[rows] - counts
        firsts = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        places = firsts + np.arange(int(counts.sum()))
        names = [self.names[row] for row in rows.tolist()]
        return replace(self._at(places), names=names, counts=counts)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        sizes = [part.values.shape for part in parts]
        return cls(
            list(chain.from_iterable(part.names for part in parts)),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.counts for part in parts]),
            _joined_kinds([part.kinds for part in parts], sizes),
            _joined_starts([part.starts for part in parts], sizes),
            joined_totals([part.totals for part in parts], sizes),
        )

    def _at(self, places: I64) -> Self:
        """The numbers at these places, with names and counts of before."""
        return replace(
            self,
            values=self.values[places],
            kinds=None if self.kinds is None else self.kinds[places],
            starts=None if self.starts is None else self.starts[places],
            totals=moved(self.totals, places),
        )


@dataclass(frozen=True, slots=True)
class Rows(Generic[NumbersT_co]):
    """The rows of the messages of a batch, in the order of the messages.

    A message has one row, several, or none: then it has a fault, or it says that it
    holds no point, or all its values are missing.

    Attributes:
        records: int64 [n], never falling: the index of each row's message.
        names: what the message calls each row; None where it says nothing.
        tags: labels of each row that tell its stream from others; None for a row that
            its name alone tells, or for all rows.
        stamps: epoch seconds, text that says a time, or None: the record's timestamp.
        ignored: int64 [n], fields that were left out; None: none was.
        faults: messages that can't be read, by index; each rejects its record.
        labels: of each row, for alerts, all its tags included; None: its tags.
        missing: values that can't be used, by the index of their message.
        without_points: messages that hold no point and have no fault, by index.
    """

    records: I64
    names: Sequence[str | None]
    stamps: Sequence[float | str | None]
    numbers: NumbersT_co
    tags: Sequence[Labels | None] | None = None
    ignored: I64 | None = None
    faults: Sequence[tuple[int, BadRecord]] = ()
    labels: Sequence[Labels | None] | None = None
    missing: Sequence[MissingCell] = ()
    without_points: Sequence[int] = ()


def usable(rows: Rows[_NumbersT]) -> Rows[_NumbersT]:
    """The rows without numbers that float32 can't hold: those are missing values.

    What can't be held is NaN, infinite, or beyond float32's range.
    """
    numbers, cells = rows.numbers.usable()
    if not cells:
        return rows
    records = rows.records.tolist()
    of_records = [(records[row], metric, why) for row, metric, why in cells]
    return replace(rows, numbers=numbers, missing=[*rows.missing, *of_records])


def named_values(
    names: Sequence[Sequence[str]],
    values: Sequence[Sequence[float]],
    kinds: U8 | None = None,
    starts: F64 | None = None,
) -> NamedValues:
    """NamedValues of each row's names and numbers; a number may be a long integer."""
    counts = np.fromiter(map(len, values), np.int64, len(values))
    flat = _flat(values, int(counts.sum()))
    return NamedValues(names, flat, counts, kinds, starts)


def distinct_names(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The names of rows; once those that are the same object, as rows of a shape share.

    They are in the order in which they come.
    """
    return list(dict(zip(map(id, rows), rows, strict=True)).values())


def beyond_f32(values: F64) -> Flags:
    """bool, like ``values``: those that are infinite or outside float32's range."""
    return np.greater(np.abs(values), F32_MOST)


def why_missing(value: float) -> MissingReason:
    """Why float32 can't hold a number."""
    if math.isnan(value):
        return MissingReason.NAN
    return MissingReason.INFINITE if math.isinf(value) else MissingReason.OVERFLOW


def _joined_kinds(
    parts: Sequence[U8 | None], sizes: Sequence[tuple[int, ...]]
) -> U8 | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full(size, MetricKind.UNKNOWN, np.uint8) if part is None else part
            for part, size in zip(parts, sizes, strict=True)
        ]
    )


def _joined_starts(
    parts: Sequence[F64 | None], sizes: Sequence[tuple[int, ...]]
) -> F64 | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full(size, np.nan) if part is None else part
            for part, size in zip(parts, sizes, strict=True)
        ]
    )


def moved(totals: Mapping[int, _T], places: I64) -> Mapping[int, _T]:
    """Those at these places, by where they are then."""
    if not totals:
        return NO_TOTALS
    olds = enumerate(places.tolist())
    return {new: totals[old] for new, old in olds if old in totals}


def joined_totals(
    parts: Sequence[Mapping[int, _T]], sizes: Sequence[tuple[int, ...]]
) -> Mapping[int, _T]:
    joined: dict[int, _T] = {}
    first = 0
    for part, size in zip(parts, sizes, strict=True):
        joined.update((first + place, each) for place, each in part.items())
        first += size[0]
    return joined


def _flat(values: Sequence[Sequence[float]], count: int) -> F64:
    """float64 [count]; an integer outside its range is the largest float."""
    try:
        flat = chain.from_iterable(values)
        return np.fromiter(flat, np.float64, count)
    except OverflowError:
        flat = chain.from_iterable(values)
        return np.fromiter(map(_clipped, flat), np.float64, count)


def _clipped(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return _F64_MOST if number > 0 else -_F64_MOST
