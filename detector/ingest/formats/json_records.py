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
from dataclasses import dataclass
from typing import Any, Final, Protocol

from detector.errors import BadRecord, RejectReason
from detector.ingest.field_names import (
    STREAM,
    TIMESTAMP,
    clock_rank,
    is_clock,
    is_id,
)
from detector.ingest.json_text import UNDECODABLE, decode, documents
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.metric_fields import NUMBERS
from detector.ingest.paths import Fields
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows

_REMEMBERED: Final = 1024  # sequences of names
_TIME: Final = frozenset((float, int, str, type(None)))
_NUMBER_OR_NULL: Final = NUMBERS | {type(None)}
_UNSEEN: Final = object()


class Reader(Protocol):
    """Adds the rows of records that are not flat, or not only numbers."""

    def add(
        self, built: RowBuilder, messages: Messages, message: int, fields: Fields
    ) -> None:
        """The rows of an object. Raises BadRecord before any is added."""
        ...

    def takes_whole(self, messages: Messages, message: int, document: Any) -> bool:
        """Whether it takes the bytes of a message as they are."""
        ...

    def takes_undecodable(self, messages: Messages, message: int) -> bool:
        """Whether it takes the bytes of a message that is not JSON. Raises BadRecord
        with what they are instead.
        """
        ...


@dataclass(frozen=True, slots=True)
class FlatShape:
    """What the fields of a flat record are, by their names. Places count from 0.

    Attributes:
        stream, time: the places of these; None if the record has none.
        is_checked: the time is only one if its value is a clock's.
        suspects: places of fields that are clocks if their values are.
        dropped: places of all fields that are no metrics, the last first.
        metrics: the names of the rest, in order.
    """

    stream: int | None
    time: int | None
    is_checked: bool
    suspects: Sequence[int]
    dropped: Sequence[int]
    metrics: Sequence[str]


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

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        built = RowBuilder()
        for i, value in enumerate(messages.values):
            try:
                document = decode(value) if type(value) is bytes else value
                if not self._add_flat(built, messages, i, document):
                    self._add_whole(built, messages, i, document)
            except BadRecord as fault:
                built.reject(i, fault)
            except UNDECODABLE:
                self._add_undecodable(built, messages, i, as_bytes(value))
        return built.rows()

    # -- flat records ------------------------------------------------------------------

    def _add_flat(
        self, built: RowBuilder, messages: Messages, message: int, fields: Any
    ) -> bool:
        """Whether it is a flat record of numbers; then its row is added."""
        if type(fields) is not dict:
            return False
        names = tuple(fields)
        shape: Any = self._shapes.get(names, _UNSEEN)
        if shape is _UNSEEN:
            shape = self._remember(names)
        if shape is None:
            return False
        values = list(fields.values())
        stream = None if shape.stream is None else values[shape.stream]
        stamp = None if shape.time is None else values[shape.time]
        if type(stamp) not in _TIME or (shape.is_checked and not is_clock(stamp)):
            return False
        if type(stream) is not str and not _is_keyed(stream, messages, message):
            return False
        for place in shape.suspects:
            if stamp is None or is_clock(values[place]):
                return False
        for place in shape.dropped:
            del values[place]
        return _add_numbers(built, message, (stream, stamp), shape.metrics, values)

    def _remember(self, names: tuple[str, ...]) -> FlatShape | None:
        if len(self._shapes) >= _REMEMBERED:
            self._shapes.clear()
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
            if not self._add_flat(built, messages, message, element):
                self._reader.add(built, messages, message, element)

    def _add_undecodable(
        self, built: RowBuilder, messages: Messages, message: int, value: bytes
    ) -> None:
        """Lines of JSON, nearly JSON, or the bytes of another format."""
        try:
            is_json = value.lstrip(_BEFORE)[:1] in _BEGINNINGS
            if not is_json and self._reader.takes_undecodable(messages, message):
                return
            for document in documents(value):
                if not self._add_flat(built, messages, message, document):
                    self._add(built, messages, message, document)
        except BadRecord as fault:
            built.reject(message, fault)


_BEGINNINGS: Final = (b"{", b"[")
# white space, and the mark of UTF-8's byte order, which some writers put first
_BEFORE: Final = b" \t\r\n\xef\xbb\xbf"


def flat_shape(names: Sequence[str]) -> FlatShape | None:
    """What the fields of these names are if all beside time and stream are numbers."""
    if "" in names:
        return None
    ranks = {i: clock_rank(name) for i, name in enumerate(names)}
    clocks = [i for i, rank in ranks.items() if rank is not None]
    time: int | None = None
    if TIMESTAMP in names:
        time = names.index(TIMESTAMP)
    elif clocks:
        time = min(clocks, key=lambda i: ranks[i] or 0)
    stream = names.index(STREAM) if STREAM in names else None
    ids = [i for i, name in enumerate(names) if is_id(name)]
    dropped = sorted({*ids, stream, time} - {None}, reverse=True)  # type: ignore[type-var]  # no None
    return FlatShape(
        stream=stream,
        time=time,
        is_checked=time is not None and names[time] != TIMESTAMP,
        suspects=[i for i in clocks if i != time],
        dropped=dropped,  # type: ignore[arg-type]  # as above
        metrics=[name for i, name in enumerate(names) if i not in dropped],
    )


def _is_keyed(stream: object, messages: Messages, message: int) -> bool:
    """Whether the record's key names the stream, since no field does."""
    return stream is None and bool(messages.key(message))


def _add_numbers(
    built: RowBuilder,
    message: int,
    stream_and_stamp: tuple[str | None, float | str | None],
    metrics: Sequence[str],
    values: list[Any],
) -> bool:
    types = set(map(type, values))
    if not types <= NUMBERS:
        if not types <= _NUMBER_OR_NULL:
            return False
        given = [i for i, value in enumerate(values) if value is not None]
        metrics = [metrics[i] for i in given]
        values = [values[i] for i in given]
    if not values:
        return False
    stream, stamp = stream_and_stamp
    built.add_flat(message, stream, stamp, metrics, values)
    return True
