"""Damage in a topic's log on the broker's disk, as a failing disk leaves it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kafka.record._crc32c import crc as crc32c

from deploy.harness.broker import Broker

# Of a batch of Kafka's message format 2: base offset, length, …, checksum, attributes.
_LOG_OVERHEAD: Final = 12
_CRC: Final = 17
_ATTRIBUTES: Final = 21


def segment(broker: Broker, topic: str, partition: int = 0) -> Path:
    """The first file of a partition's log."""
    return broker.directory / "data" / f"{topic}-{partition}" / f"{0:020d}.log"


def rewrite(path: Path, offset: int, change: Callable[[bytearray], None]) -> None:
    """Change the batch that begins at ``offset``; the broker must be stopped."""
    data = bytearray(path.read_bytes())
    for start, end in _batches(data):
        (base,) = struct.unpack_from(">q", data, start)
        if base == offset:
            batch = data[start:end]
            change(batch)
            data[start:end] = batch
            path.write_bytes(data)
            return
    raise AssertionError(f"no batch of {path} begins at {offset}")


def flip_last_byte(batch: bytearray) -> None:
    """A byte of a record is not what the checksum says."""
    batch[-1] ^= 0xFF


def unknown_codec(batch: bytearray) -> None:
    """A codec that Kafka does not have, under a checksum that is right."""
    batch[_ATTRIBUTES + 1] |= 0x07
    _sign(batch)


def not_its_codec(batch: bytearray) -> None:
    """Bytes that are not in the codec that the batch names: gzip."""
    batch[_ATTRIBUTES + 1] |= 0x01
    _sign(batch)


def _sign(batch: bytearray) -> None:
    struct.pack_into(">I", batch, _CRC, crc32c(bytes(batch[_ATTRIBUTES:])))


def _batches(data: bytearray) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(data):
        (length,) = struct.unpack_from(">i", data, start + 8)
        end = start + _LOG_OVERHEAD + length
        yield start, end
        start = end
