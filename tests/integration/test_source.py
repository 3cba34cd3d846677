"""The consumer group's membership and its offsets, under polls that are too short for a join and members that fall out of the group."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

import pytest

from deploy.demo.broker import Broker
from detector.events import Partition
from detector.ingest.config import KafkaSettings
from detector.ingest.decode import Decoder
from detector.ingest.source_kafka import KafkaSource
from tests.integration.stage import eventually

PARTITIONS = 4


class Assigned:
    """Implements Assignments."""

    def __init__(self) -> None:
        self.now: set[Partition] = set()

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.now |= set(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self.now -= set(partitions)
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.now -= set(partitions)


@pytest.fixture
def membership(broker: Broker, topic: str) -> Iterator[tuple[KafkaSource, Assigned]]:
    held = Assigned()
    settings = KafkaSettings(bootstrap_servers=(broker.bootstrap,), topics=(topic,), group_id=uuid.uuid4().hex, session_timeout_ms=6000)
    source = KafkaSource(settings, Decoder(["cpu"]), held)
    yield source, held
    source.close(timeout=5)


@pytest.mark.parametrize("partitions", [PARTITIONS])
@pytest.mark.parametrize("timeout", [0.001, 0.003, 0.005, 0.2])
def test_every_partition_is_assigned_however_short_the_polls(membership: tuple[KafkaSource, Assigned], timeout: float) -> None:
    source, held = membership

    def joined() -> bool:
        source.poll(100, timeout)
        return len(held.now) == PARTITIONS

    eventually(joined, "all partitions", deadline=10)


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_commit_that_the_group_refuses_is_told(membership: tuple[KafkaSource, Assigned], topic: str) -> None:
    source, held = membership
    eventually(lambda: source.poll(100, 0.2) or len(held.now) == PARTITIONS, "all partitions")
    source.commit({Partition(topic, 0): 0, Partition(topic, 1): 0})
    source.poll(100, 0.2)
    assert source.refused() == {}
    source._consumer._coordinator.reset_generation()  # as the client does when the group no longer knows it
    source.commit({Partition(topic, 0): 0, Partition(topic, 1): 0})
    eventually(lambda: source.poll(100, 0.2) or len(held.now) == PARTITIONS, "all partitions once more")
    assert source.refused() == {Partition(topic, 0): 0, Partition(topic, 1): 0}
    assert source.refused() == {}
