"""The blocks of exports, one for each resource, and where the numbers in them stand.

Source: opentelemetry-proto's metrics.proto, and the encoding of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, groupby
from operator import itemgetter
from typing import Final, NamedTuple

from detector.ingest.formats.grouped_rows import Stream
from detector.ingest.formats.otlp_streams import Resource
from detector.ingest.protobuf_wire import BLOCK, FIXED, BrokenWire, fields, varint
from detector.ingest.rows import Flags

# Tags of fields: the field's number, then how it is written.
_RESOURCE: Final = 1 << 3 | BLOCK
_RESOURCE_TAG: Final = bytes([_RESOURCE])
_SCOPE_METRICS: Final = 2 << 3 | BLOCK
_METRICS: Final = 2 << 3 | BLOCK
_NUMBERS: Final = (5 << 3 | BLOCK, 7 << 3 | BLOCK)  # a gauge, a sum
_OTHERS: Final = tuple(number << 3 | BLOCK for number in (9, 10, 11))  # histograms
_DATA_POINTS: Final = 1 << 3 | BLOCK
START: Final = 2 << 3 | FIXED
TIME: Final = 3 << 3 | FIXED
DOUBLE: Final = 4 << 3 | FIXED
INT: Final = 6 << 3 | FIXED
_FIELD: Final = 9  # bytes of such a field, its tag included
_Span = tuple[int, int]


# The metrics of one resource, in two parts: the field of the resource, with which
# exporters begin and which may be empty, and what follows.
Block = tuple[bytes, bytes]


@dataclass(slots=True)
class Blocks:
    """The n blocks of some messages, in columns; those of a message are neighbours."""

    messages: list[int] = field(default_factory=list)
    resources: list[bytes] = field(default_factory=list)
    rests: list[bytes] = field(default_factory=list)

    def add(self, message: int, blocks: Iterable[Block]) -> None:
        for resource, rest in blocks:
            self.messages.append(message)
            self.resources.append(resource)
            self.rests.append(rest)

    def where(self, kept: Flags) -> Blocks:
        """Some of them; bool [n]."""
        return Blocks(
            list(compress(self.messages, kept)),
            list(compress(self.resources, kept)),
            list(compress(self.rests, kept)),
        )

    def by_message(self) -> Iterator[tuple[int, list[Block]]]:
        blocks = zip(self.messages, self.resources, self.rests, strict=True)
        for message, of_message in groupby(blocks, itemgetter(0)):
            yield message, [(resource, rest) for _, resource, rest in of_message]

    def __len__(self) -> int:
        return len(self.messages)


class Place(NamedTuple):
    """Where a point's numbers begin; without a start, ``start`` is its time's."""

    time: int
    value: int
    start: int
    is_int: bool


def only_block(value: bytes) -> Block | None:
    """The block of an export that has one and nothing else; None of any other."""
    if value[:1] != _RESOURCE_TAG:
        return None
    try:
        length, start = varint(value, 1)
        if start + length != len(value):
            return None
        if value[start] != _RESOURCE:
            return b"", value[start:]
        length, end = varint(value, start + 1)
    except IndexError:
        return None
    return value[start : end + length], value[end + length :]


def cut(block: bytes) -> Block:
    """A block as its two parts."""
    if block[:1] != _RESOURCE_TAG or len(block) < 2:
        return b"", block
    try:
        length, start = varint(block, 1)
    except IndexError:
        return b"", block
    return block[: start + length], block[start + length :]


def encoded_resource(field: bytes) -> bytes:
    """The resource of its field, which may be empty."""
    return field[varint(field, 1)[1] :] if field else b""


def places_of(
    rest: bytes, streams: Sequence[Stream], resource: Resource
) -> tuple[list[Place], list[bytes]]:
    """The places of the points that became those of these streams, and their
    attributes as they are encoded.

    What follows a point's value must be its attributes alone: they name its stream.
    Raises BrokenWire or IndexError.
    """
    spans = list(_points(rest))
    if not spans or len(spans) != len(streams):
        raise BrokenWire
    places = []
    attributes = []
    for (first, end), stream in zip(spans, streams, strict=True):
        place = _place(rest, first, end)
        encoded = rest[place.value + 8 : end]
        if resource.known.get(encoded) is not stream:
            raise BrokenWire
        places.append(place)
        attributes.append(encoded)
    return places, attributes


def _points(rest: bytes) -> Iterator[_Span]:
    """The data points of gauges and sums. Raises BrokenWire or IndexError."""
    for tag, *scope in fields(rest, 0, len(rest)):
        if tag == _RESOURCE:  # it is no part of the rest
            raise BrokenWire
        if tag != _SCOPE_METRICS:
            continue
        for scope_tag, *metric in fields(rest, *scope):
            if scope_tag == _METRICS:
                yield from _points_of_metric(rest, *metric)


def _points_of_metric(rest: bytes, start: int, end: int) -> Iterator[_Span]:
    for tag, *data in fields(rest, start, end):
        if tag in _OTHERS:
            raise BrokenWire
        if tag not in _NUMBERS:
            continue
        for data_tag, *point in fields(rest, *data):
            if data_tag == _DATA_POINTS:
                yield point[0], point[1]


def _place(rest: bytes, first: int, end: int) -> Place:
    """Raises BrokenWire, or IndexError, if the point begins in another way."""
    time = first + _FIELD if rest[first] == START else first
    value = time + _FIELD
    kind = rest[value]
    if rest[time] != TIME or kind not in (DOUBLE, INT) or value + _FIELD > end:
        raise BrokenWire
    return Place(time + 1, value + 1, first + 1, kind == INT)
