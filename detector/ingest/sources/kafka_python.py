"""The consumer group: kafka-python as a Source.

Whoever reads the source owns the offsets: automatic commits and resets are off. An
assigned partition is paused until it is started at the offset of its restored state.
A partition whose position leaves the log is revoked and assigned again, so that one
place finds, logs and counts what is missing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import structlog
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import IsolationLevel
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    KafkaError,
    NoOffsetForPartitionError,
    OffsetMetadataTooLargeError,
    OffsetOutOfRangeError,
)

from detector.clock import Clock, SystemClock
from detector.errors import Transient
from detector.events import Partition, RawBatch
from detector.ingest.sources.kafka_held import NOT_OURS, HeldPartitions
from detector.ingest.sources.kafka_membership import (
    Membership,
    remove_left_behind,
    watch_member_id,
)
from detector.ingest.sources.kafka_positions import Positions
from detector.ingest.sources.kafka_rebalance import RebalanceListener
from detector.ingest.sources.kafka_records import to_commit, to_partition, to_tp
from detector.ingest.sources.kafka_rejoin import Rejoin
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.kafka.subscription import Subscription
from detector.kafka.unreadable import UnreadableError, name_unreadable
from detector.metrics import Metrics
from detector.ports import Assignments, Committed

# Milliseconds that a broker has for any answer; a stop goes unnoticed for as long.
_REQUEST_MS = 3000
# Milliseconds until a new partition, or a new topic of a ^regex, is noticed.
_METADATA_MS = 30_000
# A heartbeat is due three times a session, as Kafka advises, and at most this often.
_HEARTBEAT_MS = range(300, 3000)
# Polls without a partition, 5 seconds of them, before the log says so.
_PATIENCE = 25


class KafkaSource:
    """Implements Source. Raises Transient if the broker can't be reached.

    ``own_topics`` are never read, even if the ^regex of topics matches them.
    ``membership`` is that of this place: a killed daemon's member is removed.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        assignments: Assignments,
        own_topics: Sequence[str] = (),
        metrics: Metrics | None = None,
        clock: Clock | None = None,
        membership: Membership | None = None,
    ) -> None:
        self._topics = settings.topics
        self._membership = membership
        self._from_start = settings.auto_offset_reset == "earliest"
        self._session_timeout_ms = settings.session_timeout_ms
        self._idle_polls = 0
        self._refused: deque[Mapping[Partition, int]] = deque()
        self._takes_notes = True
        self._log = structlog.get_logger("kafka")
        assignor = CooperativeStickyAssignor()
        self._consumer = _connect(settings, assignor)
        name_unreadable(self._consumer)
        self._positions = Positions(self._consumer)
        self._held = HeldPartitions(
            self._consumer,
            settings.may_skip,
            metrics or Metrics(),
            clock or SystemClock(),
        )
        self._rejoin = Rejoin(self._consumer, settings.group_instance_id is not None)
        self._listener = RebalanceListener(self._consumer, assignor, assignments)
        if membership is not None:
            remove_left_behind(settings, membership)
            watch_member_id(self._consumer, membership)
        self._subscribe(Subscription(settings.topics, tuple(own_topics)))

    def _subscribe(self, subscription: Subscription) -> None:
        for own in subscription.left_out:
            self._log.info(
                "own_topic_left_out",
                topic=own,
                topics=",".join(subscription.topics),
                note="the daemon writes it, so it is not read as input",
            )
        pattern = subscription.pattern
        names = None if pattern else list(subscription.topics)
        self._consumer.subscribe(
            topics=names or (),
            pattern=pattern,
            listener=self._listener,
        )

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        seconds = self._rejoin.poll_timeout(timeout)
        self._held.retry()
        try:
            polled = self._consumer.poll(
                timeout_ms=int(seconds * 1000),
                max_records=max_records,
            )
        except OffsetOutOfRangeError as error:
            self._listener.reassign(error.args[0])
            return []
        except UnreadableError as error:
            self._held.found(error)
            return []
        except NoOffsetForPartitionError:  # the listener is about to give it a position
            return []
        except KafkaError as error:
            raise _transient(error) from error
        self._rejoin.after_poll()
        if not polled:
            self._log_if_unassigned()
        return self._positions.batches(polled)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        tp = to_tp(partition)
        with _faults_are_transient(), _uncommitted_too(self._consumer):
            first = self._consumer.beginning_offsets([tp], timeout_ms=_REQUEST_MS)
            end = self._consumer.end_offsets([tp], timeout_ms=_REQUEST_MS)
        return int(first[tp]), int(end[tp])

    def start(self, partition: Partition, offset: int) -> None:
        tp = to_tp(partition)
        self.seek(partition, offset)
        with contextlib.suppress(*NOT_OURS):
            self._consumer.resume(tp)

    def first_offset(self, partition: Partition) -> int:
        first, end = self.bounds(partition)
        committed = self.committed(partition)
        if committed is not None and first <= committed.offset <= end:
            return committed.offset
        return first if self._from_start else end

    def committed(self, partition: Partition) -> Committed | None:
        tp = to_tp(partition)
        with _faults_are_transient():
            found = self._consumer.committed(tp, metadata=True, timeout_ms=_REQUEST_MS)
        return None if found is None else Committed(found.offset, found.metadata)

    def seek(self, partition: Partition, offset: int) -> None:
        tp = to_tp(partition)
        with contextlib.suppress(*NOT_OURS):
            self._consumer.seek(tp, offset)
            self._positions.set(tp, offset)
            self._held.release(tp)

    def hold(
        self, partition: Partition, offset: int, cause: str, seconds: float
    ) -> None:
        self.seek(partition, offset)
        self._held.wait(to_tp(partition), offset, cause, seconds)

    def commit(self, offsets: Mapping[Partition, Committed], wait: float = 0.0) -> None:
        committed = to_commit(offsets if self._takes_notes else _without_notes(offsets))
        try:
            if wait:
                self._consumer.commit(committed, timeout_ms=int(wait * 1000))
            else:
                self._consumer.commit_async(committed, callback=self._answered)
        except (KafkaError, AssertionError) as error:
            self._note_refused(committed, error)
            raise _transient(error) from error

    def refused(self) -> Mapping[Partition, int]:
        refused: dict[Partition, int] = {}
        while self._refused:
            refused.update(self._refused.popleft())
        return refused

    def lag(self, partition: Partition, offset: int) -> int | None:
        end = self._consumer.highwater(to_tp(partition))
        return None if end is None else max(0, end - offset)

    def fault(self) -> str:
        return self._held.fault()

    def close(self, timeout: float) -> None:
        """Leave the group within ``timeout`` seconds. Raises Transient."""
        with _faults_are_transient():
            self._consumer.close(autocommit=False, timeout_ms=int(timeout * 1000))
        if self._membership is not None:
            self._membership.forget()

    def _answered(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], answer: object
    ) -> None:
        """The group's answer to a commit that did not wait; an exception refuses it."""
        if not isinstance(answer, Exception):
            return
        self._note_refused(offsets, answer)
        self._log.warning(
            "commit_failed",
            cause=f"{type(answer).__name__}: {answer}",
            note="it is tried again; the snapshot says where reading starts",
        )

    def _note_refused(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], error: Exception
    ) -> None:
        self._refused.append(
            {to_partition(tp): committed.offset for tp, committed in offsets.items()}
        )
        if isinstance(error, OffsetMetadataTooLargeError) and self._takes_notes:
            self._takes_notes = False
            self._log.warning(
                "notes_refused",
                note="should the store be lost, open incidents are lost with it",
                remedy="raise the broker's offset.metadata.max.bytes to 4096",
            )

    def _log_if_unassigned(self) -> None:
        """Say once that there is no partition.

        The client itself waits silently for a topic that does not exist.
        """
        self._idle_polls = 0 if self._consumer.assignment() else self._idle_polls + 1
        if self._idle_polls == _PATIENCE:
            self._log.warning(
                "no_partitions",
                topics=",".join(self._topics),
                remedy="create the topic, or have fewer members than partitions; after"
                " a kill, wait: the group keeps the dead member for up to"
                " DETECTOR_KAFKA__SESSION_TIMEOUT_MS"
                f" ({self._session_timeout_ms} ms); reading starts by itself",
            )


def _connect(
    settings: KafkaSettings, assignor: CooperativeStickyAssignor
) -> KafkaConsumer:
    """Raises Transient."""
    heartbeat = settings.session_timeout_ms // 3
    heartbeat = max(_HEARTBEAT_MS.start, min(_HEARTBEAT_MS.stop, heartbeat))
    try:
        return connected(
            KafkaConsumer,
            **settings.connection(),
            bootstrap_timeout_ms=_REQUEST_MS,
            group_id=settings.group_id,
            group_instance_id=settings.group_instance_id,
            auto_offset_reset="none",
            isolation_level=settings.isolation_level,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            partition_assignment_strategy=[assignor],
            session_timeout_ms=settings.session_timeout_ms,
            max_poll_interval_ms=settings.rebalance_timeout_ms,
            heartbeat_interval_ms=heartbeat,
            metadata_max_age_ms=_METADATA_MS,
        )
    except KafkaError as error:
        servers = ", ".join(settings.bootstrap_servers)
        cause = type(error).__name__
        raise Transient(f"no broker answers at {servers} ({cause})") from None


@contextlib.contextmanager
def _faults_are_transient() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise _transient(error) from error


@contextlib.contextmanager
def _uncommitted_too(consumer: KafkaConsumer) -> Iterator[None]:
    """Let the end of a log be that of all its records.

    The end for ``read_committed`` is where an open transaction begins. It may be before
    what was read without that setting, as if the log had been made again.
    """
    fetcher = consumer._fetcher
    of_settings = fetcher._isolation_level
    fetcher._isolation_level = IsolationLevel.READ_UNCOMMITTED
    try:
        yield
    finally:
        fetcher._isolation_level = of_settings


def _without_notes(
    offsets: Mapping[Partition, Committed],
) -> dict[Partition, Committed]:
    return {partition: Committed(c.offset) for partition, c in offsets.items()}


def _transient(error: Exception) -> Transient:
    return Transient(f"{type(error).__name__}: {error}")
