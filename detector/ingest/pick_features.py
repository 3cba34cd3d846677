"""Known features, picked from a format that yields all numbers of a record."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

import numpy as np

from detector.events import I64, RawBatch
from detector.ingest.format import Format, UnknownFields
from detector.ingest.rows import FeatureValues, NamedValues, Rows

_NOT_A_FEATURE = -1


class PickFeatures:
    """Implements Format. Other numbers are ignored and counted as unknown fields."""

    def __init__(
        self,
        all_numbers: Format[NamedValues],
        features: Sequence[str],
        unknown: UnknownFields,
    ) -> None:
        self._format = all_numbers
        self._features = tuple(features)
        self._column = {name: j for j, name in enumerate(self._features)}
        self._unknown = unknown

    def rows(self, raw: RawBatch) -> Rows[FeatureValues]:
        found = self._format.rows(raw)
        count = len(found.records)
        numbers = found.numbers
        columns = self._columns(numbers)
        row = numbers.rows_of_values()
        known = columns != _NOT_A_FEATURE
        shape = count, len(self._features)
        values = np.full(shape, np.nan, np.float32)
        values[row[known], columns[known]] = numbers.values[known]
        others = np.bincount(row[~known], minlength=count)
        self._report(found, np.flatnonzero(others), raw)
        ignored = others if found.ignored is None else found.ignored + others
        return Rows(
            records=found.records,
            names=found.names,
            stamps=found.stamps,
            numbers=FeatureValues(self._features, values),
            tags=found.tags,
            ignored=ignored,
            faults=found.faults,
        )

    def _columns(self, numbers: NamedValues) -> I64:
        """int64 [m], the feature of each number."""
        names = chain.from_iterable(numbers.names)
        columns = map(self._column.get, names, repeat(_NOT_A_FEATURE))
        return np.fromiter(columns, np.int64, len(numbers.values))

    def _report(
        self,
        found: Rows[NamedValues],
        rows: I64,
        raw: RawBatch,
    ) -> None:
        for row in rows.tolist():
            record = int(found.records[row])
            for name in found.numbers.names[row]:
                if name not in self._column:
                    self._unknown.see(name, raw, record)
