"""Pages in a compacted Kafka topic, which the members of a group share.

Theory of operation. The topic is a changelog, as Kafka Streams keeps one. The pages of
an input partition are in the changelog's partition of the same number, one record a
page, and the head after them. The key names the input partition, the edition and the
page.

One partition is one log. The producer is idempotent (KIP-98) and waits for all in-sync
replicas, so a head that is there means that its pages are there before it. A member
that gets a partition reads it from beginning to end and keeps the last record of each
key. Compaction (KIP-58) drops the superseded ones in time.

A member that writes on after it has lost a partition is not fenced off. What it writes
is right as of the offset in its stamp. :mod:`detector.recovery.restore` trusts no page
beyond that unless a head of the same writer vouches for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from detector.clock import Clock
from detector.errors import StoreError
from detector.events import Partition
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.recovery.changelog_topic import LARGEST, TIMEOUT_MS, ChangelogTopic
from detector.recovery.codec import DamagedPage, Stored, decode, encode
from detector.recovery.editions import UNNAMED, Edition, edition_of, is_readable
from detector.recovery.snapshot import Head, Page

_DELIVERY_MS: Final = 30_000  # for one record to be acknowledged
_STALLED: Final = 20.0  # seconds without a record while a partition is read
_POLL_MS: Final = 500
#: Records sent and not yet acknowledged: a bound on what the producer holds.
_MAX_IN_FLIGHT: Final = 32

_HEAD: Final = "head"
_PAGE: Final = "page/"
_EDITION: Final = "edition/"

_Sent = tuple[bytes, Any]  # a record's key, and the producer's future
# key -> its last value, and when that was written, in epoch seconds
_Found = dict[bytes, tuple[bytes, float]]


class KafkaStore:
    """Implements Store. Connects at its first use, so it can wait for a broker."""

    def __init__(self, settings: KafkaSettings, topic: str, clock: Clock) -> None:
        self._settings = settings
        self._topic = ChangelogTopic(settings, topic)
        self._clock = clock
        # offset in the log at which each page and segment was last seen
        self._offsets: dict[bytes, int] = {}
        self._consumer: KafkaConsumer | None = None
        self._producer: KafkaProducer | None = None
        self._log = structlog.get_logger("store")

    def examine(self) -> None:
        """Whether an existing topic can serve. Raises StoreError or ConfigError."""
        self._topic.examine()

    def editions(self, partition: Partition) -> Sequence[Edition]:
        """Those that are there and that this version reads.

        Raises StoreError, or ConfigError if the topic can't serve as a changelog.
        """
        self._topic.prepare(partition)
        try:
            found = self._read(partition)
        except KafkaError as error:
            self._disconnect()
            raise self._unreadable(error) from error
        names = {_edition_in(key, partition) for key in found}
        readable = sorted(name for name in names if is_readable(name))
        every = [self._edition(partition, name, found) for name in readable]
        return [edition for edition in every if edition is not None]

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        value = self._fetch(partition, _in_edition(edition, _page_name(number)))
        return self._decoded(value, Page)

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        self._topic.prepare(partition)
        in_flight: deque[_Sent] = deque()
        try:
            for page in pages:
                name = _in_edition(edition_of(page), _page_name(page.number))
                sent = self._send(partition, name, encode(page))
                in_flight.append(sent)
                if len(in_flight) == _MAX_IN_FLIGHT:
                    self._await(in_flight.popleft())
            while in_flight:
                self._await(in_flight.popleft())
        except KafkaError as error:
            raise self._unwritable(error) from error

    def write_head(self, head: Head) -> None:
        name = _in_edition(edition_of(head), _HEAD)
        self._write_one(head.partition, name, encode(head))

    def remove(self, partition: Partition, edition: str) -> None:
        """Write tombstones, as :meth:`drop` does: the head's first."""
        for kind in (_HEAD, _PAGE):
            prefix = _key(partition, _in_edition(edition, kind))
            for key in [key for key in self._offsets if key.startswith(prefix)]:
                self._write_one(partition, _name_in(key, partition), None)
                del self._offsets[key]

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        self._write_one(partition, _segment_name(name), data)

    def names(self, partition: Partition) -> Sequence[str]:
        prefix = _key(partition, _segment_name(""))
        keys = [key for key in self._offsets if key.startswith(prefix)]
        return sorted(key.removeprefix(prefix).decode() for key in keys)

    def get(self, partition: Partition, name: str) -> bytes | None:
        return self._fetch(partition, _segment_name(name))

    def drop(self, partition: Partition, name: str) -> None:
        """Write a tombstone: compaction takes the segment, and later the tombstone."""
        key = _key(partition, _segment_name(name))
        if key in self._offsets:
            self._write_one(partition, _segment_name(name), None)
            del self._offsets[key]

    def close(self) -> None:
        self._disconnect()
        if self._producer is not None:
            self._producer.close(timeout=1)

    # -- reading -----------------------------------------------------------------------

    def _edition(
        self, partition: Partition, name: str, found: _Found
    ) -> Edition | None:
        """None if it has neither a head nor a page."""
        value, changed = found.get(
            _key(partition, _in_edition(name, _HEAD)), (None, 0.0)
        )
        head = self._decoded(value, Head)
        prefix = _key(partition, _in_edition(name, _PAGE))
        keys = [key for key in sorted(found) if key.startswith(prefix)]
        if head is None and not keys:
            return None
        values = [found[key][0] for key in keys]
        read = partial(self._pages, values)
        if head is not None:
            return Edition(name, head, head.written or changed, read)
        is_damaged = value is not None
        newest = max(found[key][1] for key in keys)
        return Edition(name, None, newest if is_damaged else 0.0, read, is_damaged)

    def _pages(self, values: Sequence[bytes]) -> Sequence[Page]:
        pages = [self._decoded(value, Page) for value in values]
        return [page for page in pages if page is not None]

    def _read(self, partition: Partition) -> _Found:
        """The last value of each key of the changelog's partition, without segments.

        There may be many segments. Each is read when its turn comes. Raises StoreError
        if the broker gives no records.
        """
        tp = TopicPartition(self._topic.name, partition.number)
        consumer = self._assigned(tp)
        end = consumer.end_offsets([tp], timeout_ms=TIMEOUT_MS)[tp]
        consumer.seek_to_beginning(tp)
        found: _Found = {}
        segments = _key(partition, _segment_name(""))
        moved_at = self._clock.monotonic()
        furthest = -1
        while True:
            position = consumer.position(tp, timeout_ms=TIMEOUT_MS)
            if position is not None and position >= end:
                return found
            polled = consumer.poll(timeout_ms=_POLL_MS)
            for record in polled.get(tp, []):
                self._note(found, record, segments)
            if position is not None and position > furthest:
                moved_at = self._clock.monotonic()
                furthest = position
            elif self._clock.monotonic() - moved_at > _STALLED:
                raise StoreError(
                    f"topic {self._topic.name} gives no records of partition "
                    f"{partition.number} from offset {position} to {end}"
                )

    def _note(
        self,
        found: _Found,
        record: Any,
        segments: bytes,
    ) -> None:
        """Take in one record of the changelog."""
        if record.value is None:
            found.pop(record.key, None)
            self._offsets.pop(record.key, None)
            return
        self._offsets[record.key] = record.offset
        if not record.key.startswith(segments):
            found[record.key] = record.value, record.timestamp / 1000

    def _fetch(self, partition: Partition, name: str) -> bytes | None:
        """One record, by the offset at which it was last seen. Raises StoreError.

        Compaction takes superseded records only, and moves none.
        """
        key = _key(partition, name)
        offset = self._offsets.get(key)
        if offset is None:
            return None
        tp = TopicPartition(self._topic.name, partition.number)
        try:
            record = self._record_at(tp, offset)
        except KafkaError as error:
            self._disconnect()
            raise self._unreadable(error) from error
        if record.key != key or record.value is None:
            return None
        return bytes(record.value)

    def _record_at(self, tp: TopicPartition, offset: int) -> Any:
        """The first record at or after ``offset``. Raises KafkaError or StoreError."""
        consumer = self._assigned(tp)
        consumer.seek(tp, offset)
        ends = self._clock.monotonic() + _STALLED
        while self._clock.monotonic() < ends:
            polled = consumer.poll(timeout_ms=_POLL_MS, max_records=1)
            if records := polled.get(tp):
                return records[0]
        raise StoreError(
            f"topic {tp.topic} does not give offset {offset} of partition {tp.partition}"
        )

    def _assigned(self, tp: TopicPartition) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = self._connect()
        consumer = self._consumer
        if consumer.assignment() != {tp}:
            consumer.assign([tp])
        return consumer

    def _connect(self) -> KafkaConsumer:
        return connected(
            KafkaConsumer,
            **self._settings.connection(),
            bootstrap_timeout_ms=TIMEOUT_MS,
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

    def _decoded(self, value: bytes | None, kind: type[Stored]) -> Stored | None:
        if value is None:
            return None
        try:
            return decode(value, kind)
        except DamagedPage as error:
            self._log.error(
                "page_not_used",
                topic=self._topic.name,
                cause=str(error),
                note="the records behind it are read again",
            )
            return None

    # -- writing -----------------------------------------------------------------------

    def _write_one(
        self,
        partition: Partition,
        name: str,
        data: bytes | None,
    ) -> None:
        self._topic.prepare(partition)
        try:
            sent = self._send(partition, name, data)
            self._await(sent)
        except KafkaError as error:
            raise self._unwritable(error) from error

    def _send(self, partition: Partition, name: str, value: bytes | None) -> _Sent:
        """Raises KafkaError."""
        if self._producer is None:
            self._producer = self._connect_producer()
        key = _key(partition, name)
        future = self._producer.send(
            self._topic.name,
            key=key,
            value=value,
            partition=partition.number,
        )
        return key, future

    def _await(self, sent: _Sent) -> None:
        """Until the record is acknowledged. Raises KafkaError."""
        key, future = sent
        record = future.get(timeout=_DELIVERY_MS / 1000 + 1)
        self._offsets[key] = record.offset

    def _connect_producer(self) -> KafkaProducer:
        return connected(
            KafkaProducer,
            **self._settings.connection(),
            acks="all",
            enable_idempotence=True,
            max_request_size=LARGEST + (1 << 20),
            request_timeout_ms=TIMEOUT_MS,
            delivery_timeout_ms=_DELIVERY_MS,
            max_block_ms=TIMEOUT_MS,
        )

    def _unreadable(self, error: KafkaError) -> StoreError:
        cause = type(error).__name__
        return StoreError(f"topic {self._topic.name} can't be read ({cause})")

    def _unwritable(self, error: KafkaError) -> StoreError:
        cause = f"{type(error).__name__}: {error}"
        return StoreError(f"topic {self._topic.name} can't be written ({cause})")


def _key(partition: Partition, name: str) -> bytes:
    return f"{partition.topic}/{partition.number}/{name}".encode()


def _name_in(key: bytes, partition: Partition) -> str:
    """What :func:`_key` was made from."""
    return key.removeprefix(_key(partition, "")).decode()


def _in_edition(edition: str, name: str) -> str:
    return name if edition == UNNAMED else f"{_EDITION}{edition}/{name}"


def _edition_in(key: bytes, partition: Partition) -> str:
    """The edition that a key names."""
    name = _name_in(key, partition)
    if not name.startswith(_EDITION):
        return UNNAMED
    edition, _, _ = name.removeprefix(_EDITION).partition("/")
    return edition


def _page_name(number: int) -> str:
    return f"{_PAGE}{number:06d}"


def _segment_name(name: str) -> str:
    return f"segment/{name}"
