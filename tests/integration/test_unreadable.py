"""Batches that can't be read: damage on the disk of a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

import pytest

from deploy.harness.broker import Broker
from detector.events import Partition
from detector.ingest.sources.kafka_python import KafkaSource
from detector.kafka.settings import KafkaSettings
from detector.metrics import Metrics
from detector.ports import Committed
from tests.fakes import FakeClock
from tests.integration.log_segments import (
    flip_last_byte,
    not_its_codec,
    rewrite,
    segment,
    unknown_codec,
)
from tests.integration.stage import Record, eventually, produce

TOPIC = "damaged"
#: Of partition 0: three batches of two records each.
DAMAGED = 2
Change = Callable[[bytearray], None]


class Started:
    """Remembers what is assigned. Implements Assignments."""

    def __init__(self) -> None:
        self.now: set[Partition] = set()

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.now |= set(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, Committed]:
        self.now -= set(partitions)
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.now -= set(partitions)


class Reader:
    """A source that has both partitions, started at 0, and what it gave."""

    def __init__(self, broker: Broker, skip: bool) -> None:
        self.metrics = Metrics()
        self.clock = FakeClock()
        self.found: dict[int, list[int]] = {0: [], 1: []}
        self.ends: dict[int, int] = {}
        assigned = Started()
        settings = KafkaSettings(
            bootstrap_servers=(broker.bootstrap,),
            topics=(TOPIC,),
            group_id=uuid.uuid4().hex,
            skip_unreadable=skip,
        )
        self.source = KafkaSource(settings, assigned, (), self.metrics, self.clock)
        self.read_until(lambda: len(assigned.now) == 2)
        for partition in assigned.now:
            self.source.start(partition, 0)

    def poll(self) -> None:
        for batch in self.source.poll(100, 0.2):
            self.found[batch.partition.number].extend(batch.offsets)
            self.ends[batch.partition.number] = batch.next_offset

    def read_until(self, done: Callable[[], object]) -> None:
        def read() -> object:
            self.poll()
            return done()

        eventually(read, f"it gives more than {self.found}")

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Read(Protocol):
    def __call__(self, change: Change, skip: bool = False) -> Reader: ...


@pytest.fixture
def read(own_broker: Broker) -> Iterator[Read]:
    """Damages the second batch of partition 0 and reads both partitions."""
    own_broker.create_topic(TOPIC, 2)
    for _ in range(3):
        produce(own_broker, TOPIC, [Record(b"a", b"{}", 0)] * 2)
    with ExitStack() as stack:

        def reading(change: Change, skip: bool = False) -> Reader:
            own_broker.stop()
            rewrite(segment(own_broker, TOPIC), DAMAGED, change)
            own_broker.start()
            reader = Reader(own_broker, skip)
            stack.callback(reader.source.close, timeout=1)
            return reader

        yield reading


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (flip_last_byte, "crc"),
        (unknown_codec, "Unrecognized compression type: 7"),
        (not_its_codec, "gzip"),
    ],
)
def test_a_batch_that_cant_be_read_holds_its_partition_and_no_other(
    own_broker: Broker,
    read: Read,
    change: Change,
    cause: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader = read(change)
    held = "detector_held_partitions"
    reader.read_until(lambda: reader.value(held) == 1)
    produce(own_broker, TOPIC, [Record(b"b", b"{}", 1)] * 3)
    reader.read_until(lambda: len(reader.found[1]) == 3)
    assert reader.found[0] == [0, 1]
    assert f"{TOPIC}/0 at offset {DAMAGED}: " in reader.source.fault()
    assert cause in reader.source.fault()
    log = capsys.readouterr().out
    assert log.count("partition_unreadable") == 1
    assert reader.value("detector_unreadable_batches_total", outcome="held") == 1


def test_a_held_partition_is_tried_again_and_reported_once(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = read(flip_last_byte)
    reader.read_until(reader.source.fault)
    for _ in range(2):
        reader.clock.now += 31
        reader.source.poll(100, 0)  # lets it be read again
        reader.read_until(reader.source.fault)
    assert capsys.readouterr().out.count("partition_unreadable") == 1
    assert reader.value("detector_unreadable_batches_total", outcome="held") == 1


@pytest.mark.parametrize("change", [flip_last_byte, unknown_codec, not_its_codec])
def test_a_setting_lets_an_unreadable_batch_be_skipped_and_counted(
    read: Read, change: Change
) -> None:
    reader = read(change, skip=True)
    reader.read_until(lambda: reader.ends.get(0) == 6)
    assert reader.found[0] == [0, 1, 4, 5]
    assert reader.source.fault() == ""
    assert reader.value("detector_unreadable_batches_total", outcome="skipped") == 1
    assert reader.value("detector_unreadable_records_total") == 2
    assert reader.value("detector_held_partitions") == 0
