"""The consumer group: kafka-python behind the Source port.

Offsets are the loop's business: automatic commits and automatic resets are off. A
partition that is assigned is paused until the loop, having restored its pages, starts
it where they say; one whose position has left the log's range is handed through the
same gate again, so that what is missing is found, said and counted in one place. The
client's listener runs on its own I/O thread, which sends the heartbeats: what it calls
does its own locking and never calls back into the client but to seek, pause or commit
without waiting.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import structlog
from kafka import (
    ConsumerRebalanceListener,
    KafkaConsumer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.consumer.fetcher import ConsumerRecord
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from detector.errors import Transient
from detector.events import Partition, RawBatch
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.kafka.subscription import Subscription
from detector.ports import Assignments

# for one attempt to reach a broker: a stop goes unnoticed for as long
_BOOTSTRAP_MS = 3000
# how long a new partition, or a new topic of a ^regex, goes unnoticed
_METADATA_MS = 30_000
_JOIN = 1.0  # seconds that a poll waits at most while a join is under way
_PATIENCE = 25  # empty polls without a partition before the log says so


class KafkaSource:
    """Implements Source. Raises Transient if the broker can't be reached.

    ``store_topic`` is never read, even if the ^regex of topics matches it.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        assignments: Assignments,
        store_topic: str | None = None,
    ) -> None:
        self._topics = settings.topics
        self._from_the_start = settings.auto_offset_reset == "earliest"
        self._idle = 0
        self._settled = settings.group_instance_id is None
        self._refused: deque[Mapping[Partition, int]] = deque()
        self._log = structlog.get_logger("kafka")
        assignor = CooperativeStickyAssignor()
        try:
            self._consumer = connected(
                KafkaConsumer,
                **settings.connection(),
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
                group_id=settings.group_id,
                group_instance_id=settings.group_instance_id,
                auto_offset_reset="none",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                partition_assignment_strategy=[assignor],
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=max(
                    300, min(3000, settings.session_timeout_ms // 3)
                ),
                metadata_max_age_ms=_METADATA_MS,
            )
        except KafkaError as error:
            raise Transient(
                f"no broker answers at {', '.join(settings.bootstrap_servers)} ({type(error).__name__})"
            ) from None
        self._listener = _Listener(self._consumer, assignor, assignments)
        self._subscribe(Subscription(settings.topics, store_topic))

    def _subscribe(self, subscription: Subscription) -> None:
        if subscription.leaves_out_store:
            self._log.info(
                "store_topic_left_out",
                topic=subscription.store_topic,
                topics=",".join(subscription.topics),
                note="it holds the daemon's own state and is not read as input",
            )
        pattern = subscription.pattern
        names = None if pattern else list(subscription.topics)
        self._consumer.subscribe(
            topics=names or (),
            pattern=pattern,
            listener=self._listener,
        )

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        # it counts only if a poll waits for the answer
        if self._consumer._coordinator.rejoining:
            timeout = max(timeout, _JOIN)
        try:
            polled = self._consumer.poll(
                timeout_ms=int(timeout * 1000), max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            self._listener.reassign(error.args[0])
            return []
        except NoOffsetForPartitionError:
            # it is being assigned at this moment: the listener gives it a position
            return []
        except KafkaError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error
        self._retry_forgotten_join()
        self._settle()
        if not polled:
            self._say_if_unassigned()
        return [raw_batch(tp, records) for tp, records in polled.items()]

    def _retry_forgotten_join(self) -> None:
        """Ask again for a join that the client forgets.

        A join that begins because a topic's metadata changed, and whose answer comes
        while no poll waits for it, is never completed by kafka-python (3.0.12): it then
        holds no partition, sends no heartbeat and says nothing, for ever. One in thirty
        starts did so.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _settle(self) -> None:
        """Join once more, the first time that a static member has joined.

        One that comes back within its session is handed what it had, and the group does
        not rebalance. Where it died after it had been told to give partitions up and
        before it asked for the rebalance that gives them to another, nobody asks for
        that one, and they are nobody's.
        """
        if not self._settled and self._consumer._coordinator.stable():
            self._settled = True
            self._consumer._coordinator.request_rejoin()

    def _say_if_unassigned(self) -> None:
        """The client waits for a topic that does not exist without a word of its own
        that a person could use.
        """
        self._idle = 0 if self._consumer.assignment() else self._idle + 1
        if self._idle == _PATIENCE:
            remedy = "it goes on by itself once the topic exists, or a member of the group with partitions to spare leaves"
            self._log.warning(
                "no_partitions", topics=",".join(self._topics), remedy=remedy
            )

    def bounds(self, partition: Partition) -> tuple[int, int]:
        tp = _tp(partition)
        try:
            first = self._consumer.beginning_offsets([tp], timeout_ms=_BOOTSTRAP_MS)
            end = self._consumer.end_offsets([tp], timeout_ms=_BOOTSTRAP_MS)
        except KafkaError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error
        return int(first[tp]), int(end[tp])

    def start(self, partition: Partition, offset: int) -> None:
        # it was revoked a moment ago
        with contextlib.suppress(ValueError, KeyError, IllegalStateError):
            self._consumer.seek(_tp(partition), offset)
            self._consumer.resume(_tp(partition))

    def first_offset(self, partition: Partition) -> int:
        first, end = self.bounds(partition)
        committed = self.committed(partition)
        if committed is not None and first <= committed <= end:
            return committed
        return first if self._from_the_start else end

    def committed(self, partition: Partition) -> int | None:
        try:
            committed = self._consumer.committed(
                _tp(partition), timeout_ms=_BOOTSTRAP_MS
            )
        except KafkaError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error
        return None if committed is None else int(committed)

    def seek(self, partition: Partition, offset: int) -> None:
        # it was revoked a moment ago: its next owner reads on
        with contextlib.suppress(ValueError, KeyError, IllegalStateError):
            self._consumer.seek(_tp(partition), offset)

    def commit(self, offsets: Mapping[Partition, int], wait: float = 0.0) -> None:
        committed = _committed(offsets)
        try:
            if wait:
                self._consumer.commit(committed, timeout_ms=int(wait * 1000))
            else:
                self._consumer.commit_async(committed, callback=self._answered)
        except (KafkaError, AssertionError) as error:
            self._refused.append(offsets)
            raise Transient(f"{type(error).__name__}: {error}") from error

    def refused(self) -> Mapping[Partition, int]:
        refused: dict[Partition, int] = {}
        while self._refused:
            refused.update(self._refused.popleft())
        return refused

    def _answered(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], answer: object
    ) -> None:
        if isinstance(answer, Exception):
            self._refused.append(
                {_partition(tp): committed.offset for tp, committed in offsets.items()}
            )
            more = "it is tried again, and a hint only: the snapshot says where reading starts"
            self._log.warning(
                "commit_failed", cause=f"{type(answer).__name__}: {answer}", note=more
            )

    def lag(self, partition: Partition, offset: int) -> int | None:
        end = self._consumer.highwater(_tp(partition))
        return None if end is None else max(0, end - offset)

    def close(self, timeout: float) -> None:
        """Leave the group, within ``timeout`` seconds. Raises Transient."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=int(timeout * 1000))
        except KafkaError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library's classes are untyped
    def __init__(
        self,
        consumer: KafkaConsumer,
        assignor: CooperativeStickyAssignor,
        assignments: Assignments,
    ) -> None:
        self._consumer = consumer
        self._assignor = assignor
        self._assignments = assignments
        self._log = structlog.get_logger("kafka")

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._await(assigned)
        self._assignments.assigned([_partition(tp) for tp in assigned])
        self._log.info("partitions_assigned", partitions=_listed(assigned))

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if not revoked:
            return
        durable = self._assignments.revoked([_partition(tp) for tp in revoked])
        if durable:
            self._consumer.commit_async(_committed(durable))
        self._log.info("partitions_revoked", partitions=_listed(revoked))

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        # kafka-python (3.0.12) would claim them when it joins again: kept from others
        # until it gives them up, which it can't, not having them.
        self._assignor.member_assignment = None
        self._assignments.lost([_partition(tp) for tp in lost])
        self._log.warning("partitions_lost", partitions=_listed(lost))

    def reassign(self, positions: Mapping[TopicPartition, int]) -> None:
        """The log no longer holds the next record, or was made anew: as if they were
        taken away and given back.
        """
        self._log.warning(
            "out_of_range",
            positions=",".join(
                f"{tp.topic}/{tp.partition}:{offset}"
                for tp, offset in sorted(positions.items())
            ),
        )
        self._await(positions)
        self._assignments.revoked([_partition(tp) for tp in positions])
        self._assignments.assigned([_partition(tp) for tp in positions])

    def _await(self, partitions: Iterable[TopicPartition]) -> None:
        """Pause them, with a position so that the client does not look for one."""
        for tp in partitions:
            self._consumer.seek(tp, 0)
            self._consumer.pause(tp)


def _committed(
    offsets: Mapping[Partition, int],
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {_tp(p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items()}


def raw_batch(tp: TopicPartition, records: Sequence[ConsumerRecord]) -> RawBatch:
    """The columns of polled records, one or more. They are tuples: this runs in C."""
    columns = dict(zip(ConsumerRecord._fields, zip(*records, strict=True), strict=True))
    return RawBatch(
        partition=_partition(tp),
        offsets=columns["offset"],
        timestamps=columns["timestamp"],
        timestamp_types=columns["timestamp_type"],
        keys=columns["key"],
        values=columns["value"],
        headers=columns["headers"],
    )


def _partition(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


def _tp(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _listed(partitions: Sequence[TopicPartition]) -> str:
    return ",".join(f"{tp.topic}/{tp.partition}" for tp in sorted(partitions)) or "none"
