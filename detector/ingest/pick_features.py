"""Known features, picked from a format that yields all numbers of a record."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

import numpy as np

from detector.distributions import Totals
from detector.events import I64, MetricKind
from detector.ingest.format import Format, UnknownFields
from detector.ingest.messages import Messages
from detector.ingest.rows import FeatureValues, NamedValues, Rows, usable

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

    def rows(self, messages: Messages) -> Rows[FeatureValues]:
        found = usable(self._format.rows(messages))
        count = len(found.records)
        numbers = found.numbers
        columns = self._columns(numbers)
        row = numbers.rows_of_values()
        known = columns != _NOT_A_FEATURE
        place = row[known], columns[known]
        shape = count, len(self._features)
        values = np.full(shape, np.nan)
        values[place] = numbers.values[known]
        kinds = starts = None
        if numbers.kinds is not None:
            kinds = np.full(shape, MetricKind.UNKNOWN, np.uint8)
            kinds[place] = numbers.kinds[known]
        if numbers.starts is not None:
            starts = np.full(shape, np.nan)
            starts[place] = numbers.starts[known]
        totals: dict[int, dict[int, Totals]] = {}
        for place_of, each in numbers.totals.items():
            if known[place_of]:
                of_row = totals.setdefault(int(row[place_of]), {})
                of_row[int(columns[place_of])] = each
        others = np.bincount(row[~known], minlength=count)
        self._report(found, np.flatnonzero(others), messages)
        ignored = others if found.ignored is None else found.ignored + others
        return Rows(
            records=found.records,
            names=found.names,
            stamps=found.stamps,
            numbers=FeatureValues(self._features, values, kinds, starts, totals),
            tags=found.tags,
            ignored=ignored,
            faults=found.faults,
            labels=found.labels,
            missing=[cell for cell in found.missing if cell[1] in self._column],
            without_points=found.without_points,
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
        messages: Messages,
    ) -> None:
        for row in rows.tolist():
            message = int(found.records[row])
            for name in found.numbers.names[row]:
                if name not in self._column:
                    self._unknown.see(name, messages, message)
