"""A bound on what is in memory: the rest is in the store until its turn comes, in
order, and none of it is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import (
    Alert,
    OpenIncident,
    Partition,
    PendingNotification,
    Reason,
    Severity,
)
from detector.notify.outbox import Outbox
from detector.notify.routes import Route, Routing
from detector.notify.spill import SEGMENT, SegmentName, SpillPolicy
from detector.recovery.store_thread import StoreWorker
from tests.fakes import FakeClock, MemoryStore

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
BOUND = 400
GROUPED = Route("hook", group_by=("alertname",))
Told = list[tuple[str, bool]]


def alert(
    stream: str, partition: Partition = P, firing: bool = True, at: float = 60.0
) -> Alert:
    reason, ends = (Reason.FIRED, None) if firing else (Reason.RECOVERED, at + 60)
    return Alert(
        partition,
        stream,
        Severity.WARNING,
        reason,
        at,
        ends,
        at if firing else at + 60,
        7.0,
        6.0,
    )


class Life:
    """One process: an outbox on a keeper's thread; what it leaves behind is in the
    store, and in ``pages`` if it wrote a checkpoint.
    """

    def __init__(
        self,
        store: MemoryStore,
        pages: dict[Partition, list[tuple[int, PendingNotification]]] | None = None,
        **more: Route,
    ) -> None:
        self.store = store
        self.keeper = StoreWorker(store)
        self.clock = FakeClock()
        self.outbox = Outbox(
            Routing(["hook"], [more.get("route", GROUPED)]),
            self.clock,
            SpillPolicy(self.keeper, BOUND, writer=5),
        )
        for partition in (P, Q):
            self.outbox.restore(
                partition, (pages or {}).get(partition, ()), (), store.names(partition)
            )

    def settled(self) -> None:
        """All that the keeper was asked for is done, and what it was asked for by the
        answers to that.
        """
        before = -1
        while before != (before := self.outbox.in_segments()):
            done: Future[None] = self.keeper.drop(P, "none")
            done.result(10)

    def checkpoint(self) -> dict[Partition, list[tuple[int, PendingNotification]]]:
        return {p: [(0, w) for w in self.outbox.waiting((p, 0))] for p in (P, Q)}

    def deliver(self, most: int = 1 << 30) -> Told:
        told: Told = []
        while len(told) < most and len(self.outbox):
            parcel = self.outbox.take("hook", 0)
            if parcel is None:
                self.clock.now += 2
                self.settled()
                continue
            told += [(a.stream, a.firing) for a in parcel.post.alerts]
            self.outbox.settle(parcel)
        self.settled()
        return told


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def storm(outbox: Outbox, count: int, partition: Partition = P) -> Told:
    for i in range(count):
        outbox.put((partition, 0), alert(f"s{i}", partition))
    return [(f"s{i}", True) for i in range(count)]


def test_what_exceeds_the_bound_is_in_the_store_and_neither_in_memory_nor_in_pages(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 20 * SEGMENT)
    life.settled()
    assert len(life.outbox) == 20 * SEGMENT
    assert life.outbox.in_segments() >= 20 * SEGMENT - BOUND - SEGMENT
    assert len(life.outbox.waiting((P, 0))) <= BOUND + SEGMENT
    assert life.outbox.take_changed_pages(P) == {0}
    assert life.deliver() == expected
    assert store.segments == {P: {}}


def test_a_receiver_that_keeps_up_costs_no_write(store: MemoryStore) -> None:
    life = Life(store)
    for _ in range(10):
        storm(life.outbox, BOUND)
        life.deliver()
    assert store.segments == {}


def test_killed_after_a_checkpoint_nothing_is_lost_and_the_order_is_kept(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.settled()
    again = Life(store, life.checkpoint())
    assert again.deliver() == expected


def test_killed_in_the_middle_of_a_segment_it_is_told_again_as_a_whole(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.settled()
    told = life.deliver(most=BOUND + SEGMENT + SEGMENT // 2)
    rest = Life(store, life.checkpoint()).deliver()
    assert set(told) | set(rest) == set(expected)
    assert len(told) + len(rest) <= len(expected) + SEGMENT


def test_a_store_that_fails_keeps_them_in_memory_until_it_works_again(
    store: MemoryStore,
) -> None:
    life = Life(store)
    store.failing = True
    expected = storm(life.outbox, 3 * SEGMENT)
    life.settled()
    assert life.outbox.in_segments() == 0
    assert len(life.outbox.waiting((P, 0))) == 3 * SEGMENT
    store.failing = False
    life.clock.now += 2
    life.outbox.put((P, 0), alert("last"))
    life.settled()
    assert life.outbox.in_segments() >= SEGMENT
    assert life.deliver() == [*expected, ("last", True)]


def test_a_segment_that_can_not_be_read_for_a_while_is_tried_again(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 3 * SEGMENT)
    life.settled()
    told = life.deliver(most=BOUND // 2)
    store.failing = True
    life.outbox.take("hook", 0)
    life.settled()
    store.failing = False
    assert told + life.deliver() == expected


def test_a_damaged_segment_costs_its_own_notifications_and_no_others(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.settled()
    second = sorted(store.segments[P])[1]
    store.segments[P][second] = b"torn"
    damaged = SegmentName.parse(second)
    assert damaged is not None
    told = life.deliver()
    assert len(told) == len(expected) - damaged.count
    assert set(told) < set(expected)
    assert store.segments == {P: {}}


def test_a_partition_that_is_given_up_leaves_its_segments_to_the_next_owner(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 3 * SEGMENT)
    others = [(f"q{i}", True) for i in range(SEGMENT)]
    for name, _ in others:
        life.outbox.put((Q, 0), alert(name, Q))
    life.settled()
    pages = {P: life.checkpoint()[P]}
    life.outbox.forget(P)
    next_owner = Life(MemoryStore(segments={P: dict(store.segments[P])}), pages)
    assert life.deliver() == others
    assert next_owner.deliver() == expected


def test_segments_of_a_receiver_that_is_no_more_stay_in_the_store(
    store: MemoryStore,
) -> None:
    name = str(SegmentName("old", 1, 9, 9, 5))
    store.segments = {P: {name: b""}}
    life = Life(store)
    assert len(life.outbox) == 0
    assert store.names(P) == [name]


def test_an_incident_that_waits_in_a_segment_is_told_again_after_it_was_delivered(
    store: MemoryStore,
) -> None:
    life = Life(store, route=replace(GROUPED, repeat_interval=100_000))
    storm(life.outbox, 3 * SEGMENT)
    life.settled()
    life.deliver()
    assert all(
        incident.last_acked["hook"] > 0 for incident in life.outbox.opened((P, 0))
    )
    assert life.outbox.take_changed_pages(P) == {0}
    assert isinstance(life.outbox.opened((P, 0))[0], OpenIncident)


def steps() -> Iterator[st.SearchStrategy[tuple[str, int]]]:
    yield st.tuples(st.just("storm"), st.integers(1, 3 * SEGMENT))
    yield st.tuples(st.just("deliver"), st.integers(1, 2 * SEGMENT))
    yield st.tuples(st.just("kill"), st.just(0))
    yield st.tuples(st.just("wait"), st.just(0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(*steps()), max_size=12))
def test_whenever_it_is_killed_each_streams_last_word_is_its_last_and_nothing_is_lost(
    script: list[tuple[str, int]],
) -> None:
    """A checkpoint stands before each kill, as it does where the offset that a restart
    reads from is that of the kill.
    """
    store = MemoryStore()
    raised = Told()
    told = Told()
    number = 0
    life = Life(store)
    for step, size in script:
        if step == "storm":
            for _ in range(size):
                number += 1
                name = f"s{number // 2}"
                firing = not number % 2
                life.outbox.put((P, 0), alert(name, firing=firing))
                raised.append((name, firing))
        elif step == "deliver":
            told += life.deliver(size)
        elif step == "wait":
            life.settled()
        else:
            pages = life.checkpoint()
            life.settled()
            life = Life(store, pages)
    told += life.deliver()
    assert set(told) == set(raised)
    last = partial(dict[str, bool])
    assert last(told) == last(raised)
