"""What a format makes of records: rows of numbers, in columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from detector.errors import BadRecord, MissingReason
from detector.events import F64, I64, U8, Labels

Flags = npt.NDArray[np.bool_]
# the record's index, the metric, and why its value can't be used
MissingCell = tuple[int, str, MissingReason]
F32_MOST = float(np.finfo(np.float32).max)


class Numbers(Protocol):
    """The numbers of n rows."""

    def infinite(self) -> Flags:
        """bool [n], rows with a number outside float32's range."""
        ...

    def empty(self) -> Flags:
        """bool [n], rows without a number."""
        ...

    def infinite_field(self, row: int) -> str:
        """The first field of an infinite row that is outside the range."""
        ...


NumbersT_co = TypeVar("NumbersT_co", bound=Numbers, covariant=True)


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """The values of known features.

    Attributes:
        values: float64 [n, F], NaN where missing.
        kinds: uint8 [n, F], a :class:`~detector.events.MetricKind` each; None: unknown.
        starts: float64 [n, F], epoch seconds at which a counter began, NaN where
            unknown; None: all are unknown.
    """

    features: Sequence[str]
    values: F64
    kinds: U8 | None = None
    starts: F64 | None = None

    def infinite(self) -> Flags:
        is_infinite = beyond_f32(self.values)
        return np.asarray(is_infinite.any(axis=1))

    def empty(self) -> Flags:
        is_missing = np.isnan(self.values)
        return np.asarray(is_missing.all(axis=1))

    def infinite_field(self, row: int) -> str:
        is_infinite = beyond_f32(self.values[row])
        return self.features[int(is_infinite.argmax())]


@dataclass(frozen=True, slots=True)
class NamedValues:
    """All numbers of rows whose fields nobody knows beforehand.

    Attributes:
        names: for each row, the names of its m_i numbers.
        values: float64 [m], the numbers of all rows; none is NaN.
        counts: int64 [n], m_i.
        kinds: uint8 [m], a :class:`~detector.events.MetricKind` each; None: unknown.
        starts: float64 [m], epoch seconds at which a counter began, NaN where unknown;
            None: all are unknown.
    """

    names: Sequence[Sequence[str]]
    values: F64
    counts: I64
    kinds: U8 | None = None
    starts: F64 | None = None

    def rows_of_values(self) -> I64:
        """int64 [m], the row of each value."""
        rows = np.arange(len(self.counts))
        return np.repeat(rows, self.counts)

    def infinite(self) -> Flags:
        flags = np.zeros(len(self.counts), np.bool_)
        is_infinite = beyond_f32(self.values)
        if is_infinite.any():
            rows = self.rows_of_values()[is_infinite]
            flags[rows] = True
        return flags

    def empty(self) -> Flags:
        return np.equal(self.counts, 0)

    def infinite_field(self, row: int) -> str:
        start = int(self.counts[:row].sum())
        end = start + int(self.counts[row])
        is_infinite = beyond_f32(self.values[start:end])
        names = self.names[row]
        return names[int(is_infinite.argmax())]


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


def beyond_f32(values: F64) -> Flags:
    """bool, like ``values``: those that are infinite or outside float32's range."""
    return np.greater(np.abs(values), F32_MOST)


def _flat(values: Sequence[Sequence[float]], count: int) -> F64:
    """float64 [count], infinite where float64 is too small."""
    try:
        flat = chain.from_iterable(values)
        return np.fromiter(flat, np.float64, count)
    except OverflowError:  # an integer outside the range of a float
        flat = chain.from_iterable(values)
        numbers = map(_finite_or_infinite, flat)
        return np.fromiter(numbers, np.float64, count)


def _finite_or_infinite(number: float) -> float:
    if abs(number) <= F32_MOST:
        return float(number)
    return math.inf
