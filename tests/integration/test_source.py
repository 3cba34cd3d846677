"""Membership in a consumer group: short polls, static members and lost members.

What every source promises is in ``tests/contract/test_sources.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove

from deploy.harness.broker import Broker
from detector.errors import Transient
from detector.events import Partition
from detector.ingest.sources.kafka_python import KafkaSource
from detector.kafka.settings import KafkaSettings
from detector.ports import Committed
from tests.integration.stage import eventually

PARTITIONS = 4


class Assigned:
    """Implements Assignments."""

    def __init__(self) -> None:
        self.now: set[Partition] = set()
        self.times_lost = 0
        self.dies = False

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.now |= set(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, Committed]:
        self.now -= set(partitions)
        if self.dies:
            raise RuntimeError
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.now -= set(partitions)
        self.times_lost += 1


Join = Callable[..., tuple[KafkaSource, Assigned]]


@pytest.fixture
def join(broker: Broker, topic: str) -> Iterator[Join]:
    """Makes members of one group; a named one is a static member."""
    with ExitStack() as stack:
        group = uuid.uuid4().hex

        def joining(name: str | None = None) -> tuple[KafkaSource, Assigned]:
            held = Assigned()
            settings = KafkaSettings(
                bootstrap_servers=(broker.bootstrap,),
                topics=(topic,),
                group_id=group,
                group_instance_id=name,
                session_timeout_ms=6000,
            )
            source = KafkaSource(settings, held)
            stack.callback(source.close, timeout=1)
            return source, held

        yield joining


def test_a_regex_does_not_read_the_topic_of_the_store(
    broker: Broker, topic: str
) -> None:
    state = f"{topic}-state"
    broker.create_topic(state, 1)
    held = Assigned()
    settings = KafkaSettings(
        bootstrap_servers=(broker.bootstrap,),
        topics=(f"^{topic}",),
        group_id=uuid.uuid4().hex,
    )
    source = KafkaSource(settings, held, (state,))
    try:
        eventually(lambda: source.poll(1, 0.1) or held.now, "partitions are assigned")
        assert {partition.topic for partition in held.now} == {topic}
    finally:
        source.close(timeout=1)


@pytest.fixture
def membership(join: Join) -> tuple[KafkaSource, Assigned]:
    return join()


def poll(*members: tuple[KafkaSource, Assigned]) -> None:
    """Poll all at once, as processes do.

    The answer to a join counts only while a poll waits for it.
    """
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda member: member[0].poll(100, 0.1), members))


def share(
    partitions: int, *members: tuple[KafkaSource, Assigned], deadline: float = 30.0
) -> None:
    """Poll until each partition has one member and nobody asks for a rebalance."""
    coordinators = [source._consumer._coordinator for source, _ in members]

    def shared() -> bool:
        poll(*members)
        calm = not any(c.rejoining or c.need_rejoin() for c in coordinators)
        return calm and sum(len(held.now) for _, held in members) == partitions == len(
            set().union(*(held.now for _, held in members))
        )

    eventually(shared, "each partition is one member's", deadline)


@pytest.mark.parametrize("partitions", [PARTITIONS])
@pytest.mark.parametrize("timeout", [0.001, 0.003, 0.005, 0.2])
def test_every_partition_is_assigned_however_short_the_polls(
    membership: tuple[KafkaSource, Assigned], timeout: float
) -> None:
    source, held = membership

    def joined() -> bool:
        source.poll(100, timeout)
        return len(held.now) == PARTITIONS

    eventually(joined, "all partitions", deadline=10)


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_partitions_given_up_before_a_static_member_died_find_an_owner(
    join: Join,
) -> None:
    """It comes back within its session, so the group does not rebalance by itself."""
    dying = join("a")
    joining = join("b")
    share(PARTITIONS, dying)
    dying[1].dies = True
    with pytest.raises(Transient):
        eventually(lambda: poll(joining, dying), "a share is given up")
    assert len(dying[1].now) == PARTITIONS // 2
    assert not joining[1].now
    dying[1].dies = False
    dying[0].close(timeout=1)  # a static member does not say that it leaves
    share(PARTITIONS, join("a"), joining, deadline=20)


@pytest.mark.parametrize("partitions", [6])
def test_partitions_of_a_lost_member_are_not_kept_for_it(
    join: Join, broker: Broker
) -> None:
    """It comes back together with others and gets fewer partitions.

    Nobody has what it had, so nobody could give it up.
    """
    lost = join("a")
    gone = join("b")
    share(6, lost, gone)
    group = lost[0]._consumer.config["group_id"]
    others = [join(), join()]
    for source, _ in others:
        source.poll(100, 0.2)  # they wait for the group to rejoin

    def remove(name: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.remove_group_members(group, [MemberToRemove(group_instance_id=name)])
        admin.close()

    remove("a")

    lost[0]._consumer._coordinator.reset_generation()  # as its next heartbeat would
    lost[0].poll(100, 0.2)
    assert lost[1].times_lost == 1
    remove("b")
    share(6, lost, *others, deadline=20)
