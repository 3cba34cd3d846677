"""Rows of a batch, put together one by one, for formats that yield named numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from detector.errors import BadRecord
from detector.ingest.rows import NamedValues, Rows, named_values


class RowBuilder:
    """The rows and the faults so far; the columns are those of :class:`Rows`.

    Either all rows of a format have tags, or none has.
    """

    def __init__(self) -> None:
        self._records: list[int] = []
        self._names: list[str | None] = []
        self._stamps: list[float | str | None] = []
        self._metrics: list[Sequence[str]] = []
        self._values: list[Sequence[float]] = []
        self._ignored: list[int] = []
        self._tags: list[Mapping[str, str]] = []
        self._faults: list[tuple[int, BadRecord]] = []

    def add(
        self,
        record: int,
        name: str | None,
        stamp: float | str | None,
        numbers: Mapping[str, float],
        ignored: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """A row of a record: its numbers by name, and how many fields it leaves out."""
        self._records.append(record)
        self._names.append(name)
        self._stamps.append(stamp)
        self._metrics.append(list(numbers))
        self._values.append(list(numbers.values()))
        self._ignored.append(ignored)
        if tags is not None:
            self._tags.append(tags)

    def reject(self, record: int, fault: BadRecord) -> None:
        """A record without a row."""
        self._faults.append((record, fault))

    def rows(self) -> Rows[NamedValues]:
        return Rows(
            records=np.array(self._records, np.int64),
            names=self._names,
            stamps=self._stamps,
            numbers=named_values(self._metrics, self._values),
            tags=self._tags or None,
            ignored=np.array(self._ignored, np.int64),
            faults=self._faults,
        )
