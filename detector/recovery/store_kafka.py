"""Pages in a compacted Kafka topic: a changelog, as Kafka Streams keeps it, which is
what lets replicas share a group.

Theory of operation. The pages of an input partition lie in the changelog's partition of
the same number, one record a page, the key naming the input partition and the page, and
the head after them. One partition is one log, and the producer is idempotent (KIP-98)
and waits for all in-sync replicas, so a head that is there means that its pages are
there before it. Whoever is given the partition reads the changelog's partition from its
beginning to its end and keeps the last record of each key; compaction (KIP-58) drops
the superseded ones in time.

There is no fencing of a member that writes on after it lost a partition: what it writes
is right as of the offset in its stamp, and :func:`detector.recovery.snapshot.restore`
trusts no page beyond that unless a head of the same writer vouches for it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from detector.clock import Clock
from detector.errors import ConfigError, StoreError
from detector.events import Partition
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.recovery.codec import DamagedPage, Stored, decode, encode
from detector.recovery.snapshot import Head, Page

# bytes of a record: 256 rows of 4,000 floats, their decisions and as much again in
# undelivered alerts
LARGEST: Final = 16 << 20
# Small segments, rolled often: the active one is never compacted, and all of it is read
# at a restore.
CREATED_WITH: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(LARGEST),
    "segment.bytes": str(64 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.2",
}
_TIMEOUT_MS = 10_000  # for one request
_GIVE_UP_MS = 30_000  # for one record to be acknowledged
_STALLED = 20.0  # seconds without a record while a partition is read
# records sent and not yet acknowledged: a bound on what the producer holds
_UNDER_WAY = 32


class KafkaStore:
    """Implements Store. Connects at its first use, so that a broker which is not there
    yet is waited for.
    """

    def __init__(self, settings: KafkaSettings, topic: str, clock: Clock) -> None:
        self._settings = settings
        self._topic = topic
        self._clock = clock
        self._partitions = 0
        # where in the log each page and segment was last seen
        self._places: dict[bytes, int] = {}
        self._consumer: KafkaConsumer | None = None
        self._producer: KafkaProducer | None = None
        self._log = structlog.get_logger("store")

    def load(self, partition: Partition) -> tuple[Head | None, Sequence[Page]]:
        """What is there and whole. Raises StoreError, or ConfigError where the topic
        can't serve as a changelog.
        """
        self._prepare(partition)
        try:
            found = self._read(partition)
        except KafkaError as error:
            self._disconnect()
            raise StoreError(
                f"topic {self._topic} can't be read ({type(error).__name__})"
            ) from error
        head = self._decoded(found.pop(_key(partition, "head"), None), Head)
        pages = [
            self._decoded(value, Page)
            for key, value in sorted(found.items())
            if key.startswith(_key(partition, "page/"))
        ]
        return head, [page for page in pages if page is not None]

    def page(self, partition: Partition, number: int) -> Page | None:
        return self._decoded(self._at(partition, _key(partition, _page(number))), Page)

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        self._prepare(partition)
        self._change(partition, name, data)

    def names(self, partition: Partition) -> Sequence[str]:
        prefix = _key(partition, "segment/")
        return sorted(
            key.removeprefix(prefix).decode()
            for key in self._places
            if key.startswith(prefix)
        )

    def get(self, partition: Partition, name: str) -> bytes | None:
        return self._at(partition, _key(partition, f"segment/{name}"))

    def drop(self, partition: Partition, name: str) -> None:
        """A tombstone: compaction takes the segment, and in time this too."""
        if _key(partition, f"segment/{name}") in self._places:
            self._change(partition, name, None)
            del self._places[_key(partition, f"segment/{name}")]

    def _change(self, partition: Partition, name: str, data: bytes | None) -> None:
        try:
            self._acknowledged(*self._send(partition, f"segment/{name}", data))
        except KafkaError as error:
            raise StoreError(
                f"topic {self._topic} can't be written ({type(error).__name__}: {error})"
            ) from error

    def write(self, head: Head, pages: Iterable[Page]) -> None:
        self._prepare(head.partition)
        under_way: deque[tuple[bytes, Any]] = deque()
        try:
            for page in pages:
                under_way.append(
                    self._send(head.partition, _page(page.number), encode(page))
                )
                if len(under_way) == _UNDER_WAY:
                    self._acknowledged(*under_way.popleft())
            while under_way:
                self._acknowledged(*under_way.popleft())
            self._acknowledged(*self._send(head.partition, "head", encode(head)))
        except KafkaError as error:
            raise StoreError(
                f"topic {self._topic} can't be written ({type(error).__name__}: {error})"
            ) from error

    def close(self) -> None:
        self._disconnect()
        if self._producer is not None:
            self._producer.close(timeout=1)

    # -- the topic ---------------------------------------------------------------------

    def examine(self) -> None:
        """What ``check`` asks before there are pages; a changelog that is not there
        will be created. Raises StoreError or ConfigError.
        """
        with self._admin() as admin:
            if _partitions(admin, self._topic):
                self._check(admin)

    def _prepare(self, partition: Partition) -> None:
        """The topic is there and can serve; nothing once that is known."""
        if partition.number < self._partitions:
            return
        with self._admin() as admin:
            wanted = max(_partitions(admin, partition.topic), partition.number + 1)
            found = _partitions(admin, self._topic)
            if not found:
                self._create(admin, wanted)
            else:
                self._check(admin)
                # the input was given more: pages name their partition, so none moves
                if found < wanted:
                    admin.create_partitions({self._topic: wanted})
                    self._log.info(
                        "changelog_widened", topic=self._topic, partitions=wanted
                    )
            self._partitions = max(found, wanted)

    @contextlib.contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        try:
            admin = connected(
                KafkaAdminClient,
                **self._settings.connection(),
                bootstrap_timeout_ms=_TIMEOUT_MS,
                request_timeout_ms=_TIMEOUT_MS,
            )
        except KafkaError as error:
            raise StoreError(
                f"no broker answers for topic {self._topic} ({type(error).__name__})"
            ) from error
        try:
            yield admin
        except KafkaError as error:
            raise StoreError(
                f"topic {self._topic} can't be looked at or created ({type(error).__name__}: {error})"
            ) from error
        finally:
            admin.close()

    def _create(self, admin: KafkaAdminClient, partitions: int) -> None:
        with contextlib.suppress(TopicAlreadyExistsError):  # another member was faster
            admin.create_topics(
                [
                    NewTopic(
                        self._topic, partitions, -1, topic_configs=dict(CREATED_WITH)
                    )
                ],
                wait_for_metadata=True,
            )
            self._log.info(
                "changelog_created", topic=self._topic, partitions=partitions
            )

    def _check(self, admin: KafkaAdminClient) -> None:
        """Raises ConfigError where records would be deleted, or are too large for it."""
        described = admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, self._topic)], config_filter="all"
        )
        values = {
            name: str(entry["value"])
            for name, entry in described["topic"][self._topic].items()
        }
        policy = values.get("cleanup.policy", "")
        largest = int(values.get("max.message.bytes", 0))
        if policy != "compact":
            raise ConfigError(
                f"topic {self._topic} has cleanup.policy={policy}, which forgets states: set it to compact, or name a topic of its own"
            )
        if largest < LARGEST:
            raise ConfigError(
                f"topic {self._topic} has max.message.bytes={largest}: set it to {LARGEST} or more"
            )

    # -- records -----------------------------------------------------------------------

    def _read(self, partition: Partition) -> dict[bytes, bytes]:
        """The last value of each key of the changelog's partition."""
        tp = TopicPartition(self._topic, partition.number)
        consumer = self._assigned(tp)
        end = consumer.end_offsets([tp], timeout_ms=_TIMEOUT_MS)[tp]
        consumer.seek_to_beginning(tp)
        found: dict[bytes, bytes] = {}
        segment = _key(partition, "segment/")
        moved = self._clock.monotonic()
        reached = -1
        while (
            position := consumer.position(tp, timeout_ms=_TIMEOUT_MS)
        ) is None or position < end:
            for record in consumer.poll(timeout_ms=500).get(tp, []):
                if record.value is None:
                    found.pop(record.key, None)
                    self._places.pop(record.key, None)
                else:
                    # there may be many, and they are read when their turn comes
                    if not record.key.startswith(segment):
                        found[record.key] = record.value
                    self._places[record.key] = record.offset
            if position is not None and position > reached:
                moved = self._clock.monotonic()
                reached = position
            elif self._clock.monotonic() - moved > _STALLED:
                raise StoreError(
                    f"topic {self._topic} gives no records of partition {partition.number} from offset {position} to {end}"
                )
        return found

    def _assigned(self, tp: TopicPartition) -> KafkaConsumer:
        consumer = self._consumer = self._consumer or self._connect()
        if consumer.assignment() != {tp}:
            consumer.assign([tp])
        return consumer

    def _at(self, partition: Partition, key: bytes) -> bytes | None:
        """By the place in the log where it was last seen: compaction takes superseded
        records only, and moves none. Raises StoreError.
        """
        tp = TopicPartition(self._topic, partition.number)
        place = self._places.get(key)
        if place is None:
            return None
        try:
            consumer = self._assigned(tp)
            consumer.seek(tp, place)
            until = self._clock.monotonic() + _STALLED
            while self._clock.monotonic() < until:
                for record in consumer.poll(timeout_ms=500, max_records=1).get(tp, []):
                    return (
                        bytes(record.value)
                        if record.key == key and record.value is not None
                        else None
                    )
        except KafkaError as error:
            self._disconnect()
            raise StoreError(
                f"topic {self._topic} can't be read ({type(error).__name__})"
            ) from error
        raise StoreError(
            f"topic {self._topic} does not give offset {place} of partition {partition.number}"
        )

    def _connect(self) -> KafkaConsumer:
        return connected(
            KafkaConsumer,
            **self._settings.connection(),
            bootstrap_timeout_ms=_TIMEOUT_MS,
            group_id=None,
            enable_auto_commit=False,
            max_partition_fetch_bytes=LARGEST + (1 << 20),
            fetch_max_bytes=4 * LARGEST,
            max_poll_records=64,
        )

    def _disconnect(self) -> None:
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            self._consumer = None

    def _send(
        self, partition: Partition, name: str, value: bytes | None
    ) -> tuple[bytes, Any]:
        if self._producer is None:
            self._producer = connected(
                KafkaProducer,
                **self._settings.connection(),
                acks="all",
                enable_idempotence=True,
                max_request_size=LARGEST + (1 << 20),
                request_timeout_ms=_TIMEOUT_MS,
                delivery_timeout_ms=_GIVE_UP_MS,
                max_block_ms=_TIMEOUT_MS,
            )
        key = _key(partition, name)
        return key, self._producer.send(
            self._topic, key=key, value=value, partition=partition.number
        )

    def _acknowledged(self, key: bytes, future: Any) -> None:
        """Raises KafkaError."""
        self._places[key] = future.get(timeout=_GIVE_UP_MS / 1000 + 1).offset

    def _decoded(self, value: bytes | None, kind: type[Stored]) -> Stored | None:
        if value is None:
            return None
        try:
            return decode(value, kind)
        except DamagedPage as error:
            self._log.error(
                "page_not_used",
                topic=self._topic,
                cause=str(error),
                more="what it held is read again",
            )
            return None


def _key(partition: Partition, name: str) -> bytes:
    return f"{partition.topic}/{partition.number}/{name}".encode()


def _page(number: int) -> str:
    return f"page/{number:06d}"


def _partitions(admin: KafkaAdminClient, topic: str) -> int:
    """How many it has; 0 where there is no such topic."""
    (described,) = admin.describe_topics([topic])
    return len(described["partitions"])
