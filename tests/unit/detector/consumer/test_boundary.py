"""Another bundle comes in force between two polls, whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest

from detector.alerting.policy import AlertTuning
from detector.consumer.boundary import Boundary, Configuration, Exchanged
from detector.consumer.checkpoints import CheckpointSchedule
from detector.errors import ConfigError, StoreError
from detector.events import ENDS, Phase, RawBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.parts import BundleParts, Setup
from detector.pipeline.shadow import Shadow
from detector.recovery.snapshot import Head
from tests.fakes import fake_bundle, raw_points
from tests.unit.detector.consumer.rig import (
    EVICT_AFTER,
    INTERVAL,
    MAX_POINTS,
    P,
    Rig,
    ScriptedSource,
)

_T = TypeVar("_T")
WARM_UP = 3  # points


def setup_of(
    path: Path, features: tuple[str, ...] = ("cpu", "mem"), budget: float = 1.0
) -> Setup:
    """A bundle that is not the rig's: it warms up for another number of points."""
    bundle = fake_bundle(path, features, warm_up=WARM_UP + 1)
    tuning = AlertTuning(false_alarms_per_week=budget)
    return Setup(bundle, OnnxEngine(bundle), tuning)


def configuration(setup: Setup) -> Configuration:
    decoder = feature_decoder(FORMATS["json"], setup.bundle.feature_names)
    schedule = CheckpointSchedule(INTERVAL, EVICT_AFTER)
    return Configuration(setup, decoder.decode, MAX_POINTS, schedule)


def points(first: int, *values: float) -> list[RawBatch]:
    """A poll of one stream, one value a minute, from offset ``first`` on."""
    count = len(values)
    times = [60.0 * (first + i + 1) for i in range(count)]
    pairs = [(value, value) for value in values]
    return [raw_points(["a"] * count, times, pairs, first=first)]


def between_polls(rig: Rig, job: Callable[[Boundary], _T]) -> Future[_T]:
    """Let a job wait for the moment between two polls, and have that moment."""
    boundary = rig.loop.boundary
    future = boundary.changes.submit(lambda: job(boundary))
    assert not future.done()
    rig.turn(ScriptedSource())
    return future


def feed(rig: Rig, first: int, *values: float) -> int:
    if values:
        rig.turn(ScriptedSource(points(first, *values)))
    return first + len(values)


def exchange(rig: Rig, setup: Setup) -> Future[Exchanged]:
    wanted = configuration(setup)
    return between_polls(rig, lambda boundary: boundary.put_in_force(wanted))


def phase(rig: Rig) -> Phase:
    slot = rig.pipeline.table.slot_of(P, "a")
    assert slot is not None
    return Phase(int(rig.pipeline.table.decisions["phase"][slot]))


def firings(rig: Rig) -> list[str]:
    return [alert.reason.label for alert in rig.alerts.alerts]


def test_each_record_is_scored_by_one_bundle_and_by_one_alone(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    found = exchange(rig, setup_of(tmp_path / "newer")).result(0)
    assert (found.streams, found.cold) == (1, 1)
    feed(rig, end, 0, 0)
    assert sorted(rig.alerts.scores) == list(range(6))
    assert rig.value("detector_scored_total") == 6
    assert rig.pipeline.pages.applied == {P: 6}
    assert phase(rig) is Phase.WARMING


def test_the_new_bundle_is_durable_before_it_scores(rig: Rig, tmp_path: Path) -> None:
    rig.assign(P)
    feed(rig, 0, 0, 0)
    newer = setup_of(tmp_path / "newer")
    exchange(rig, newer).result(0)
    head = rig.store.heads[P]
    assert (head.bundle, head.offset) == (newer.bundle.digest, 2)
    assert {page.bundle for page in rig.store.pages[P].values()} == {head.bundle}


def test_an_open_incident_goes_on_and_ends_once(rig: Rig, tmp_path: Path) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0, 90, 90)
    assert firings(rig) == ["fired"]
    exchange(rig, setup_of(tmp_path / "newer")).result(0)
    feed(rig, end, *[0.0] * 120)
    fired, ended = rig.alerts.alerts
    assert ended.reason in ENDS
    assert ended.starts_at == fired.starts_at


def known(rig: Rig) -> list[tuple[float, str]]:
    """What receivers know of the incidents that were told."""
    return [(alert.starts_at, alert.reason.label) for alert in rig.alerts.alerts]


@pytest.mark.parametrize("killed_after", [0, 1, 5, 40, 63])
def test_a_kill_after_the_exchange_tells_what_would_have_been_told(
    tmp_path: Path, killed_after: int
) -> None:
    newer = setup_of(tmp_path / "newer")
    later = [*[0.0] * 60, 90.0, 90.0, 90.0]
    rigs = [Rig(tmp_path / name) for name in ("straight", "killed")]
    for rig, count in zip(rigs, (len(later), killed_after), strict=True):
        rig.assign(P)
        end = feed(rig, 0, 0, 0, 0, 0, 90, 90)
        exchange(rig, newer).result(0)
        rig.alerts.alerts.clear()
        feed(rig, end, *later[:count])
    straight, killed = rigs
    again = Rig(tmp_path / "again", bundle=newer.bundle, store=killed.store)
    assert again.assign(P) == [(P, end)]
    feed(again, end, *later)
    assert known(again) == known(straight)
    assert known(killed) == known(straight)[: len(known(killed))]
    assert len(known(straight)) == 2
    for rig in (*rigs, again):
        rig.close()


@pytest.mark.parametrize("fault", ["failing", "hanging"])
def test_a_store_that_does_not_take_it_leaves_the_old_bundle_in_force(
    rig: Rig, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.consumer.boundary.STORE_TIMEOUT", 0.05)
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    rig.checkpoint(ScriptedSource())
    if fault == "failing":
        rig.store.failing = True
    else:
        rig.store.gate.clear()
    with pytest.raises(StoreError):
        exchange(rig, setup_of(tmp_path / "newer")).result(0)
    rig.store.failing = False
    rig.store.gate.set()
    rig.wait()
    assert phase(rig) is Phase.OK
    rig.checkpoint(ScriptedSource())  # what the other wrote does not count
    assert rig.store.heads[P].bundle == rig.bundle.digest
    feed(rig, end, 0, 0)
    rig.checkpoint(ScriptedSource())
    assert rig.store.heads[P].offset == 6
    assert {page.bundle for page in rig.store.pages[P].values()} == {rig.bundle.digest}
    assert sorted(rig.alerts.scores) == list(range(6))


def test_a_shadow_that_cant_be_put_in_force_goes_on(rig: Rig, tmp_path: Path) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0)
    begin_shadow(rig, setup_of(tmp_path / "newer"))
    shadow = rig.beside.shadow
    rig.store.failing = True
    with pytest.raises(StoreError):
        promote(rig)
    rig.store.failing = False
    assert rig.beside.shadow is shadow
    feed(rig, end, 0)
    assert rig.beside.fault == ""


def test_a_partition_that_comes_back_is_the_new_bundle_s(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0)
    exchange(rig, setup_of(tmp_path / "newer")).result(0)
    end = feed(rig, end, 0, 0, 0, 0, 0)
    rig.partitions.revoked([P])
    assert rig.assign(P) == [(P, end)]
    assert rig.value("detector_state_resets_total", cause="taken_over") == 0
    assert phase(rig) is Phase.OK


def test_a_bundle_of_other_features_is_refused(rig: Rig, tmp_path: Path) -> None:
    other = setup_of(tmp_path / "other", ("disk", "swap"))
    with pytest.raises(ConfigError, match="so its streams are others: restart"):
        exchange(rig, other).result(0)
    assert rig.pipeline.parts.setup.bundle.digest == rig.bundle.digest


def test_another_budget_moves_the_threshold_and_keeps_the_states(rig: Rig) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    before = rig.pipeline.parts.setup
    tuning = AlertTuning(false_alarms_per_week=0.1)
    wanted = configuration(Setup(before.bundle, before.engine, tuning))
    between_polls(rig, lambda boundary: boundary.put_in_force(wanted)).result(0)
    assert phase(rig) is Phase.OK
    feed(rig, end, 0)
    thresholds = rig.alerts.thresholds
    assert thresholds[4] > thresholds[3]


def evict(rig: Rig) -> list[str]:
    """Let a page of streams leave memory; their names."""
    names = [f"s{i}" for i in range(256)]
    values = [(1.0, 1.0)] * len(names)
    for i in range(2):
        times = [60.0 * (i + 1)] * len(names)
        first = i * len(names)
        rig.turn(ScriptedSource([raw_points(names, times, values, first=first)]))
    rig.clock.now += EVICT_AFTER + 1
    rig.checkpoint(ScriptedSource())
    assert rig.pipeline.table.streams == 0
    return names


def test_streams_in_the_store_alone_come_along_and_stay_there(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    names = evict(rig)
    found = exchange(rig, setup_of(tmp_path / "newer")).result(0)
    assert found.streams == len(names)
    assert rig.value("detector_streams") == 0
    assert rig.value("detector_streams_evicted") == len(names)
    again = raw_points(names, [180.0] * len(names), [(1.0, 1.0)] * 256, first=512)
    rig.turn(ScriptedSource([again]))
    assert rig.value("detector_streams") == len(names)
    table = rig.pipeline.table
    # they are no newcomers: their times and ticks came along
    assert rig.value("detector_streams_new") == 0
    assert table.decisions["tick"][table.slot_of(P, names[0])] == 60
    assert rig.value("detector_state_resets_total", cause="page_gone") == 0


def test_streams_in_the_store_alone_survive_an_exchange_that_fails(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.assign(P)
    names = evict(rig)
    with monkeypatch.context() as broken:
        broken.setattr(rig.store, "write_head", _refuse)
        with pytest.raises(StoreError):
            exchange(rig, setup_of(tmp_path / "newer")).result(0)
    feed(rig, 512, 0, 0)
    rig.checkpoint(ScriptedSource())
    assert rig.store.heads[P].bundle == rig.bundle.digest
    again = Rig(tmp_path / "again", bundle=rig.bundle, store=rig.store)
    again.assign(P)
    assert again.value("detector_streams_evicted") == len(names)
    again.close()


def test_a_store_that_hangs_holds_the_loop_up_for_a_bounded_time(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.consumer.boundary.STORE_TIMEOUT", 0.05)
    rig.assign(P)
    evict(rig)
    rig.store.gate.clear()
    # a loop that waited for the store would have its bundle by then
    opens = threading.Timer(3.0, rig.store.gate.set)
    opens.start()
    with pytest.raises(StoreError, match="the store hangs"):
        exchange(rig, setup_of(tmp_path / "newer")).result(0)
    assert not rig.store.gate.is_set()
    opens.cancel()
    rig.store.gate.set()


def _refuse(head: Head) -> None:
    raise StoreError("the disk is full")


def test_the_way_back_finds_idle_streams_in_shadow_too(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    names = evict(rig)
    newer = setup_of(tmp_path / "newer")
    begin_shadow(rig, newer)
    promote(rig)
    again = raw_points(names, [180.0] * len(names), [(1.0, 1.0)] * 256, first=512)
    rig.turn(ScriptedSource([again]))
    assert rig.beside.fault == ""
    promote(rig)
    assert rig.pipeline.parts.setup.bundle.digest == rig.bundle.digest
    assert rig.value("detector_streams") == len(names)


def test_a_change_that_is_withdrawn_is_not_made(rig: Rig, tmp_path: Path) -> None:
    wanted = configuration(setup_of(tmp_path / "newer"))
    boundary = rig.loop.boundary
    future = boundary.changes.submit(lambda: boundary.put_in_force(wanted))
    assert future.cancel()
    rig.turn(ScriptedSource())
    assert rig.pipeline.parts.setup.bundle.digest == rig.bundle.digest


# -- shadow ----------------------------------------------------------------------------


def promote(rig: Rig) -> Exchanged:
    """Put the bundle in shadow in force."""
    assert rig.beside.shadow is not None
    return exchange(rig, rig.beside.shadow.setup).result(0)


def begin_shadow(rig: Rig, setup: Setup) -> int:
    return between_polls(rig, lambda boundary: boundary.shadow(setup)).result(0)


def test_the_shadow_s_alerts_are_counted_and_reach_nobody(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0)
    # it tells smaller deviations
    assert begin_shadow(rig, setup_of(tmp_path / "newer", budget=9.0)) == 1
    end = feed(rig, end, *[0.0] * 8)
    feed(rig, end, 2.4, 4.8)
    assert firings(rig) == []
    assert rig.value("detector_shadow_alerts_total", status="firing") == 1
    assert rig.value("detector_scored_total") == 12
    shadow = rig.beside.shadow
    assert shadow is not None
    report = shadow.comparison.report()
    assert (report.shadow.incidents, report.shadow.alone) == (1, 1)
    assert (report.live.incidents, report.live.alone) == (0, 0)
    assert [told.stream for told in report.shadow.told_alone] == ["a"]


def test_the_shadow_takes_over_warm_and_the_way_back_is_warm_too(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    newer = setup_of(tmp_path / "newer")
    begin_shadow(rig, newer)
    end = feed(rig, end, 0, 0, 0, 0, 0)
    found = promote(rig)
    assert (found.streams, found.cold) == (1, 0)
    assert rig.store.heads[P].bundle == newer.bundle.digest
    end = feed(rig, end, 0, 90, 90)
    assert firings(rig) == ["fired"]
    back = promote(rig)
    assert back.cold == 0
    assert rig.pipeline.parts.setup.bundle.digest == rig.bundle.digest
    # its incident is the one that receivers know
    feed(rig, end, *[0.0] * 120)
    fired, ended = rig.alerts.alerts
    assert ended.reason in ENDS
    assert ended.starts_at == fired.starts_at
    assert sorted(rig.alerts.scores) == list(range(end + 120))


def test_after_there_and_back_all_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    values = [[float(i * k % 7) / 7 for i in range(10)] for k in (1, 2, 3, 5)]
    rigs = [Rig(tmp_path / name) for name in ("straight", "there-and-back")]
    moved = rigs[1]
    newer = setup_of(tmp_path / "newer")
    steps: list[Callable[[], object]] = [
        lambda: begin_shadow(moved, newer),
        lambda: promote(moved),
        lambda: promote(moved),
        lambda: None,
    ]
    for rig in rigs:
        rig.assign(P)
    end = 0
    for step, some in zip(steps, values, strict=True):
        for rig in rigs:
            feed(rig, end, *some)
        end += len(some)
        step()
    back = range(30, 40)
    for of in ("scores", "thresholds", "phases"):
        found = [getattr(rig.alerts, of) for rig in rigs]
        assert [found[0][i] for i in back] == [found[1][i] for i in back]
    rows = [rig.pipeline.pages.rows(P)[0] for rig in rigs]
    assert rows[0].decisions.tobytes() == rows[1].decisions.tobytes()
    assert rows[0].states.tobytes() == rows[1].states.tobytes()
    for rig in rigs:
        rig.close()


def test_an_incident_that_only_the_shadow_found_is_told_after_it_is_promoted(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    begin_shadow(rig, setup_of(tmp_path / "newer", budget=9.0))
    end = feed(rig, end, *[0.0] * 8)
    end = feed(rig, end, 2.4, 4.8)
    assert firings(rig) == []
    promote(rig)
    assert phase(rig) is not Phase.FIRING
    feed(rig, end, 8.0, 11.0)
    assert firings(rig) == ["fired"]


def test_a_fault_of_the_shadow_ends_the_shadow_alone(rig: Rig, tmp_path: Path) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0)
    newer = setup_of(tmp_path / "newer")
    begin_shadow(rig, newer)
    broken = fake_bundle(tmp_path / "wide", ("cpu", "mem", "disk"))
    object.__setattr__(newer.engine, "_session", OnnxEngine(broken)._session)
    feed(rig, end, 0, 0)
    assert rig.beside.shadow is None
    assert rig.beside.fault
    assert rig.value("detector_shadow_running") == 0
    assert rig.value("detector_scored_total") == 4


def test_a_bundle_that_cant_stay_in_shadow_does_not_undo_the_exchange(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(shadow: Shadow, parts: BundleParts) -> None:
        raise MemoryError("no room")

    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0, 0)
    newer = setup_of(tmp_path / "newer")
    begin_shadow(rig, newer)
    monkeypatch.setattr(Shadow, "adopt", fail)
    promote(rig)
    assert rig.pipeline.parts.setup.bundle.digest == newer.bundle.digest
    assert rig.beside.shadow is None
    assert rig.beside.fault == "MemoryError: no room"
    feed(rig, end, 0)
    assert rig.value("detector_scored_total") == 5


def test_a_partition_that_moves_takes_its_streams_out_of_the_shadow(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    feed(rig, 0, 0, 0)
    begin_shadow(rig, setup_of(tmp_path / "newer"))
    shadow = rig.beside.shadow
    assert shadow is not None
    rig.partitions.revoked([P])
    assert shadow.streams == 0
    rig.assign(P)
    assert shadow.streams == 1
    feed(rig, 2, 0, 0)
    assert shadow.comparison.report().streams == 1
