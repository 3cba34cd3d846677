"""Requests of Prometheus remote write for tests, encoded by hand.

The messages are written field by field, from the specification, so that a wrong number
of a field in the format's own schema is found.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import cramjam

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
Sample = tuple[float, int]  # value, epoch milliseconds


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def block(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def compressed(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def label(name: str, value: str) -> bytes:
    return block(1, name.encode()) + block(2, value.encode())


def sample(value: float, time: int) -> bytes:
    return double(1, value) + whole(2, time)


def series(
    labels: Mapping[str, str], *samples: Sample, histogram: bytes = b""
) -> bytes:
    """A TimeSeries of version 1, as a field of its request."""
    parts = [block(1, label(*pair)) for pair in labels.items()]
    parts.extend(block(2, sample(*each)) for each in samples)
    if histogram:
        parts.append(block(4, histogram))
    return block(1, b"".join(parts))


def metadata(family: str, type_: int) -> bytes:
    """MetricMetadata of version 1, as a field of its request."""
    return block(3, whole(1, type_) + block(2, family.encode()))


def series_2(
    references: Sequence[int], *samples: Sample, type_: int = 0, created: int = 0
) -> bytes:
    """A TimeSeries of version 2, as a field of its request."""
    parts = [block(1, b"".join(map(varint, references)))]
    parts.extend(block(2, sample(*each)) for each in samples)
    if type_:
        parts.append(block(5, whole(1, type_)))
    if created:
        parts.append(whole(6, created))
    return block(5, b"".join(parts))


def symbols(*texts: str) -> bytes:
    return b"".join(block(4, text.encode()) for text in texts)
