"""Protobuf on the wire: fields by their tags, without a schema; and what it may be.

Source: the encoding of Protocol Buffers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

OTLP: Final = "otlp"
REMOTE_WRITE: Final = "prometheus_remote_write"

# How a field is written: the lowest three bits of its tag.
VARINT: Final = 0
FIXED: Final = 1  # 8 bytes
BLOCK: Final = 2  # a length and bytes

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # text has none
_BEGINNING: Final = 4096  # bytes that are looked at
_METRIC_NAME: Final = (
    b"__name__"  # a label of each series; snappy leaves its first as it is
)
_RESOURCE_METRICS: Final = 1 << 3 | BLOCK
_FIRST: Final = bytes([_RESOURCE_METRICS])
# of ResourceMetrics: the resource, scope metrics, the schema's address
_OF_RESOURCE: Final = frozenset(number << 3 | BLOCK for number in (1, 2, 3))


class BrokenWire(Exception):
    """It is not protobuf, or has what no exporter of metrics writes."""


def binary_format(value: bytes) -> str | None:
    """The format of bytes that are no text; None if none is recognised."""
    is_export = value[:1] == _FIRST and _is_export(value)
    beginning = value[:_BEGINNING]
    if _METRIC_NAME in beginning and _CONTROL.search(beginning):
        return REMOTE_WRITE
    return OTLP if is_export and _CONTROL.search(beginning) else None


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Tag, begin and end of each field. Raises BrokenWire or IndexError."""
    at = start
    while at < end:
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == BLOCK:
            length, at = varint(data, at)
        elif kind == FIXED:
            length = 8
        elif kind == VARINT:
            length = varint(data, at)[1] - at
        else:
            raise BrokenWire
        yield tag, at, at + length
        at += length
    if at != end:
        raise BrokenWire


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. Raises IndexError if it is cut off."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    number = first & 0x7F
    shift = 7
    at += 1
    while data[at] & 0x80:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1


def _is_export(value: bytes) -> bool:
    """Whether it has the form of an OTLP export. Traces and logs have it too."""
    at = 0
    try:
        while at < len(value):
            if value[at] != _RESOURCE_METRICS:
                return False
            length, at = varint(value, at + 1)
            end = at + length
            if end > len(value):
                return False
            while at < end:
                if value[at] not in _OF_RESOURCE:
                    return False
                length, at = varint(value, at + 1)
                at += length
            if at != end:
                return False
    except IndexError:
        return False
    return True
