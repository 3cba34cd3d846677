"""Rows of a batch, put together one by one, for formats that yield named numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from detector.errors import BadRecord, MissingReason
from detector.events import F64, U8, Labels, MetricKind
from detector.ingest.rows import MissingCell, NamedValues, Rows, named_values

_NO_START = float("nan")


class RowBuilder:
    """The rows and the faults so far; the columns are those of :class:`Rows`."""

    def __init__(self) -> None:
        self._records: list[int] = []
        self._names: list[str | None] = []
        self._stamps: list[float | str | None] = []
        self._metrics: list[Sequence[str]] = []
        self._values: list[Sequence[float]] = []
        self._ignored: list[int] = []
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
        row = len(self._records)
        if tags is not None:
            self._tags[row] = tags
            labels = tags if labels is None else labels
        if labels is not None:
            self._labels[row] = labels
        if kinds is not None:
            self._kinds[row] = kinds
        if starts is not None:
            self._starts[row] = starts
        self._records.append(record)
        self._names.append(name)
        self._stamps.append(stamp)
        self._metrics.append(list(numbers))
        self._values.append(list(numbers.values()))
        self._ignored.append(ignored)

    def add_flat(
        self,
        record: int,
        name: str | None,
        stamp: float | str | None,
        metrics: Sequence[str],
        values: Sequence[float],
    ) -> None:
        """A row with nothing but numbers, which nobody changes any more."""
        self._records.append(record)
        self._names.append(name)
        self._stamps.append(stamp)
        self._metrics.append(metrics)
        self._values.append(values)
        self._ignored.append(0)

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
        return Rows(
            records=np.array(self._records, np.int64),
            names=self._names,
            stamps=self._stamps,
            numbers=named_values(
                self._metrics,
                self._values,
                self._all_kinds(),
                self._all_starts(),
            ),
            tags=self._of_rows(self._tags),
            ignored=np.array(self._ignored, np.int64),
            faults=self._faults,
            labels=self._of_rows(self._labels),
            missing=self._missing,
            without_points=self._without_points,
        )

    def _of_rows(self, labels: Mapping[int, Labels]) -> list[Labels | None] | None:
        """A column of all rows; None if no row has any."""
        if not labels:
            return None
        return [labels.get(row) for row in range(len(self._records))]

    def _all_kinds(self) -> U8 | None:
        """uint8 [m], of all numbers; None if no row says any."""
        if not self._kinds:
            return None
        unknown = (MetricKind.UNKNOWN,)
        of_rows = [
            self._kinds.get(row) or unknown * len(metrics)
            for row, metrics in enumerate(self._metrics)
        ]
        return np.array(list(chain.from_iterable(of_rows)), np.uint8)

    def _all_starts(self) -> F64 | None:
        """float64 [m], of all numbers; None if no row says any."""
        if not self._starts:
            return None
        of_rows = [
            self._starts.get(row) or (_NO_START,) * len(metrics)
            for row, metrics in enumerate(self._metrics)
        ]
        return np.array(list(chain.from_iterable(of_rows)), np.float64)
