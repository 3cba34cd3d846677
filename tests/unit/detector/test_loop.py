"""What the loop promises: nothing is committed that is not durable, and nothing stops it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from detector.alerting.config import AlertingSettings
from detector.alerting.outbox import Outbox
from detector.errors import Transient
from detector.events import Columns, Partition
from detector.loop import Loop
from detector.metrics import Metrics
from detector.model.runtime import Runtime
from detector.pipeline import Pipeline
from tests.fakes import DeadLetterList, FakeClock, MemoryStore, columns, fake_bundle

P, Q = Partition("metrics", 0), Partition("metrics", 1)


class ListSource:
    """Polls what a test scripted. Implements Source."""

    def __init__(self, *polls: Sequence[Columns] | Exception) -> None:
        self.polls = list(polls)
        self.committed: list[dict[Partition, int]] = []
        self.sought: list[tuple[Partition, int]] = []
        self.during_poll: list[object] = []

    def poll(self, max_records: int, timeout: float) -> Sequence[Columns]:
        for action in self.during_poll:
            assert callable(action)
            action()
        self.during_poll = []
        polled = self.polls.pop(0) if self.polls else []
        if isinstance(polled, Exception):
            raise polled
        return polled

    def seek(self, partition: Partition, offset: int) -> None:
        self.sought.append((partition, offset))

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.committed.append(dict(offsets))

    def lag(self, partition: Partition, offset: int) -> int | None:
        return 100 - offset

    def close(self) -> None:
        """Nothing to close."""


class House:
    def __init__(self, path: Path) -> None:
        bundle = fake_bundle(path)
        manifest = bundle.manifest
        self.metrics, self.store, self.clock = Metrics(), MemoryStore(), FakeClock()
        rules = AlertingSettings().rules(manifest.tail, 60.0, manifest.warm_up)
        self.pipeline = Pipeline(bundle, Runtime(bundle), rules, Outbox(), self.metrics, DeadLetterList(), 1000)
        self.loop = Loop(self.pipeline, self.store, self.metrics, self.clock, bundle.digest, manifest.state_size, 10.0, 500)
        self.stop = threading.Event()

    def turn(self, source: ListSource) -> None:
        self.loop.turn(source, self.stop)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def poll(first: int = 0, partition: Partition = P) -> list[Columns]:
    return [columns(["a", "b"], [60.0 + first, 60.0 + first], [[1, 1], [2, 2]], first=first, partition=partition)]


def test_an_assignment_makes_it_ready_and_starts_at_the_committed_offset(house: House) -> None:
    assert not house.loop.vitals.ready
    assert house.loop.assigned([P]) == {P: None}
    assert house.loop.vitals.ready


def test_offsets_are_committed_after_the_pages_are_durable(house: House) -> None:
    house.loop.assigned([P])
    source = ListSource(poll())
    house.turn(source)
    assert source.committed == []
    house.clock.now += 11
    house.turn(source)
    assert source.committed == [{P: 2}]
    assert house.store.heads[P].offset == 2


def test_a_store_that_fails_commits_nothing_and_scoring_goes_on(house: House) -> None:
    house.loop.assigned([P])
    house.store.failing = True
    source = ListSource(poll(), poll(2))
    house.turn(source)
    house.loop.checkpoint(source)
    assert source.committed == []
    assert "no space" in house.loop.vitals.store_fault
    assert house.loop.checkpoint_age() == 0
    house.clock.now += 5
    house.turn(source)
    assert house.value("detector_scored_total") == 4
    assert house.loop.checkpoint_age() == 5
    house.store.failing = False
    house.loop.checkpoint(source)
    assert source.committed == [{P: 4}]
    assert house.loop.vitals.store_fault == ""
    assert {n for p in house.store.pages[P].values() for n in p.names} == {"a", "b"}


def test_a_revoked_partition_is_written_and_comes_back_where_it_was(house: House) -> None:
    house.loop.assigned([P])
    house.turn(ListSource(poll()))
    house.loop.revoked([P])
    assert house.value("detector_streams") == 0
    assert house.loop.assigned([P]) == {P: 2}
    assert house.value("detector_streams") == 2


def test_a_lost_partition_is_dropped_without_writing(house: House) -> None:
    house.loop.assigned([P])
    house.turn(ListSource(poll()))
    house.loop.lost([P])
    assert house.store.heads == {}
    assert house.loop.assigned([P]) == {P: None}


def test_records_fetched_before_an_assignment_changed_are_read_again(house: House) -> None:
    house.loop.assigned([P])
    source = ListSource(poll(), poll(2))
    house.turn(source)
    source.during_poll = [lambda: house.loop.assigned([Q])]
    house.turn(source)
    assert house.value("detector_scored_total") == 2
    assert source.sought == [(P, 2)]


def test_a_broker_fault_is_retried(house: House) -> None:
    house.loop.assigned([P])
    house.stop.set()  # the pause between tries ends at once
    source = ListSource(Transient("gone"), poll())
    house.turn(source)
    assert house.loop.vitals.source_fault == "gone"
    house.turn(source)
    assert house.loop.vitals.source_fault == ""
    assert house.value("detector_scored_total") == 2
    assert house.value("detector_source_errors_total") == 1


def test_a_stop_ends_with_a_checkpoint(house: House) -> None:
    house.loop.assigned([P])
    source = ListSource(poll())
    house.turn(source)
    house.stop.set()
    house.loop.run(source, house.stop)
    assert source.committed == [{P: 2}]
    assert house.value("detector_lag_records") == 98
