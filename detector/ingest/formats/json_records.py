"""Records of JSON: flat ones by a fast path, and all others by what they are.

Theory of operation. A record is decoded into a dict in C. If it is flat, and all its
fields beside its time and its stream are numbers, it is taken apart in C however many
it has. What its fields are follows from their names alone, so that is worked out once
for each sequence of names and remembered. Any other record goes to a reader: of one
mapping, or of all that can be recognised. Both paths make the same rows of a record, so
the fast one is never more than fast.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from detector.errors import BadRecord, RejectReason
from detector.ingest.formats.flat_shape import (
    TIMES,
    FlatShape,
    flat_shape,
    without_nulls,
)
from detector.ingest.json_objects.json_text import (
    TOO_DEEP,
    UNDECODABLE,
    decode,
    documents,
)
from detector.ingest.json_objects.metric_fields import NUMBERS
from detector.ingest.json_objects.paths import Fields
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.row_builder import Row, RowBuilder
from detector.ingest.rows import NamedValues, Rows

_REMEMBERED: Final = 1024  # sequences of names
_MOST_BYTES: Final = 32 << 20  # that they take, about
_BYTES_OF_NAME: Final = 64  # beside its characters
_BEGINNINGS: Final = (b"{", b"[")
# white space, and the mark of UTF-8's byte order, which some writers put first
_BEFORE: Final = b" \t\r\n\xef\xbb\xbf"


class Reader(Protocol):
    """Adds the rows of records that are not flat, or not only numbers."""

    def add(
        self, built: RowBuilder, messages: Messages, message: int, fields: Fields
    ) -> None:
        """The rows of an object. Raises BadRecord before any is added."""
        ...

    def takes_plain(self, built: RowBuilder, message: int, document: Any) -> bool:
        """Whether it adds the row of a plain record of a producer, by a fast path."""
        ...

    def takes_whole(self, messages: Messages, message: int, document: Any) -> bool:
        """Whether it takes the bytes of a message as they are."""
        ...

    def takes_undecodable(self, messages: Messages, message: int) -> bool:
        """Whether it takes the bytes of a message that is not JSON. Raises BadRecord
        with what they are instead.
        """
        ...


class JsonRecords:
    """Implements Format. One row or more for each record."""

    def __init__(
        self,
        reader: Reader,
        is_flat: Callable[[Collection[str]], bool] = bool,
    ) -> None:
        """``is_flat``: whether a record of numbers with these names may be flat."""
        self._reader = reader
        self._is_flat = is_flat
        self._shapes: dict[tuple[str, ...], FlatShape | None] = {}
        self._bytes = 0  # of these

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        built = RowBuilder()
        add = built.add_row
        keys = messages.keys()
        for i, value in enumerate(messages.values):
            try:
                document = decode(value) if type(value) is bytes else value
                row = self._flat(i, document, keys[i])
                if row is not None:
                    add(row)
                elif not self._reader.takes_plain(built, i, document):
                    self._add_whole(built, messages, i, document)
            except BadRecord as fault:
                built.reject(i, fault)
            except RecursionError:
                built.reject(i, BadRecord(RejectReason.MALFORMED, TOO_DEEP))
            except UNDECODABLE:
                self._add_undecodable(built, messages, i, as_bytes(value))
        return built.rows()

    def _flat(self, message: int, document: Any, key: bytes | None) -> Row | None:
        """The row of a flat record of numbers; None for any other document.

        A record that its own field does not name must have a key.
        """
        if type(document) is not dict:
            return None
        names = tuple(document)
        try:
            shape = self._shapes[names]
        except KeyError:
            shape = self._remember(names)
        if shape is None:
            return None
        values = [*document.values()]
        stream = None
        if shape.is_simple:
            stamp = values.pop(shape.time or 0)
            is_flat = bool(key) and type(stamp) in TIMES
        else:
            if shape.stream is not None:
                stream = values[shape.stream]
            stamp = None if shape.time is None else values[shape.time]
            is_flat = _is_flat(shape, values, stream, stamp, key)
            for place in shape.dropped:
                del values[place]
        if not is_flat:
            return None
        if NUMBERS.issuperset(map(type, values)):
            row = message, stream, stamp, shape.metrics, values
            return row if values else None
        return without_nulls((message, stream, stamp, shape.metrics, values))

    def _remember(self, names: tuple[str, ...]) -> FlatShape | None:
        if len(self._shapes) >= _REMEMBERED or self._bytes > _MOST_BYTES:
            self._shapes.clear()
            self._bytes = 0
        self._bytes += sum(map(len, names)) + _BYTES_OF_NAME * len(names)
        shape = flat_shape(names) if self._is_flat(names) else None
        self._shapes[names] = shape
        return shape

    # -- all others --------------------------------------------------------------------

    def _add_whole(
        self, built: RowBuilder, messages: Messages, message: int, document: Any
    ) -> None:
        if not self._reader.takes_whole(messages, message, document):
            self._add(built, messages, message, document)

    def _add(
        self, built: RowBuilder, messages: Messages, message: int, document: Any
    ) -> None:
        """An object, or an array of objects. Raises BadRecord."""
        if type(document) is dict:
            self._reader.add(built, messages, message, document)
            return
        if type(document) is not list:
            detail = "it is not one JSON object, nor an array of objects"
            raise BadRecord(RejectReason.MALFORMED, detail)
        if not document:
            built.skip(message)
        for element in document:
            if type(element) is not dict:
                detail = "an element of its array is not an object"
                raise BadRecord(RejectReason.MALFORMED, detail)
            self._add_one(built, messages, message, element)

    def _add_one(
        self, built: RowBuilder, messages: Messages, message: int, document: Any
    ) -> None:
        """One of several documents of a message. Raises BadRecord."""
        flat = self._flat(message, document, messages.key(message))
        if flat is not None:
            built.add_row(flat)
        elif type(document) is dict:
            self._reader.add(built, messages, message, document)
        else:
            self._add(built, messages, message, document)

    def _add_undecodable(
        self, built: RowBuilder, messages: Messages, message: int, value: bytes
    ) -> None:
        """Lines of JSON, nearly JSON, or the bytes of another format."""
        try:
            is_json = value.lstrip(_BEFORE)[:1] in _BEGINNINGS
            if not is_json and self._reader.takes_undecodable(messages, message):
                return
            for document in documents(value):
                self._add_one(built, messages, message, document)
        except BadRecord as fault:
            built.reject(message, fault)
        except RecursionError:
            built.reject(message, BadRecord(RejectReason.MALFORMED, TOO_DEEP))


def _is_flat(
    shape: FlatShape, values: Sequence[Any], stream: Any, stamp: Any, key: bytes | None
) -> bool:
    """Whether time and stream of a record are what its names say."""
    if type(stream) is not str and (stream is not None or not key):
        return False
    return type(stamp) in TIMES and (not shape.guesses or shape.holds(values))
