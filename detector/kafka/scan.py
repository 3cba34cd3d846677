"""Reads partitions from one offset to another, without a group and without commits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from detector.errors import ConfigError, Transient
from detector.events import Partition
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.kafka.unreadable import UnreadableError, name_unreadable

#: Milliseconds for one request.
REQUEST_MS: Final = 5000
_POLL_MS: Final = 500
#: Polls that give nothing until a scan stops waiting: 10 seconds.
_PATIENCE: Final = 20


@contextlib.contextmanager
def scanner(settings: KafkaSettings) -> Iterator[Scanner]:
    """Raises ConfigError if no broker answers, and Transient if one fails later."""
    try:
        consumer = connected(
            KafkaConsumer,
            **settings.connection(),
            bootstrap_timeout_ms=REQUEST_MS,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            isolation_level=settings.isolation_level,
        )
    except KafkaError as error:
        servers = ", ".join(settings.bootstrap_servers)
        cause = type(error).__name__
        raise ConfigError(f"no broker answers at {servers} ({cause})") from None
    try:
        yield Scanner(consumer)
    except KafkaError as error:
        text = f"the broker failed ({type(error).__name__}: {error}): run it again"
        raise Transient(text) from error
    finally:
        consumer.close(autocommit=False)


class Scanner:
    """Of one consumer that is a member of no group."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._unreadable: list[str] = []
        name_unreadable(consumer)

    def unreadable(self) -> Sequence[str]:
        """The places that the scans so far could not read, in words."""
        return tuple(self._unreadable)

    def topics(self) -> set[str]:
        return set(self._consumer.topics())

    def partitions(self, topic: str) -> list[Partition]:
        """Of a topic; none if it does not exist."""
        if topic not in self.topics():
            return []
        numbers = self._consumer.partitions_for_topic(topic) or ()
        return [Partition(topic, number) for number in sorted(numbers)]

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, range]:
        """The offsets that the log of each holds."""
        tps = [TopicPartition(p.topic, p.number) for p in partitions]
        if not tps:
            return {}
        first = self._consumer.beginning_offsets(tps, timeout_ms=REQUEST_MS)
        end = self._consumer.end_offsets(tps, timeout_ms=REQUEST_MS)
        return {
            partition: range(first[tp], end[tp])
            for partition, tp in zip(partitions, tps, strict=True)
        }

    def records(
        self, places: Mapping[Partition, range]
    ) -> Iterator[Sequence[ConsumerRecord]]:
        """The records of these offsets, in the order of each partition.

        Stops early if nothing comes for a while, as while a transaction is open.
        """
        ends = {
            TopicPartition(p.topic, p.number): offsets.stop
            for p, offsets in places.items()
            if offsets
        }
        self._consumer.assign(list(ends))
        self._consumer.resume(*ends)  # of an earlier scan
        for partition, offsets in places.items():
            if offsets:
                tp = TopicPartition(partition.topic, partition.number)
                self._consumer.seek(tp, offsets.start)
        idle = 0
        while ends and idle < _PATIENCE:
            try:
                polled = self._consumer.poll(timeout_ms=_POLL_MS)
            except UnreadableError as error:
                self._pass_over(error, ends)
                continue
            idle = 0 if polled else idle + 1
            for tp, records in polled.items():
                end = ends.get(tp, 0)
                wanted = [record for record in records if record.offset < end]
                if wanted:
                    yield wanted
            self._leave_read(ends)

    def record(self, partition: Partition, offset: int) -> ConsumerRecord | None:
        """One record; None if the log does not hold it."""
        (held,) = self.bounds([partition]).values()
        if offset not in held:
            return None
        found = self.records({partition: range(offset, offset + 1)})
        records = next(found, ())
        return records[0] if records else None

    def _pass_over(
        self, error: UnreadableError, ends: dict[TopicPartition, int]
    ) -> None:
        """Go on behind what can't be read, or without its partition."""
        self._unreadable.append(str(error))
        if error.end is None:
            self._consumer.pause(error.tp)
            ends.pop(error.tp, None)
        else:
            self._consumer.seek(error.tp, error.end)

    def _leave_read(self, ends: dict[TopicPartition, int]) -> None:
        """Stop reading the partitions that are read to their end."""
        read = [tp for tp, end in ends.items() if self._consumer.position(tp) >= end]
        for tp in read:
            self._consumer.pause(tp)
            del ends[tp]
