"""A bundle that comes back, and a store that is lost, cost no state that the log holds.

The states are those of a run that nothing happened to, and nothing is told twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.events import Alert, Partition
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.store_thread import StoreWorker
from tests.fakes import (
    FakeClock,
    MemoryRecord,
    MemorySource,
    MemoryStore,
    MemoryTopic,
    PipelineRecorder,
    fake_bundle,
)

P = Partition("metrics", 0)
STREAMS = 5
TICKS = 80
FAULT = 30.0
# points at once: the committed offsets are within a poll of the whole log
POLL = 37
States = dict[str, tuple[list[float], float]]


def records() -> list[MemoryRecord]:
    """A point a minute of each stream, with a fault every 25 of them."""
    rng = np.random.default_rng(9)
    found = []
    for tick in range(TICKS):
        for stream in range(STREAMS):
            is_faulty = (tick + 5 * stream) % 25 in (10, 11, 12)
            cpu = rng.normal() + FAULT * is_faulty
            point = {"timestamp": 60.0 * tick + 1e9, "cpu": cpu, "mem": 0.0}
            value = json.dumps(point).encode()
            found.append(MemoryRecord(b"s%d" % stream, value, 0))
    return found


RECORDS = records()


class World:
    """The log, the store and the receiver, which outlive daemons."""

    def __init__(self) -> None:
        self.topic = MemoryTopic("metrics", [[]])
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.alerts: list[Alert] = []

    def produce(self, upto: int) -> None:
        log = self.topic.logs[0]
        log += RECORDS[len(log) : upto]


class Life:
    """A daemon from its start to a stop or a kill."""

    def __init__(
        self, world: World, bundle: Bundle, warm_up: int = len(RECORDS)
    ) -> None:
        self.world = world
        self.metrics = Metrics()
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=0, min_gap=0),
            observer=PipelineRecorder(alerts=world.alerts),
            metrics=self.metrics,
        )
        self.worker = StoreWorker(world.store)
        self.loop = build_loop(
            self.pipeline,
            feature_decoder(FORMATS["json"], bundle.feature_names).decode,
            self.worker,
            self.metrics,
            world.clock,
            LoopSettings(POLL, CheckpointSchedule(interval=10), warm_up=warm_up),
        )
        world.topic.member = None
        self.source = MemorySource(world.topic, self.loop.partitions)

    def turn(self) -> None:
        self.world.clock.now += 1
        self.worker.submit(lambda store: None).result(timeout=10)
        self.loop.turn(self.source, threading.Event())

    def read(self, upto: int) -> None:
        """Turn after turn until all records before ``upto`` are applied."""
        self.world.produce(upto)
        for _ in range(10 * len(RECORDS)):
            if self.pipeline.pages.applied.get(P) == upto:
                return
            self.turn()
        raise AssertionError(f"not read to {upto}: {self.pipeline.pages.applied}")

    def stop(self) -> None:
        self.loop.finish(self.source, timeout=10)
        self.worker.close(timeout=10)

    def kill(self) -> None:
        self.worker.close(timeout=10)

    def states(self) -> States:
        table = self.pipeline.table
        return {
            name: (table.states[slot].tolist(), float(table.times[slot]))
            for slot, name in enumerate(table.names)
            if name
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(Path(tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(Path(tmp_path_factory.mktemp("another")), warm_up=4)


@pytest.fixture(scope="module")
def undisturbed(bundle: Bundle) -> tuple[States, list[Alert]]:
    world = World()
    life = Life(world, bundle)
    life.read(len(RECORDS))
    life.kill()
    assert len(world.alerts) > STREAMS
    return life.states(), world.alerts


def check_states(life: Life, expected: States) -> None:
    found = life.states()
    assert found.keys() == expected.keys()
    for name, (state, time) in expected.items():
        np.testing.assert_allclose(found[name][0], state, atol=1e-5)
        assert found[name][1] == time


def once(alerts: Sequence[Alert]) -> bool:
    """Whether no notification is there twice."""
    told = [(alert.stream, alert.starts_at, alert.reason) for alert in alerts]
    return len(told) == len(set(told))


@pytest.mark.parametrize("kills", [0, 2])
def test_a_lost_store_costs_no_state_that_the_log_holds(
    bundle: Bundle, undisturbed: tuple[States, list[Alert]], kills: int
) -> None:
    world = World()
    life = Life(world, bundle)
    life.read(200)
    life.stop()
    world.store = MemoryStore()
    told = len(world.alerts)
    for _ in range(kills):  # in the middle of the warm-up
        life = Life(world, bundle)
        for _ in range(4):
            life.turn()
        assert not life.pipeline.table.partitions()
        life.kill()
    life = Life(world, bundle)
    life.read(200)
    assert len(world.alerts) == told
    assert life.value("detector_warm_up_records_total") == 200
    assert life.value("detector_scored_total") == 0
    assert life.value("detector_state_resets_total", cause="no_checkpoint") == 1
    life.read(len(RECORDS))
    life.kill()
    check_states(life, undisturbed[0])
    assert once(world.alerts)


def test_going_back_finds_the_states_of_before_and_what_they_missed(
    bundle: Bundle, another: Bundle, undisturbed: tuple[States, list[Alert]]
) -> None:
    world = World()
    life = Life(world, bundle)
    life.read(150)
    life.stop()
    life = Life(world, another)
    life.read(300)
    life.stop()
    told = len(world.alerts)
    # it has states of its own: less is read again than a bundle without any would read
    life = Life(world, bundle)
    life.read(300)
    assert life.value("detector_warm_up_records_total") == 150
    assert len(world.alerts) == told
    life.read(len(RECORDS))
    life.kill()
    check_states(life, undisturbed[0])
    assert once(world.alerts)


def test_a_new_bundle_warms_up_from_what_the_log_holds(
    bundle: Bundle, another: Bundle
) -> None:
    world = World()
    life = Life(world, bundle)
    life.read(300)
    life.stop()
    life = Life(world, another, warm_up=100)
    life.read(len(RECORDS))
    life.kill()
    assert life.value("detector_warm_up_records_total") == 100
    whole = World()
    alone = Life(whole, another)
    alone.read(len(RECORDS))
    alone.kill()
    # the network forgets: twenty points each, and twenty more, are nearly all
    for name, (state, _) in alone.states().items():
        np.testing.assert_allclose(life.states()[name][0], state, atol=0.5)


@pytest.mark.parametrize("warm_up", [0, 20, len(RECORDS)])
def test_no_incident_stays_open_at_a_receiver_once_the_store_is_lost(
    bundle: Bundle, warm_up: int
) -> None:
    """Not even if nothing of the log can be learned from."""
    for upto in range(130, 260, 10):
        world = World()
        life = Life(world, bundle)
        life.read(upto)
        life.stop()
        began = {(a.stream, a.starts_at) for a in world.alerts if a.firing}
        ended = {(a.stream, a.starts_at) for a in world.alerts if not a.firing}
        waiting = began - ended
        world.store = MemoryStore()
        life = Life(world, bundle, warm_up)
        life.read(len(RECORDS) - 20)
        life.kill()
        ended = {(a.stream, a.starts_at) for a in world.alerts if not a.firing}
        assert waiting <= ended
        goes_on = life.value("detector_recovered_incidents_total", outcome="goes_on")
        lost = life.value("detector_recovered_incidents_total", outcome="ended")
        assert goes_on is not None
        assert lost is not None
        assert goes_on + lost == len(waiting)
        if warm_up == len(RECORDS):
            assert lost == 0


def test_without_a_warm_up_a_partition_goes_on_at_once(bundle: Bundle) -> None:
    world = World()
    life = Life(world, bundle)
    life.read(200)
    life.stop()
    world.store = MemoryStore()
    life = Life(world, bundle, warm_up=0)
    life.read(205)
    life.kill()
    assert life.value("detector_warm_up_records_total") == 0
    assert life.value("detector_scored_total") == 5


def test_incidents_go_on_through_two_changes_of_the_bundle(
    bundle: Bundle, another: Bundle
) -> None:
    """Whatever the networks make of it: who was told a beginning is told its end."""
    world = World()
    for i, upto in enumerate(range(40, len(RECORDS) + 1, 40)):
        life = Life(world, another if i % 2 else bundle)
        life.read(upto)
        life.stop()
    open_at_the_end = {
        (life.pipeline.table.names[slot], float(row["onset"]))
        for slot, row in enumerate(life.pipeline.table.decisions)
        if row["phase"] == 3 and life.pipeline.table.names[slot]
    }
    began = {(a.stream, a.starts_at) for a in world.alerts if a.firing}
    ended = {(a.stream, a.starts_at) for a in world.alerts if not a.firing}
    assert began - ended == open_at_the_end
    assert ended <= began
    assert once(world.alerts)


def test_going_back_from_other_features_finds_the_states_of_before(
    bundle: Bundle,
    tmp_path: Path,
    undisturbed: tuple[States, list[Alert]],
) -> None:
    """The incidents of before have ended, so none is told a second time."""
    world = World()
    life = Life(world, bundle)
    life.read(180)
    life.stop()
    life = Life(world, fake_bundle(tmp_path / "other", ("cpu", "disk")))
    life.read(300)
    life.stop()
    life = Life(world, bundle)
    life.read(len(RECORDS))
    life.kill()
    assert life.value("detector_warm_up_records_total") == 120
    check_states(life, undisturbed[0])
