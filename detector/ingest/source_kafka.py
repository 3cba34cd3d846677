"""The consumer group: kafka-python behind the Source port.

Offsets are the pipeline's business: automatic commits are off, and on assignment the position is where the restored pages say. The
client's listener runs on its own I/O thread; what it calls does its own locking and never calls back into the client but to seek.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from detector.errors import Transient
from detector.events import Columns, Partition
from detector.ingest.config import KafkaSettings
from detector.ingest.decode import Decoder, Raw
from detector.ports import Assignments

_BOOTSTRAP_MS = 3000  # for one attempt to reach a broker: a stop goes unnoticed for as long
_COMMIT_MS = 3000  # the loop stands still while it commits, and a committed offset is only a hint
_JOIN = 1.0  # seconds that a poll waits at most while a join is under way
_PATIENCE = 25  # empty polls without a partition before the log says so


class KafkaSource:
    """Implements Source. Raises Transient where the broker can't be reached."""

    def __init__(self, settings: KafkaSettings, decoder: Decoder, assignments: Assignments) -> None:
        self._decoder = decoder
        self._topics = settings.topics
        self._idle = 0
        self._log = structlog.get_logger("kafka")
        clients: list[Any] = []

        def made(**config: Any) -> Any:
            clients.append(KafkaNetClient(**config))
            return clients[-1]

        try:
            self._consumer = KafkaConsumer(
                kafka_client=made,
                **settings.connection(),
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
                group_id=settings.group_id,
                group_instance_id=settings.group_instance_id,
                auto_offset_reset=settings.auto_offset_reset,
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                partition_assignment_strategy=[CooperativeStickyAssignor],
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=max(300, min(3000, settings.session_timeout_ms // 3)),
            )
        except KafkaError as error:
            for client in clients:  # the consumer that was not made leaves its I/O thread and sockets behind
                client.close()
            raise Transient(f"no broker answers at {', '.join(settings.bootstrap_servers)} ({type(error).__name__})") from None
        listener = _Listener(self._consumer, assignments)
        if settings.topics[0].startswith("^"):
            self._consumer.subscribe(pattern=settings.topics[0], listener=listener)
        else:
            self._consumer.subscribe(topics=list(settings.topics), listener=listener)

    def poll(self, max_records: int, timeout: float) -> Sequence[Columns]:
        if self._consumer._coordinator.rejoining:  # it counts only if a poll waits for the answer
            timeout = max(timeout, _JOIN)
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=max_records)
        except KafkaError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error
        self._mend_join()
        if not polled:
            self._say_if_unassigned()
        return [self._decoder.columns(_raw(tp, records)) for tp, records in polled.items()]

    def _mend_join(self) -> None:
        """Ask again for a join that the client forgets.

        A join that begins because a topic's metadata changed, and whose answer comes while no poll waits for it, is never completed by
        kafka-python (3.0.12): it then holds no partition, sends no heartbeat and says nothing, for ever. One in thirty starts did so.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _say_if_unassigned(self) -> None:
        """The client waits for a topic that does not exist without a word of its own that a person could use."""
        self._idle = 0 if self._consumer.assignment() else self._idle + 1
        if self._idle == _PATIENCE:
            remedy = "it goes on by itself once the topic exists, or a member of the group with partitions to spare leaves"
            self._log.warning("no_partitions", topics=",".join(self._topics), remedy=remedy)

    def seek(self, partition: Partition, offset: int) -> None:
        with contextlib.suppress(ValueError):  # it was revoked a moment ago: its next owner reads on
            self._consumer.seek(_tp(partition), offset)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        try:
            self._consumer.commit({_tp(p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items()}, timeout_ms=_COMMIT_MS)
        except (KafkaError, AssertionError) as error:
            raise Transient(f"{type(error).__name__}: {error}") from error

    def lag(self, partition: Partition, offset: int) -> int | None:
        end = self._consumer.highwater(_tp(partition))
        return None if end is None else max(0, end - offset)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5000)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library's classes are untyped
    def __init__(self, consumer: KafkaConsumer, assignments: Assignments) -> None:
        self._consumer = consumer
        self._assignments = assignments
        self._log = structlog.get_logger("kafka")

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        start = self._assignments.assigned([_partition(tp) for tp in assigned])
        for partition, offset in start.items():
            if offset is not None:
                self._consumer.seek(_tp(partition), offset)
        self._log.info("partitions_assigned", partitions=_listed(assigned))

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._assignments.revoked([_partition(tp) for tp in revoked])
        if revoked:
            self._log.info("partitions_revoked", partitions=_listed(revoked))

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        self._assignments.lost([_partition(tp) for tp in lost])
        self._log.warning("partitions_lost", partitions=_listed(lost))


def _raw(tp: TopicPartition, records: Sequence[object]) -> Raw:
    """Columns of bytes; the attribute reads are the only Python a record costs before decoding."""
    return Raw(
        _partition(tp),
        [r.offset for r in records],  # type: ignore[attr-defined]
        [r.timestamp for r in records],  # type: ignore[attr-defined]
        [r.key for r in records],  # type: ignore[attr-defined]
        [r.value for r in records],  # type: ignore[attr-defined]
    )


def _partition(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


def _tp(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _listed(partitions: Sequence[TopicPartition]) -> str:
    return ",".join(f"{tp.topic}/{tp.partition}" for tp in sorted(partitions)) or "none"
