"""A limit on what is in memory: the rest is in the store until its turn comes, in
order, and none of it is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import Alert, Partition, PendingNotification
from detector.notify.outbox import Outbox
from detector.notify.routes import Route, Routing
from detector.notify.spill import SEGMENT, SegmentName, SpillPolicy
from detector.recovery.store_thread import StoreWorker
from tests.fakes import FakeClock, MemoryStore
from tests.unit.detector.notify.alerts import P, Q, fired, resolved

LIMIT = 400
GROUPED = Route("hook", group_by=("alertname",))
Pages = dict[Partition, list[tuple[int, PendingNotification]]]
Arrived = list[tuple[str, bool]]  # stream, and whether it fires


class Life:
    """One process: an outbox that spills through the store's thread.

    What it leaves behind is in the store, and in its pages if it wrote a checkpoint.
    """

    def __init__(
        self, store: MemoryStore, pages: Pages | None = None, route: Route = GROUPED
    ) -> None:
        self.store = store
        self.worker = StoreWorker(store)
        self.clock = FakeClock()
        spill = SpillPolicy(self.worker, LIMIT, writer=5)
        self.outbox = Outbox(Routing(["hook"], [route]), self.clock, spill)
        for partition in (P, Q):
            waiting = (pages or {}).get(partition, ())
            self.outbox.restore(partition, waiting, (), store.names(partition))

    def await_store(self) -> None:
        """All that the store was asked for is done, and what followed from that."""
        before = -1
        while before != (before := self.outbox.in_segments()):
            done: Future[None] = self.worker.drop(P, "none")
            done.result(10)

    def checkpoint(self) -> Pages:
        return {p: [(0, w) for w in self.outbox.waiting((p, 0))] for p in (P, Q)}

    def deliver(self, limit: int = 1 << 30) -> Arrived:
        """Deliver ``limit`` notifications, or all that wait."""
        arrived: Arrived = []
        while len(arrived) < limit and len(self.outbox):
            attempt = self.outbox.take("hook", 0)
            if attempt is None:
                self.clock.now += 2
                self.await_store()
                continue
            arrived += [(alert.stream, alert.firing) for alert in attempt.post.alerts]
            self.outbox.settle(attempt)
        self.await_store()
        return arrived


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def storm(outbox: Outbox, count: int, partition: Partition = P) -> Arrived:
    for number in range(count):
        outbox.put((partition, 0), fired(f"s{number}", partition))
    return [(f"s{number}", True) for number in range(count)]


def test_what_exceeds_the_limit_is_in_the_store_only(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 20 * SEGMENT)
    life.await_store()
    assert len(life.outbox) == 20 * SEGMENT
    assert life.outbox.in_segments() >= 20 * SEGMENT - LIMIT - SEGMENT
    assert len(life.outbox.waiting((P, 0))) <= LIMIT + SEGMENT
    assert life.outbox.take_changed_pages(P) == {0}
    assert life.deliver() == expected
    assert store.segments == {P: {}}


def test_a_receiver_that_keeps_up_costs_no_write(store: MemoryStore) -> None:
    life = Life(store)
    for _ in range(10):
        storm(life.outbox, LIMIT)
        life.deliver()
    assert store.segments == {}


def test_after_a_kill_nothing_is_lost_and_the_order_is_kept(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.await_store()
    again = Life(store, life.checkpoint())
    assert again.deliver() == expected


def test_a_segment_that_a_kill_cut_off_is_delivered_again_as_a_whole(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.await_store()
    arrived = life.deliver(limit=LIMIT + SEGMENT + SEGMENT // 2)
    rest = Life(store, life.checkpoint()).deliver()
    assert set(arrived) | set(rest) == set(expected)
    assert len(arrived) + len(rest) <= len(expected) + SEGMENT


def test_while_the_store_fails_they_stay_in_memory(
    store: MemoryStore,
) -> None:
    life = Life(store)
    store.failing = True
    expected = storm(life.outbox, 3 * SEGMENT)
    life.await_store()
    assert life.outbox.in_segments() == 0
    assert len(life.outbox.waiting((P, 0))) == 3 * SEGMENT
    store.failing = False
    life.clock.now += 2
    life.outbox.put((P, 0), fired("last"))
    life.await_store()
    assert life.outbox.in_segments() >= SEGMENT
    assert life.deliver() == [*expected, ("last", True)]


def test_a_segment_that_cannot_be_read_is_tried_again(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 3 * SEGMENT)
    life.await_store()
    arrived = life.deliver(limit=LIMIT // 2)
    store.failing = True
    life.outbox.take("hook", 0)
    life.await_store()
    store.failing = False
    assert arrived + life.deliver() == expected


def test_a_damaged_segment_costs_its_own_notifications_and_no_others(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 5 * SEGMENT)
    life.await_store()
    second = sorted(store.segments[P])[1]
    store.segments[P][second] = b"torn"
    damaged = SegmentName.parse(second)
    assert damaged is not None
    arrived = life.deliver()
    assert len(arrived) == len(expected) - damaged.count
    assert set(arrived) < set(expected)
    assert store.segments == {P: {}}


def test_the_next_owner_of_a_partition_finds_its_segments(
    store: MemoryStore,
) -> None:
    life = Life(store)
    expected = storm(life.outbox, 3 * SEGMENT)
    others = [(f"q{i}", True) for i in range(SEGMENT)]
    for name, _ in others:
        life.outbox.put((Q, 0), fired(name, Q))
    life.await_store()
    pages = {P: life.checkpoint()[P]}
    life.outbox.forget(P)
    next_owner = Life(MemoryStore(segments={P: dict(store.segments[P])}), pages)
    assert life.deliver() == others
    assert next_owner.deliver() == expected


def test_segments_of_a_removed_receiver_stay_in_the_store(
    store: MemoryStore,
) -> None:
    name = str(SegmentName("old", 1, 9, 9, 5))
    store.segments = {P: {name: b""}}
    life = Life(store)
    assert len(life.outbox) == 0
    assert store.names(P) == [name]


def test_an_incident_from_a_segment_is_repeated_after_its_delivery(
    store: MemoryStore,
) -> None:
    life = Life(store, route=replace(GROUPED, repeat_interval=100_000))
    storm(life.outbox, 3 * SEGMENT)
    life.await_store()
    life.deliver()
    opened = life.outbox.opened((P, 0))
    assert len(opened) == 3 * SEGMENT
    assert all(incident.last_acked["hook"] > 0 for incident in opened)
    assert life.outbox.take_changed_pages(P) == {0}


def steps() -> Iterator[st.SearchStrategy[tuple[str, int]]]:
    yield st.tuples(st.just("storm"), st.integers(1, 3 * SEGMENT))
    yield st.tuples(st.just("deliver"), st.integers(1, 2 * SEGMENT))
    yield st.tuples(st.just("kill"), st.just(0))
    yield st.tuples(st.just("wait"), st.just(0))


def raised(number: int) -> Alert:
    """Begin and end in turn, of one stream after another."""
    begin = fired(f"s{number // 2}")
    return resolved(begin) if number % 2 else begin


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(*steps()), max_size=12))
def test_whenever_it_is_killed_nothing_is_lost_and_the_end_comes_last(
    script: list[tuple[str, int]],
) -> None:
    """A checkpoint precedes each kill, so a restart reads from where the kill was."""
    store = MemoryStore()
    expected = Arrived()
    arrived = Arrived()
    life = Life(store)
    for step, size in script:
        if step == "storm":
            for number in range(len(expected), len(expected) + size):
                alert = raised(number)
                life.outbox.put((P, 0), alert)
                expected.append((alert.stream, alert.firing))
        elif step == "deliver":
            arrived += life.deliver(size)
        elif step == "wait":
            life.await_store()
        else:
            pages = life.checkpoint()
            life.await_store()
            life = Life(store, pages)
    arrived += life.deliver()
    assert set(arrived) == set(expected)
    assert dict(arrived) == dict(expected)
