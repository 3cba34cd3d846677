"""One suite for every Source: the fake, and the consumer group of a real Kafka."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker
from detector.errors import Transient
from detector.events import Headers, Partition, RawBatch, TimestampType
from detector.ingest.sources.kafka_python import KafkaSource
from detector.kafka.settings import KafkaSettings
from detector.ports import Committed, Source
from detector.recovery.note import LONGEST
from tests.fakes import MemoryRecord, MemorySource, MemoryTopic

PARTITIONS = 2
NOW = 1_700_000_000_000  # epoch milliseconds
DEADLINE = 30.0  # seconds for a group to agree, or for a fetch


class Assigned:
    """Keeps what a source says of its partitions. Implements Assignments."""

    def __init__(self) -> None:
        self.now: set[Partition] = set()
        self.assignments = 0

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.now |= set(partitions)
        self.assignments += len(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, Committed]:
        self.now -= set(partitions)
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.now -= set(partitions)


#: As long as one of the daemon's own.
NOTE = "n" * LONGEST


class World(Protocol):
    """A topic with two partitions, and sources of one group that read it."""

    name: str

    def produce(self, number: int, *records: MemoryRecord) -> None: ...

    def source(self, assigned: Assigned, from_start: bool = True) -> Source: ...

    def expel(self, source: Source) -> None:
        """The group forgets that the source is a member."""
        ...

    def delete_before(self, number: int, offset: int) -> None:
        """Delete the records of a partition before an offset, as retention does."""
        ...


class InMemory:
    """Implements World on the fake."""

    def __init__(self, timestamp_type: TimestampType) -> None:
        self.name = "metrics"
        self._topic = MemoryTopic(
            self.name, [[] for _ in range(PARTITIONS)], timestamp_type
        )

    def produce(self, number: int, *records: MemoryRecord) -> None:
        self._topic.logs[number].extend(records)

    def source(self, assigned: Assigned, from_start: bool = True) -> Source:
        return MemorySource(self._topic, assigned, from_start)

    def expel(self, source: Source) -> None:
        self._topic.member = object()

    def delete_before(self, number: int, offset: int) -> None:
        self._topic.first = [0] * PARTITIONS
        self._topic.first[number] = offset


class OnKafka:
    """Implements World on a real broker."""

    def __init__(
        self, broker: Broker, timestamp_type: TimestampType, stack: ExitStack
    ) -> None:
        self.name = f"contract-{uuid.uuid4().hex[:12]}"
        self._group = self.name
        self._bootstrap = broker.bootstrap
        self._stack = stack
        configs = {"message.timestamp.type": _CONFIG[timestamp_type]}
        broker.create_topic(self.name, PARTITIONS, configs)

    def produce(self, number: int, *records: MemoryRecord) -> None:
        producer = KafkaProducer(bootstrap_servers=self._bootstrap)
        for record in records:
            producer.send(
                self.name,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                partition=number,
                timestamp_ms=record.timestamp,
            )
        producer.flush(timeout=DEADLINE)
        producer.close()

    def source(self, assigned: Assigned, from_start: bool = True) -> Source:
        settings = KafkaSettings(
            bootstrap_servers=(self._bootstrap,),
            topics=(self.name,),
            group_id=self._group,
            auto_offset_reset="earliest" if from_start else "latest",
        )
        source = KafkaSource(settings, assigned)
        self._stack.callback(source.close, timeout=1)
        return source

    def expel(self, source: Source) -> None:
        assert isinstance(source, KafkaSource)
        source._consumer._coordinator.reset_generation()

    def delete_before(self, number: int, offset: int) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.delete_records({TopicPartition(self.name, number): offset})
        admin.close()


_CONFIG = {
    TimestampType.CREATE_TIME: "CreateTime",
    TimestampType.LOG_APPEND_TIME: "LogAppendTime",
}


@pytest.fixture
def timestamp_type() -> TimestampType:
    """Of the topic's records; parametrize it to have another."""
    return TimestampType.CREATE_TIME


@pytest.fixture(params=["memory", "kafka"])
def world(
    request: pytest.FixtureRequest, timestamp_type: TimestampType
) -> Iterator[World]:
    if request.param == "memory":
        yield InMemory(timestamp_type)
        return
    with ExitStack() as stack:
        broker = request.getfixturevalue("broker")
        yield OnKafka(broker, timestamp_type, stack)


def record(
    value: bytes | None = b"{}", key: bytes | None = b"a", headers: Headers = ()
) -> MemoryRecord:
    return MemoryRecord(key, value, NOW, headers)


def read_until(
    source: Source, done: Callable[[list[RawBatch]], object]
) -> list[RawBatch]:
    """What polls give until ``done`` says of all of it that it is enough."""
    batches: list[RawBatch] = []
    ends = time.monotonic() + DEADLINE
    while not done(batches):
        assert time.monotonic() < ends, f"not in time; it has {batches}"
        batches.extend(source.poll(100, 0.2))
    return batches


def read(source: Source, count: int) -> list[RawBatch]:
    return read_until(source, lambda batches: sum(map(len, batches)) >= count)


def offsets(batches: Sequence[RawBatch]) -> list[int]:
    return [offset for batch in batches for offset in batch.offsets]


def joined(world: World, from_start: bool = True) -> tuple[Source, Assigned]:
    """A source that has all partitions, none of them started."""
    assigned = Assigned()
    source = world.source(assigned, from_start)
    read_until(source, lambda batches: len(assigned.now) == PARTITIONS)
    return source, assigned


def test_a_source_is_assigned_the_partitions_of_its_topic(world: World) -> None:
    _, assigned = joined(world)
    assert assigned.now == {Partition(world.name, n) for n in range(PARTITIONS)}


def test_an_assigned_partition_gives_no_records_until_it_is_started(
    world: World,
) -> None:
    world.produce(0, record(), record(), record())
    world.produce(1, record())
    source, _ = joined(world)
    assert source.poll(100, 0.5) == []
    source.start(Partition(world.name, 0), 1)
    batches = read(source, 2)
    assert {batch.partition.number for batch in batches} == {0}
    assert offsets(batches) == [1, 2]


def test_a_poll_gives_at_most_as_many_records_as_it_is_asked_for(world: World) -> None:
    for number in range(PARTITIONS):
        world.produce(number, *[record()] * 10)
    source, assigned = joined(world)
    for partition in assigned.now:
        source.start(partition, 0)
    found: list[RawBatch] = []
    ends = time.monotonic() + DEADLINE
    while sum(map(len, found)) < 20 and time.monotonic() < ends:
        polled = source.poll(3, 0.2)
        assert sum(map(len, polled)) <= 3
        assert all(len(batch) > 0 for batch in polled)
        found.extend(polled)
    for partition in assigned.now:
        of_partition = [b for b in found if b.partition == partition]
        assert offsets(of_partition) == list(range(10))


def test_a_poll_without_a_record_returns_nothing_in_time(world: World) -> None:
    source, assigned = joined(world)
    for partition in assigned.now:
        source.start(partition, 0)
    began = time.monotonic()
    assert source.poll(100, 0.2) == []
    assert time.monotonic() - began < 5


def test_a_record_keeps_its_key_value_headers_and_timestamp(world: World) -> None:
    headers = [("trace", b"\x01"), ("trace", b"\x02"), ("schema", b"")]
    world.produce(
        0, record(b"v", b"k", headers), record(None, b"gone"), record(b"", None)
    )
    source, _ = joined(world)
    source.start(Partition(world.name, 0), 0)
    batches = read(source, 3)
    assert [key for b in batches for key in b.keys] == [b"k", b"gone", None]
    assert [value for b in batches for value in b.values] == [b"v", None, b""]
    assert [list(h) for b in batches for h in b.headers] == [headers, [], []]
    assert {time for b in batches for time in b.timestamps} == {NOW}
    types = {of for b in batches for of in b.timestamp_types}
    assert types == {TimestampType.CREATE_TIME}


@pytest.mark.parametrize("timestamp_type", [TimestampType.LOG_APPEND_TIME])
def test_a_record_says_that_the_broker_set_its_timestamp(world: World) -> None:
    world.produce(0, record())
    source, _ = joined(world)
    source.start(Partition(world.name, 0), 0)
    (batch,) = read(source, 1)
    assert list(batch.timestamp_types) == [TimestampType.LOG_APPEND_TIME]


def test_a_seek_reads_records_again(world: World) -> None:
    world.produce(0, *[record()] * 4)
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    source.start(partition, 0)
    read(source, 4)
    source.seek(partition, 2)
    assert offsets(read(source, 2)) == [2, 3]


def test_a_held_partition_waits_is_named_and_then_goes_on(world: World) -> None:
    for number in range(PARTITIONS):
        world.produce(number, *[record()] * 4)
    source, assigned = joined(world)
    for partition in assigned.now:
        source.start(partition, 0)
    read(source, 8)
    held, other = sorted(assigned.now)
    source.hold(held, 1, "no schema", 1.5)
    assert "no schema" in source.fault()
    assert str(held) in source.fault()
    world.produce(other.number, record())
    (batch,) = read(source, 1)
    assert (batch.partition, offsets([batch])) == (other, [4])
    assert offsets(read(source, 3)) == [1, 2, 3]
    assert source.fault() == ""
    # that of another member is none of ours
    source.hold(Partition("another-topic", 0), 0, "no schema", 60)
    assert source.fault() == ""


def test_a_partition_of_another_member_is_neither_started_nor_sought(
    world: World,
) -> None:
    world.produce(0, record())
    source, _ = joined(world)
    other = Partition("another-topic", 0)
    source.start(other, 0)
    source.seek(other, 0)
    source.start(Partition(world.name, 0), 0)
    assert offsets(read(source, 1)) == [0]


def test_the_bounds_are_the_first_record_and_the_end(world: World) -> None:
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    assert source.bounds(partition) == (0, 0)
    world.produce(0, *[record()] * 4)
    assert source.bounds(partition) == (0, 4)
    world.delete_before(0, 3)
    assert source.bounds(partition) == (3, 4)


@pytest.mark.parametrize(("from_start", "offset"), [(True, 0), (False, 3)])
def test_a_new_group_begins_at_the_start_or_at_the_end(
    world: World, from_start: bool, offset: int
) -> None:
    world.produce(0, *[record()] * 3)
    source, _ = joined(world, from_start)
    partition = Partition(world.name, 0)
    assert source.committed(partition) is None
    assert source.first_offset(partition) == offset


def test_the_next_member_begins_at_the_committed_offset(world: World) -> None:
    world.produce(0, *[record()] * 3)
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    source.commit({partition: Committed(2, NOTE)}, wait=5.0)
    assert source.refused() == {}
    source.close(timeout=5)
    following, _ = joined(world, from_start=False)
    assert following.committed(partition) == Committed(2, NOTE)
    assert following.first_offset(partition) == 2


def test_a_committed_offset_outside_the_log_is_no_place_to_begin(world: World) -> None:
    world.produce(0, *[record()] * 3)
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    source.commit({partition: Committed(1)}, wait=5.0)
    world.delete_before(0, 2)
    assert source.first_offset(partition) == 2


def test_a_commit_of_a_member_that_the_group_forgot_is_refused_once(
    world: World,
) -> None:
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    world.expel(source)
    with contextlib.suppress(Transient):  # a source may also raise at once
        source.commit({partition: Committed(1)})
    ends = time.monotonic() + DEADLINE
    refused: Mapping[Partition, int] = {}
    while not refused and time.monotonic() < ends:
        source.poll(100, 0.2)
        refused = source.refused()
    assert refused == {partition: 1}
    assert source.refused() == {}


def test_the_lag_counts_the_records_to_the_end(world: World) -> None:
    world.produce(0, *[record()] * 4)
    source, _ = joined(world)
    partition = Partition(world.name, 0)
    source.start(partition, 0)
    read(source, 4)
    assert source.lag(partition, 1) == 3
    assert source.lag(partition, 4) == 0
    assert source.lag(partition, 9) == 0


def test_a_position_outside_the_log_is_revoked_and_assigned_again(
    world: World,
) -> None:
    world.produce(0, *[record()] * 3)
    source, assigned = joined(world)
    partition = Partition(world.name, 0)
    source.start(partition, 100)
    before = assigned.assignments
    read_until(source, lambda batches: assigned.assignments > before)
    assert partition in assigned.now
    assert source.poll(100, 0.2) == []
    source.start(partition, 1)
    assert offsets(read(source, 2)) == [1, 2]


def test_a_closed_source_leaves_its_partitions_to_the_next(world: World) -> None:
    source, _ = joined(world)
    source.close(timeout=5)
    _, assigned = joined(world)
    assert len(assigned.now) == PARTITIONS
