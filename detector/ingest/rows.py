"""What a format makes of records: rows of numbers, in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from detector.errors import BadRecord
from detector.events import F32, F64, I64

Flags = npt.NDArray[np.bool_]
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
        values: float32 [n, F], NaN where missing, infinite where float32 is too small.
    """

    features: Sequence[str]
    values: F32

    def infinite(self) -> Flags:
        is_infinite = np.isinf(self.values)
        return np.asarray(is_infinite.any(axis=1))

    def empty(self) -> Flags:
        is_missing = np.isnan(self.values)
        return np.asarray(is_missing.all(axis=1))

    def infinite_field(self, row: int) -> str:
        is_infinite = np.isinf(self.values[row])
        return self.features[int(is_infinite.argmax())]


@dataclass(frozen=True, slots=True)
class NamedValues:
    """All numbers of rows whose fields nobody knows beforehand.

    Attributes:
        names: for each row, the names of its m_i numbers.
        values: float32 [m], the numbers of all rows; none is NaN.
        counts: int64 [n], m_i.
    """

    names: Sequence[Sequence[str]]
    values: F32
    counts: I64

    def rows_of_values(self) -> I64:
        """int64 [m], the row of each value."""
        rows = np.arange(len(self.counts))
        return np.repeat(rows, self.counts)

    def infinite(self) -> Flags:
        flags = np.zeros(len(self.counts), np.bool_)
        is_infinite = np.isinf(self.values)
        if is_infinite.any():
            rows = self.rows_of_values()[is_infinite]
            flags[rows] = True
        return flags

    def empty(self) -> Flags:
        return np.equal(self.counts, 0)

    def infinite_field(self, row: int) -> str:
        start = int(self.counts[:row].sum())
        end = start + int(self.counts[row])
        is_infinite = np.isinf(self.values[start:end])
        names = self.names[row]
        return names[int(is_infinite.argmax())]


@dataclass(frozen=True, slots=True)
class Rows(Generic[NumbersT_co]):
    """The rows of the records of a batch, in the order of the records.

    A record has one row, several, or none and a fault; never both.

    Attributes:
        records: int64 [n], never falling: the index of each row's record in the batch.
        names: what the record calls each row; None where it says nothing.
        tags: labels of each row that tell its stream from others; None: no row has any.
        stamps: epoch seconds, text that says a time, or None: the record's timestamp.
        ignored: int64 [n], fields that were left out; None: none was.
        faults: records that give no row, by index.
    """

    records: I64
    names: Sequence[str | None]
    stamps: Sequence[float | str | None]
    numbers: NumbersT_co
    tags: Sequence[Mapping[str, str]] | None = None
    ignored: I64 | None = None
    faults: Sequence[tuple[int, BadRecord]] = ()


def named_values(
    names: Sequence[Sequence[str]],
    values: Sequence[Sequence[float]],
) -> NamedValues:
    """NamedValues of each row's names and numbers; a number may be a long integer."""
    counts = np.fromiter(map(len, values), np.int64, len(values))
    flat = _flat(values, int(counts.sum()))
    return NamedValues(names, to_f32(flat), counts)


def to_f32(values: F64) -> F32:
    """As float32, infinite where float32 is too small."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _flat(values: Sequence[Sequence[float]], count: int) -> F64:
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
