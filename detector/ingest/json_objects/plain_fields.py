"""The records of a mapping that need nothing but a look at a few fields.

Most records of Telegraf and its like have an object of numbers, an object of tags, a
name and a time. They are read as the mapper reads them, and several times as fast; the
mapper reads all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.events import Labels
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.metric_fields import NUMBERS
from detector.ingest.json_objects.paths import Fields, template
from detector.ingest.keying import series_name
from detector.ingest.row_builder import Row, RowBuilder
from detector.names import LONGEST_NAME

_REMEMBERED: Final = 1024  # sequences of names
_REMEMBERED_SERIES: Final = 8192
_WIDEST: Final = 1024  # names of a sequence that is remembered
_NAME: Final = 32  # characters of each, on average
_TEXTS: Final = frozenset((str,))
_TIMES: Final = frozenset((int, float, str))
_PRODUCERS: Final = "__"  # tags that begin so are the producer's own


@dataclass(frozen=True, slots=True)
class _Series:
    """The stream of a name and tags; ``name`` is empty if they are not plain."""

    name: str
    labels: Labels


_NOT_PLAIN: Final = _Series("", {})


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
        self._series: dict[tuple[object, ...], _Series] = {}

    def add(self, built: RowBuilder, message: int, fields: Any) -> bool:
        """Add the row of a record; False if it must be read field by field."""
        found = self._row(message, fields)
        if found is None:
            return False
        built.add_row(*found)
        return True

    def add_all(
        self, built: RowBuilder, message: int, elements: Sequence[object]
    ) -> bool:
        """Add the rows of a message's records; False if one of them is not plain, or
        two are of one stream and time: their numbers belong in one row.
        """
        found = []
        known = set()
        for element in elements:
            row = self._row(message, element)
            if row is None:
                return False
            found.append(row)
            (_, name, stamp, _, _), _ = row
            known.add((name, stamp))
        if len(known) < len(elements) or not elements:
            return False
        for row in found:
            built.add_row(*row)
        return True

    def _row(self, message: int, fields: Any) -> tuple[Row, Labels] | None:
        """The row of a record and its labels; None if it is not plain."""
        if type(fields) is not dict:
            return None
        numbers = fields.get(self._inside)
        tags = fields.get(self._tags)
        if type(numbers) is not dict or type(tags) is not dict or not numbers:
            return None
        values = [*numbers.values()]
        stamp: Any = _first(fields, self._times)
        if not NUMBERS.issuperset(map(type, values)) or type(stamp) not in _TIMES:
            return None
        series = self._recall(_first(fields, self._names), tags)
        if not series.name:
            return None
        metrics = self._shape(tuple(numbers))
        return (message, series.name, stamp, metrics, values), series.labels

    def _recall(self, name: Any, tags: Fields) -> _Series:
        try:
            found = self._series.get((name, *tags.items()))
        except TypeError:  # an array or an object
            return _NOT_PLAIN
        return self._learn(name, tags) if found is None else found

    def _learn(self, name: Any, tags: Mapping[str, Any]) -> _Series:
        """The series of a name and tags that are hashable."""
        texts = tags.values()
        is_named = type(name) is str and name
        are_texts = _TEXTS.issuperset(map(type, texts)) and "" not in texts
        are_own = not any(tag.startswith(_PRODUCERS) for tag in tags)
        found = _NOT_PLAIN
        if is_named and are_texts and are_own:
            whole = series_name(name, tags) if tags else name
            found = _Series(whole, tags)
        if found is _NOT_PLAIN or len(found.name) > LONGEST_NAME:
            return found  # it is not worth memory
        if len(self._series) >= _REMEMBERED_SERIES:
            self._series.clear()
        self._series[name, *tags.items()] = found
        return found

    def _shape(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """The same names, as rows of one shape share them."""
        known = self._shapes.get(metrics)
        if known is not None:
            return known
        if len(metrics) > _WIDEST or sum(map(len, metrics)) > _WIDEST * _NAME:
            return metrics  # it is not worth memory
        if len(self._shapes) >= _REMEMBERED:
            self._shapes.clear()
        self._shapes[metrics] = metrics
        return metrics


def plain_fields(mapping: RecordMapping) -> PlainFields | None:
    """What reads plain records of a mapping, or the elements of its array.

    None if the mapping asks for more than fields.
    """
    asks_more = (
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
