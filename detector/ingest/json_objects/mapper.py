"""A mapping applied to records: the rows that they are.

Theory of operation. What a mapping says is prepared once: templates are parsed, and
the patterns are asked once for each name. A record becomes one row, or one for each
stream and time in its array. A fault of the record's form is raised; a value that can't
be used is missing, and costs nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from detector.errors import BadRecord, RejectReason
from detector.events import Labels
from detector.ingest.format import UnknownFields
from detector.ingest.json_objects.field_names import (
    STREAM,
    TIMESTAMP,
    is_clock,
    leaf,
    time_field,
)
from detector.ingest.json_objects.mapping import UNITS_A_SECOND, RecordMapping
from detector.ingest.json_objects.metric_fields import MetricFields, Numbers
from detector.ingest.json_objects.one_metric import OneMetric
from detector.ingest.json_objects.paths import NOTHING, Fields, Place, as_text, template
from detector.ingest.json_objects.plain_fields import plain_fields
from detector.ingest.messages import Messages
from detector.ingest.row_builder import RowBuilder
from detector.phrases import listed
from detector.timestamps import TIME_FORMAT, seconds, seconds_written, unreadable

_NANOSECONDS: Final = 1e-9
_TAG_LISTS: Final = (("tag", "value"), ("key", "value"), ("name", "value"))
_KINDS: Final = {bool: "a boolean", list: "an array", dict: "an object"}

_SAYS_NOTHING: Final = ("id", "name")
_LISTED: Final = 5  # fields that a sentence lists

Text = tuple[str, str, str]  # the name of a tag, its path, its text
Told = tuple[str | None, Labels | None, Labels | None, float | str | None]


class Mapper:
    """Adds the rows of records to a builder."""

    def __init__(
        self,
        mapping: RecordMapping,
        unknown: UnknownFields,
        wanted: Collection[str] = (),
    ) -> None:
        """``wanted``: metrics that are known; text in one of them is missing."""
        self._mapping = mapping
        self._streams = [template(text) for text in mapping.stream]
        self._of_stream = {path for one in self._streams for path in one.paths}
        self._plain = plain_fields(mapping)
        self._numbers: MetricFields | OneMetric
        if mapping.name:
            self._numbers = OneMetric(mapping)
        else:
            used = [*self._of_stream, *mapping.timestamp, mapping.nanoseconds]
            self._numbers = MetricFields(mapping, unknown, wanted, used)

    def add(
        self,
        built: RowBuilder,
        messages: Messages,
        message: int,
        fields: Fields,
        around: Fields | None = None,
    ) -> None:
        """The rows of one message. Raises BadRecord before anything is added.

        ``around``: fields of the envelope that the message came in.
        """
        if around is None and self.takes_plain(built, message, fields):
            return
        rows: dict[Any, tuple[Told, Numbers]] = {}
        for element, outer in self._elements(fields, around):
            place = Place(element, outer, messages, message)
            found = self._numbers.read(place)
            if found is None:
                continue
            row = self._row(place, found.tags)
            key: Any = _identity(row)
            if key in rows and not rows[key][1].numbers.keys().isdisjoint(
                found.numbers
            ):
                key = len(rows)
            if key in rows:
                rows[key][1].extend(found)
            else:
                rows[key] = row, found
        if not rows:
            built.skip(message)
        for (name, tags, labels, stamp), found in rows.values():
            found.add_to(built, message, (name, tags, labels, stamp))

    def takes_plain(self, built: RowBuilder, message: int, fields: Any) -> bool:
        """Whether a record has all fields where they mostly are; then its rows are
        added.
        """
        plain = self._plain
        if plain is None:
            return False
        path = self._mapping.records
        if not path:
            return plain.add(built, message, fields)
        array = fields.get(path) if type(fields) is dict else None
        return type(array) is list and plain.add_all(built, message, array)

    def _elements(
        self, fields: Fields, around: Fields | None
    ) -> Iterator[tuple[Fields, Fields | None]]:
        """The records of a message, and the message if they are elements of it."""
        path = self._mapping.records
        array = fields.get(path, NOTHING) if path else NOTHING
        if array is NOTHING:
            yield fields, around
            return
        if not isinstance(array, list):
            raise BadRecord(RejectReason.TYPE, f"`{path}` is not an array of objects")
        for element in array:
            if not isinstance(element, dict):
                detail = f"an element of `{path}` is not an object"
                raise BadRecord(RejectReason.TYPE, detail)
            yield element, fields

    def _row(self, place: Place, more_tags: Labels) -> Told:
        tags = self._texts_at(place, self._mapping.tags)
        told = {name: text for name, path, text in tags if path not in self._of_stream}
        told |= more_tags
        name = self._name(place, bool(told))
        if not name and not told:
            name = None  # the record's key names it
        labels = {name: text for name, _, text in tags} | told
        for label, _, text in self._texts_at(place, self._mapping.labels):
            labels.setdefault(label, text)
        return name, told or None, labels or None, self._time(place)

    def _name(self, place: Place, has_tags: bool) -> str | None:
        for one in self._streams:
            name = one.text(place)
            if name is not None:
                return name
        if self._streams:
            wanted = " or ".join(self._mapping.stream)
            detail = f"its stream can't be named: it has no {wanted}"
            raise BadRecord(RejectReason.NO_STREAM, detail)
        found = place.find(STREAM)
        if found is NOTHING or found is None:
            key = place.messages.key(place.message)
            if not key:
                raise BadRecord(RejectReason.NO_STREAM, _unnamed(place.fields))
            return key.decode(errors="backslashreplace") if has_tags else None
        if not isinstance(found, str):
            raise wrong_type(STREAM, found, "text")
        return found

    def _texts_at(self, place: Place, paths: Sequence[str]) -> list[Text]:
        """The texts at these paths, and those of the objects at them."""
        found: list[Text] = []
        for path in paths:
            value = place.find(path)
            if isinstance(value, dict):
                found.extend(_of_object(path, value))
            elif isinstance(value, list):
                found.extend(_of_pairs(path, value))
            else:
                text = as_text(value)
                if text:
                    found.append((_label(path), path, text))
        return found

    def _time(self, place: Place) -> float | str | None:
        name, value = self._time_field(place)
        if value is NOTHING or value is None:
            return None
        if type(value) in _KINDS:
            raise wrong_type(name, value, "a number or text")
        if self._mapping.time_format:
            return _written(value, self._mapping.time_format)
        if self._mapping.unit != "auto":
            value = _number(value) / UNITS_A_SECOND[self._mapping.unit]
        if self._mapping.nanoseconds:
            more = place.find(self._mapping.nanoseconds)
            if isinstance(more, int | float):
                value = _number(value) + _number(more) * _NANOSECONDS
        return value  # type: ignore[no-any-return]  # a number or text, by its type

    def _time_field(self, place: Place) -> tuple[str, Any]:
        if self._mapping.timestamp:
            name = " or ".join(self._mapping.timestamp)
            return name, place.first(self._mapping.timestamp)
        stamp = place.find(TIMESTAMP)
        if stamp is not NOTHING and stamp is not None:
            return TIMESTAMP, stamp
        for fields in (place.fields, place.outer or {}, *_objects(place.fields)):
            name_of_clock = time_field(fields.items())
            if name_of_clock is not None:
                return name_of_clock, fields[name_of_clock]
        return TIMESTAMP, NOTHING


def _objects(fields: Fields) -> list[Fields]:
    return [value for value in fields.values() if isinstance(value, dict)]


def _label(path: str) -> str:
    """The last part of a path; the whole path if that part alone says nothing."""
    last = leaf(path)
    return path if last in _SAYS_NOTHING else last


def wrong_type(name: str, value: object, wanted: str) -> BadRecord:
    kind = _KINDS.get(type(value), "a number")
    return BadRecord(RejectReason.TYPE, f"`{name}` is {kind}, not {wanted}")


def _identity(row: Told) -> tuple[object, ...]:
    """What rows of one message share that are one point of one stream."""
    name, tags, _, stamp = row
    return name, tuple(sorted((tags or {}).items())), stamp


def _of_object(path: str, value: Fields) -> Iterator[Text]:
    """The tags of an object; names with two underscores are a producer's own."""
    for name, inner in value.items():
        text = inner if type(inner) is str else as_text(inner)
        if text and not name.startswith("__"):
            yield name, f"{path}.{name}", text


def _of_pairs(path: str, value: Sequence[Any]) -> Iterator[Text]:
    """The tags of a list of pairs."""
    for pair in value:
        if not isinstance(pair, dict):
            continue
        for name, of_value in _TAG_LISTS:
            tag = as_text(pair.get(name))
            text = as_text(pair.get(of_value))
            if tag and text:
                yield tag, f"{path}.{tag}", text
                break


def _unnamed(fields: Fields) -> str:
    detail = "it has neither a `stream` field nor a key"
    texts = [
        name
        for name, value in fields.items()
        if isinstance(value, str) and not is_clock(value)
    ]
    if not texts:
        return f"{detail}: set `stream` in the topic's mapping"
    named = listed([f"`{name}`" for name in texts], _LISTED)
    return f"{detail}: if {named} names it, set `stream` in the topic's mapping"


def _number(value: float | str) -> float:
    """A time as a number. Raises BadRecord."""
    try:
        return seconds(value)
    except (ValueError, OverflowError):
        detail = unreadable(value, TIME_FORMAT)
        raise BadRecord(RejectReason.TIMESTAMP, detail) from None


def _written(value: object, form: str) -> float:
    """A time in the notation of ``strptime``. Raises BadRecord."""
    try:
        return seconds_written(as_text(value) or "", form)
    except (ValueError, OverflowError):
        detail = f"timestamp {value!r} is not written as `time_format` says: {form}"
        raise BadRecord(RejectReason.TIMESTAMP, detail) from None
