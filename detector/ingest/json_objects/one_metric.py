"""The metric of a record that holds one, with its name in one field and its value in
another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.errors import BadRecord, MissingReason, RejectReason
from detector.events import MetricKind
from detector.ingest import cells
from detector.ingest.json_objects import statistics
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.metric_fields import Numbers, is_good
from detector.ingest.json_objects.paths import NOTHING, Place, template

_MILLISECONDS = 1000.0


class OneMetric:
    """Reads the number of a record's metric, or those of its set of statistics."""

    def __init__(self, mapping: RecordMapping) -> None:
        self._mapping = mapping
        self._names = [template(text) for text in mapping.name]

    def read(self, place: Place) -> Numbers | None:
        """The numbers of a record; None if its value is null or not there.

        Raises BadRecord if the metric has no name.
        """
        mapping = self._mapping
        for number, path in enumerate(mapping.value):
            value = place.find(path) if path else dict(place.fields)
            if value is NOTHING or value is None:
                continue
            found = Numbers()
            self._put(found, self._name(place), value)
            if mapping.quality and not is_good(mapping, place):
                return _bad(found)
            if mapping.kinds:
                kind = self._kind(place, mapping.kinds[number])
                found.kinds = [kind] * len(found.numbers)
            return found
        return None

    def _name(self, place: Place) -> str:
        for one in self._names:
            name = one.text(place)
            if name:
                return name
        wanted = " or ".join(self._mapping.name)
        detail = f"its metric can't be named: it has no {wanted}"
        raise BadRecord(RejectReason.NO_FEATURES, detail)

    def _put(self, found: Numbers, metric: str, value: Any) -> None:
        if isinstance(value, Mapping):
            chosen = statistics.chosen(metric, value, self._mapping.statistics)
            for name, number in chosen.items():
                found.put(name, number)
            return
        number = cells.cell(value, self._mapping.decimal_comma)
        if number is None:
            is_text = isinstance(value, str)
            number = MissingReason.TEXT if is_text else MissingReason.TYPE
        found.put(metric, number)

    def _kind(self, place: Place, kind: MetricKind) -> MetricKind:
        """A counter may come anew with each report."""
        if kind is MetricKind.COUNTER and self._mapping.deltas:
            path, text = self._mapping.deltas
            if place.find(path) == text:
                return MetricKind.DELTA
        return kind


def _bad(found: Numbers) -> Numbers:
    """The same metrics, all missing."""
    missing = [(name, MissingReason.QUALITY) for name in found.numbers]
    return Numbers(missing=[*found.missing, *missing])
