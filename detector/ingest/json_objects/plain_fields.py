"""The records of a mapping that need nothing but a look at a few fields.

Most records of Telegraf and its like have an object of numbers, an object of tags, a
name and a time. They are read as the mapper reads them, and several times as fast; the
mapper reads all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from detector.events import Labels
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.metric_fields import NUMBERS
from detector.ingest.json_objects.paths import Fields, template
from detector.ingest.row_builder import Row

_REMEMBERED: Final = 1024  # sequences of names
_TEXTS: Final = frozenset((str,))
_TIMES: Final = (int, float, str)


class PlainFields:
    """Reads records whose fields are all where they mostly are."""

    def __init__(
        self, inside: str, names: Sequence[str], mapping: RecordMapping
    ) -> None:
        """``names``: fields of the stream's name, the first that is there counts."""
        self._inside = inside
        self._names = names
        self._tags = mapping.tags[0]
        self._times = mapping.timestamp
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._plain_tags: dict[tuple[str, ...], bool] = {}

    def row(self, message: int, fields: Fields) -> tuple[Row, Labels] | None:
        """The row of a record and its tags; None if it must be read field by field."""
        numbers = fields.get(self._inside)
        tags = fields.get(self._tags)
        if type(numbers) is not dict or type(tags) is not dict or not numbers:
            return None
        if not NUMBERS.issuperset(map(type, numbers.values())) or not self._are_tags(
            tags
        ):
            return None
        name = _first(fields, self._names)
        stamp = _first(fields, self._times)
        is_named = type(name) is str and name
        if not is_named or not isinstance(stamp, _TIMES) or type(stamp) is bool:
            return None
        metrics = self._shape(tuple(numbers))
        row = message, str(name), stamp, metrics, list(numbers.values())
        return row, tags

    def _are_tags(self, tags: Fields) -> bool:
        """Whether all are texts that name something, and none is a producer's own."""
        names = tuple(tags)
        are_plain = self._plain_tags.get(names)
        if are_plain is None:
            if len(self._plain_tags) >= _REMEMBERED:
                self._plain_tags.clear()
            are_plain = not any(name.startswith("__") for name in names)
            self._plain_tags[names] = are_plain
        texts = tags.values()
        return are_plain and _TEXTS.issuperset(map(type, texts)) and "" not in texts

    def _shape(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """The same names, as rows of one shape share them."""
        if len(self._shapes) >= _REMEMBERED:
            self._shapes.clear()
        return self._shapes.setdefault(metrics, metrics)


def plain_fields(mapping: RecordMapping) -> PlainFields | None:
    """What reads plain records of a mapping; None if it asks for more than fields."""
    asks_more = (
        mapping.records,
        mapping.nanoseconds,
        mapping.time_format,
        mapping.labels,
        mapping.metrics,
        mapping.exclude,
        mapping.name,
        mapping.quality,
        mapping.unit != "auto",
    )
    if any(asks_more) or not mapping.inside or len(mapping.stream) != 1:
        return None
    one = template(mapping.stream[0])
    is_field = list(one.texts) == ["", ""] and list(one.fields[0]) == list(one.paths)
    paths = [mapping.inside, *one.paths, *mapping.tags, *mapping.timestamp]
    if not is_field or len(mapping.tags) != 1 or any("." in path for path in paths):
        return None
    return PlainFields(mapping.inside, one.paths, mapping)


def _first(fields: Fields, names: Sequence[str]) -> object:
    for name in names:
        found = fields.get(name)
        if found is not None:
            return found
    return None
