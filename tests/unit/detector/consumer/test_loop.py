"""What the loop promises: nothing is committed that is not durable, and nothing stops
it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.consumer.loop import Loop
from detector.errors import Transient
from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.formats.json_wide import Decoder
from detector.metrics import Metrics
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.store_thread import StoreWorker
from detector.state.table import PAGE
from tests.fakes import (
    FakeClock,
    MemoryStore,
    fake_bundle,
    raw_batch,
    raw_points,
)

P = Partition("metrics", 0)
Q = Partition("metrics", 1)


class ListSource:
    """Polls what a test scripted. Implements Source."""

    def __init__(self, *polls: Sequence[RawBatch] | Exception) -> None:
        self.polls = list(polls)
        self.committed: list[dict[Partition, int]] = []
        self.sought: list[tuple[Partition, int]] = []
        self.started: list[tuple[Partition, int]] = []
        self.log = (0, 1000)
        self.during_poll: list[object] = []
        self.asked: list[int] = []
        self.refusals: dict[Partition, int] = {}

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        self.asked.append(max_records)
        for action in self.during_poll:
            assert callable(action)
            action()
        self.during_poll = []
        polled = self.polls.pop(0) if self.polls else []
        if isinstance(polled, Exception):
            raise polled
        return polled

    def bounds(self, partition: Partition) -> tuple[int, int]:
        return self.log

    def first_offset(self, partition: Partition) -> int:
        return self.log[0]

    def start(self, partition: Partition, offset: int) -> None:
        self.started.append((partition, offset))

    def seek(self, partition: Partition, offset: int) -> None:
        self.sought.append((partition, offset))

    def commit(self, offsets: Mapping[Partition, int], wait: float = 0.0) -> None:
        self.committed.append(dict(offsets))

    def refused(self) -> Mapping[Partition, int]:
        refused = self.refusals
        self.refusals = {}
        return refused

    def lag(self, partition: Partition, offset: int) -> int | None:
        return 100 - offset

    def close(self, timeout: float) -> None:
        """Nothing to close."""


class House:
    def __init__(
        self,
        path: Path,
        decode: Callable[[RawBatch], RecordBatch] | None = None,
    ) -> None:
        bundle = fake_bundle(path)
        manifest = bundle.manifest
        self.metrics = Metrics()
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.pipeline = build_pipeline(
            bundle, OnnxEngine(bundle), AlertTuning(), metrics=self.metrics
        )
        self.keeper = StoreWorker(self.store)
        self.loop = Loop(
            self.pipeline,
            self.keeper,
            self.metrics,
            self.clock,
            decode or Decoder(bundle.feature_names).decode,
            bundle.digest,
            manifest.state_size,
            10.0,
            500,
            evict_after=60.0,
        )
        self.stop = threading.Event()

    def assign(
        self, *partitions: Partition, log: tuple[int, int] = (0, 1000)
    ) -> list[tuple[Partition, int]]:
        """Until they give records; where they start."""
        self.loop.assigned(partitions)
        source = ListSource()
        source.log = log
        self.wait()
        self.turn(source)
        return source.started

    def wait(self) -> None:
        """Until the keeper has done all that it was asked for."""
        self.keeper.write([]).result(timeout=10)

    def turn(self, source: ListSource) -> None:
        self.loop.turn(source, self.stop)

    def checkpoint(self, source: ListSource) -> None:
        """One that becomes due, with the turn that commits it."""
        self.clock.now += 11
        self.turn(source)
        self.wait()
        self.turn(source)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.keeper.close(timeout=5)


def poll(first: int = 0, partition: Partition = P) -> list[RawBatch]:
    return [
        raw_points(
            ["a", "b"],
            [60.0 + first, 60.0 + first],
            [[1, 1], [2, 2]],
            first=first,
            partition=partition,
        )
    ]


def test_a_partition_gives_records_once_its_pages_are_read_and_then_it_is_ready(
    house: House,
) -> None:
    house.loop.assigned([P])
    assert not house.loop.vitals.ready
    house.wait()
    source = ListSource()
    house.turn(source)
    assert source.started == [(P, 0)]
    assert house.loop.vitals.ready


def five_hundred_points_each(raw: RawBatch) -> RecordBatch:
    """Two records without a key hold 500 points each; others hold one."""
    if raw.keys[0] is not None:
        return Decoder(("cpu", "mem")).decode(raw)
    return RecordBatch(
        P,
        ["a"] * 1000,
        np.repeat(np.arange(2), 500),
        np.arange(1000.0),
        np.zeros((1000, 2), np.float32),
        2,
    )


def test_fewer_records_are_asked_for_where_each_holds_many_points(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, five_hundred_points_each)
    one = poll()[0]
    thousand = raw_batch([b"", b""])
    source = ListSource([thousand], [one], [], [thousand, thousand], [one])
    for _ in range(6):
        house.turn(source)
    assert source.asked == [500, 1, 500, 500, 1, 500]  # of 500 points a poll
    house.keeper.close(timeout=5)


def test_offsets_are_committed_after_the_pages_are_durable(house: House) -> None:
    house.assign(P)
    source = ListSource(poll())
    house.turn(source)
    house.turn(source)
    assert source.committed == []
    house.checkpoint(source)
    assert source.committed == [{P: 2}]
    assert house.store.heads[P].offset == 2


def test_nothing_is_written_or_committed_twice(house: House) -> None:
    house.assign(P)
    source = ListSource(poll())
    house.turn(source)
    for _ in range(3):
        house.checkpoint(source)
    assert source.committed == [{P: 2}]
    assert house.value("detector_checkpoints_total", outcome="written") == 1


def test_an_offset_that_the_group_refused_is_committed_with_the_next_checkpoint_even_if_no_record_comes(
    house: House,
) -> None:
    house.assign(P)
    source = ListSource(poll())
    house.turn(source)
    house.checkpoint(source)
    source.refusals = {P: 2}  # as in a rebalance
    house.turn(source)
    assert source.committed == [{P: 2}]  # not at once: the rebalance may go on
    house.checkpoint(source)
    assert source.committed == [{P: 2}] * 2
    house.checkpoint(source)
    assert source.committed == [{P: 2}] * 2


def test_an_offset_that_was_refused_is_not_committed_over_a_later_one_nor_for_a_partition_that_is_anothers(
    house: House,
) -> None:
    house.assign(P, Q)
    source = ListSource(poll(), poll(partition=Q))
    for _ in range(2):
        house.turn(source)
    house.checkpoint(source)
    source.polls = [poll(2)]
    house.turn(source)
    house.checkpoint(source)
    house.loop.revoked([Q])
    source.refusals = {P: 2, Q: 2}
    house.checkpoint(source)
    assert source.committed == [{P: 2, Q: 2}, {P: 4}]


def test_an_offset_that_was_refused_is_committed_by_the_last_checkpoint(
    house: House,
) -> None:
    house.assign(P)
    source = ListSource(poll())
    house.turn(source)
    house.checkpoint(source)
    source.refusals = {P: 2}
    house.loop.checkpoint(source, deadline=5)
    assert source.committed == [{P: 2}] * 2


def test_points_are_scored_while_a_checkpoint_is_written(house: House) -> None:
    house.assign(P)
    house.store.gate.clear()
    source = ListSource(poll(), poll(2), poll(4))
    house.clock.now += 11
    house.turn(source)
    house.clock.now += 11
    house.turn(source)
    house.turn(source)
    assert house.value("detector_scored_total") == 6
    assert source.committed == []
    house.store.gate.set()
    house.wait()
    house.turn(source)
    assert source.committed == [{P: 2}]


def test_a_store_that_fails_commits_nothing_and_scoring_goes_on(house: House) -> None:
    house.assign(P)
    house.store.failing = True
    source = ListSource(poll(), [], [], poll(2))
    house.turn(source)
    house.checkpoint(source)
    assert source.committed == []
    assert "no space" in house.loop.vitals.store_fault
    assert house.value("detector_checkpoints_total", outcome="failed") == 1
    house.turn(source)
    assert house.value("detector_scored_total") == 4
    assert house.loop.checkpoint_age() == 11
    house.store.failing = False
    house.checkpoint(source)
    assert source.committed == [{P: 4}]
    assert house.loop.vitals.store_fault == ""
    assert {n for p in house.store.pages[P].values() for n in p.names} == {"a", "b"}
    assert house.loop.checkpoint_age() == 0


def test_a_store_that_can_not_be_read_holds_its_partition_back_until_it_can(
    house: House,
) -> None:
    house.store.failing = True
    assert house.assign(P) == []
    assert not house.loop.vitals.ready
    assert "no space" in house.loop.vitals.restore_fault
    house.store.failing = False
    source = ListSource()
    house.clock.now += 2
    house.turn(source)
    house.wait()
    house.turn(source)
    assert source.started == [(P, 0)]
    assert house.loop.vitals.ready
    assert house.loop.vitals.restore_fault == ""


def test_records_of_an_evicted_stream_wait_until_its_page_can_be_read(
    house: House,
) -> None:
    house.stop.set()  # the pause between tries ends at once
    house.assign(P)
    names = [f"s{i}" for i in range(PAGE)]
    source = ListSource([raw_points(names, [60.0] * PAGE, [[1, 1]] * PAGE)])
    house.turn(source)
    for _ in range(2):
        house.clock.now += 100  # more than the stream may be silent
        house.checkpoint(source)
    assert house.value("detector_streams_evicted") == PAGE
    house.store.failing = True
    point = [raw_points(["s3"], [120.0], [[1, 1]], first=PAGE)]
    source.polls = [point, point]
    house.turn(source)
    assert source.sought == [(P, PAGE)]
    assert "no space" in house.loop.vitals.restore_fault
    assert house.value("detector_scored_total") == PAGE
    house.store.failing = False
    house.turn(source)
    assert house.value("detector_scored_total") == PAGE + 1
    assert house.value("detector_streams") == 1
    assert house.loop.vitals.restore_fault == ""


def test_a_revoked_partition_is_written_and_comes_back_where_it_was(
    house: House,
) -> None:
    house.assign(P)
    house.turn(ListSource(poll()))
    assert house.loop.revoked([P]) == {P: 2}
    assert not house.loop.vitals.ready
    assert house.value("detector_streams") == 0
    assert house.assign(P) == [(P, 2)]
    assert house.value("detector_streams") == 2


def test_a_partition_revoked_while_its_pages_are_read_is_not_started(
    house: House,
) -> None:
    house.loop.assigned([P])
    house.loop.revoked([P])
    house.wait()
    source = ListSource()
    house.turn(source)
    assert source.started == []


def test_a_lost_partition_is_dropped_without_writing(house: House) -> None:
    house.assign(P)
    house.turn(ListSource(poll()))
    house.loop.lost([P])
    assert house.store.heads == {}
    assert house.assign(P) == [(P, 0)]


def test_records_that_retention_has_taken_are_counted_and_states_are_kept(
    house: House,
) -> None:
    house.assign(P)
    house.turn(ListSource(poll()))
    house.loop.revoked([P])
    assert house.assign(P, log=(50, 1000)) == [(P, 50)]
    assert house.value("detector_lost_records_total") == 48
    assert house.value("detector_streams") == 2
    house.turn(ListSource(poll(50)))
    assert house.value("detector_scored_total") == 4


def test_a_topic_that_was_made_anew_is_read_from_its_start_with_the_states_it_had(
    house: House,
) -> None:
    house.assign(P)
    house.turn(ListSource(poll(500)))
    house.loop.revoked([P])
    assert house.assign(P, log=(0, 4)) == [(P, 0)]
    house.turn(ListSource([raw_points(["a", "b"], [900.0, 900.0], [[1, 1], [2, 2]])]))
    assert house.value("detector_scored_total") == 4
    assert house.loop.revoked([P]) == {P: 2}
    assert house.assign(P, log=(0, 4)) == [(P, 2)]


def test_records_fetched_before_an_assignment_changed_are_read_again(
    house: House,
) -> None:
    house.assign(P)
    source = ListSource(poll(), poll(2))
    house.turn(source)
    source.during_poll = [lambda: house.loop.assigned([Q])]
    house.turn(source)
    assert house.value("detector_scored_total") == 2
    assert source.sought == [(P, 2)]


def test_a_broker_fault_is_retried(house: House) -> None:
    house.assign(P)
    house.stop.set()  # the pause between tries ends at once
    source = ListSource(Transient("gone"), poll())
    house.turn(source)
    assert house.loop.vitals.source_fault == "gone"
    house.turn(source)
    assert house.loop.vitals.source_fault == ""
    assert house.value("detector_scored_total") == 2
    assert house.value("detector_source_errors_total") == 1


def test_the_last_checkpoint_is_durable_and_committed_when_it_returns(
    house: House,
) -> None:
    house.assign(P)
    source = ListSource(poll())
    house.turn(source)
    house.loop.checkpoint(source, deadline=10)
    assert source.committed == [{P: 2}]
    assert house.value("detector_lag_records") == 98


def test_a_store_that_hangs_does_not_keep_a_stop_from_ending(house: House) -> None:
    house.assign(P)
    house.store.gate.clear()
    source = ListSource(poll())
    house.turn(source)
    house.loop.checkpoint(source, deadline=0.05)
    assert source.committed == []
    house.store.gate.set()


def test_an_error_that_nobody_foresaw_ends_the_loop_and_nothing_more_is_written(
    house: House,
) -> None:
    house.assign(P)
    house.turn(ListSource(poll()))
    with pytest.raises(ZeroDivisionError):
        house.loop.run(ListSource(ZeroDivisionError()), house.stop)
    assert house.loop.revoked([P]) == {}
    assert house.store.heads == {}
