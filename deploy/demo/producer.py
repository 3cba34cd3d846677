"""Puts ticks on the topic, as wide flat JSON records with the stream as the key."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from deploy.demo.generator import F64, FEATURES

LINGER_MS: Final = 20  # below the 24 ms of a tick
BATCH_BYTES: Final = 256 * 1024  # more than a tick of 300 streams


class Producer:
    """A context manager; it flushes at the end unless there was an error."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, streams: Sequence[str]
    ) -> None:
        self._topic = topic
        self._keys = [name.encode() for name in streams]
        # kafka-python's own partitioner is written in Python and costs more than the
        # rest of a record.
        self._partitions = [zlib.crc32(key) % partitions for key in self._keys]
        self._encode = msgspec.json.Encoder().encode
        self._failed: list[BaseException] = []
        self._kafka = KafkaProducer(
            bootstrap_servers=bootstrap,
            linger_ms=LINGER_MS,
            batch_size=BATCH_BYTES,
            acks=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._kafka.close(timeout=10)
            return
        # what cannot be sent any more must not hide the first error
        with contextlib.suppress(KafkaError):
            self._kafka.close(timeout=2)

    def send(self, now: float, values: F64) -> None:
        """Send one tick of all streams; NaN goes out as null.

        Raises KafkaError if an earlier record could not be delivered.
        """
        self._raise_first()
        rows = zip(self._keys, self._partitions, values.tolist(), strict=True)
        for key, partition, row in rows:
            # msgspec writes NaN as null
            record = {"timestamp": now} | dict(zip(FEATURES, row, strict=True))
            content = self._encode(record)
            sent = self._kafka.send(self._topic, content, key=key, partition=partition)
            sent.add_errback(self._failed.append)

    def flush(self) -> None:
        """Wait until all is acknowledged. Raises KafkaError."""
        try:
            self._kafka.flush(timeout=20)
        except KafkaError as error:
            self._failed.append(error)
        self._raise_first()

    def _raise_first(self) -> None:
        if self._failed:
            raise self._failed[0]
