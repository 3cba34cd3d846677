"""Rows of a batch, put together one by one, for formats that yield named numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from detector.errors import BadRecord, MissingReason
from detector.events import F64, I64, U8, Labels, MetricKind
from detector.ingest.rows import MissingCell, NamedValues, Rows, named_values

# index of its message, its name, its time, the names of its numbers, the numbers
Row = tuple[int, str | None, float | str | None, Sequence[str], Sequence[float]]
_NO_START = float("nan")


class RowBuilder:
    """The rows and the faults so far; the columns are those of :class:`Rows`."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        # equal names as one object, as later steps look at each object once
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._ignored: dict[int, int] = {}  # by row
        self._tags: dict[int, Labels] = {}  # by row
        self._labels: dict[int, Labels] = {}  # by row
        self._kinds: dict[int, Sequence[int]] = {}
        self._starts: dict[int, Sequence[float]] = {}
        self._missing: list[MissingCell] = []
        self._without_points: list[int] = []
        self._faults: list[tuple[int, BadRecord]] = []

    def add(
        self,
        record: int,
        name: str | None,
        stamp: float | str | None,
        numbers: Mapping[str, float],
        ignored: int = 0,
        tags: Labels | None = None,
        labels: Labels | None = None,
        kinds: Sequence[int] | None = None,
        starts: Sequence[float] | None = None,
    ) -> None:
        """A row of a message: its numbers by name, and how many fields it leaves out.

        ``kinds`` and ``starts`` are of each number, in the order of ``numbers``.
        """
        row = len(self._rows)
        if tags is not None:
            self._tags[row] = tags
            labels = tags if labels is None else labels
        if labels is not None:
            self._labels[row] = labels
        if kinds is not None:
            self._kinds[row] = kinds
        if starts is not None:
            self._starts[row] = starts
        if ignored:
            self._ignored[row] = ignored
        names = tuple(numbers)
        shared = self._names.setdefault(names, names)
        self._rows.append((record, name, stamp, shared, list(numbers.values())))

    def add_row(self, row: Row, labels: Labels | None = None) -> None:
        """A row of numbers alone, which nobody changes any more.

        Its name is that of its stream, tags included. Names of numbers that are equal
        are best one object: later steps look at each object once.
        """
        if labels:
            self._labels[len(self._rows)] = labels
        self._rows.append(row)

    def miss(self, record: int, metric: str, reason: MissingReason) -> None:
        """A value of a message that can't be used, and is no number of a row."""
        self._missing.append((record, metric, reason))

    def skip(self, record: int) -> None:
        """A message that says that it holds no point."""
        self._without_points.append(record)

    def reject(self, record: int, fault: BadRecord) -> None:
        """A message that can't be read."""
        self._faults.append((record, fault))

    def rows(self) -> Rows[NamedValues]:
        columns: Any = zip(*self._rows, strict=True) if self._rows else [()] * 5
        records, names, stamps, metrics, values = columns
        numbers = named_values(
            metrics,
            values,
            self._all_kinds(metrics),
            self._all_starts(metrics),
        )
        return Rows(
            records=np.array(records, np.int64),
            names=list(names),
            stamps=list(stamps),
            numbers=numbers,
            tags=self._of_rows(self._tags),
            ignored=self._all_ignored(),
            faults=self._faults,
            labels=self._of_rows(self._labels),
            missing=self._missing,
            without_points=self._without_points,
        )

    def _all_ignored(self) -> I64 | None:
        """int64 [n], of all rows; None if none was."""
        if not self._ignored:
            return None
        counts = np.zeros(len(self._rows), np.int64)
        counts[list(self._ignored)] = list(self._ignored.values())
        return counts

    def _of_rows(self, labels: Mapping[int, Labels]) -> list[Labels | None] | None:
        """A column of all rows; None if no row has any."""
        if not labels:
            return None
        return [labels.get(row) for row in range(len(self._rows))]

    def _all_kinds(self, metrics: Sequence[Sequence[str]]) -> U8 | None:
        """uint8 [m], of all numbers; None if no row says any."""
        if not self._kinds:
            return None
        unknown = (MetricKind.UNKNOWN,)
        of_rows = [
            self._kinds.get(row) or unknown * len(names)
            for row, names in enumerate(metrics)
        ]
        return np.array(list(chain.from_iterable(of_rows)), np.uint8)

    def _all_starts(self, metrics: Sequence[Sequence[str]]) -> F64 | None:
        """float64 [m], of all numbers; None if no row says any."""
        if not self._starts:
            return None
        of_rows = [
            self._starts.get(row) or (_NO_START,) * len(names)
            for row, names in enumerate(metrics)
        ]
        return np.array(list(chain.from_iterable(of_rows)), np.float64)
