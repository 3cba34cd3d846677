"""What a bundle in shadow keeps of streams that are no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from detector.state.limits import TableLimits
from tests.fakes import raw_points
from tests.unit.detector.consumer.rig import EVICT_AFTER, P, Rig, ScriptedSource
from tests.unit.detector.consumer.test_boundary import (
    begin_shadow,
    between_polls,
    configuration,
    feed,
    setup_of,
)

HOUR = 3600.0
EXPIRE_AFTER = HOUR / 6
PODS = 50


def pods(rig: Rig, generation: int, first: int) -> int:
    """New pods have three points each; the offset that follows."""
    names = [f"pod{generation}-{i}" for i in range(PODS)]
    pairs = [(1.0, 1.0)] * PODS
    for minute in range(3):
        times = [HOUR * generation + 60.0 * minute] * PODS
        raw = raw_points(names, times, pairs, first=first)
        rig.turn(ScriptedSource([raw]))
        first += PODS
    return first


def test_names_that_come_and_go_do_not_pile_up_in_the_shadow(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    limits = TableLimits(expire_after=EXPIRE_AFTER)
    wanted = configuration(replace(rig.pipeline.parts.setup, limits=limits))
    between_polls(rig, lambda boundary: boundary.put_in_force(wanted)).result(0)
    begin_shadow(rig, replace(setup_of(tmp_path / "newer"), limits=limits))
    shadow = rig.beside.shadow
    assert shadow is not None
    end = 0
    for generation in range(1, 6):
        end = pods(rig, generation, end)
        rig.clock.now += EVICT_AFTER + 1
        rig.checkpoint(ScriptedSource())
    pods(rig, 6, end)
    assert rig.beside.fault == ""
    assert shadow.streams <= 2 * PODS
    report = shadow.comparison.report()
    assert report.streams == shadow.streams


def test_a_silent_stream_that_has_not_expired_stays_warm_in_the_shadow(
    rig: Rig, tmp_path: Path
) -> None:
    rig.assign(P)
    end = feed(rig, 0, 0, 0, 0)
    begin_shadow(rig, setup_of(tmp_path / "newer"))
    end = feed(rig, end, 0, 0, 0, 0, 0)
    shadow = rig.beside.shadow
    assert shadow is not None
    rig.clock.now += EVICT_AFTER + 1
    rig.turn(ScriptedSource())
    rig.clock.now += EVICT_AFTER + 1
    feed(rig, end, 0)
    assert shadow.streams == 1
    assert shadow.comparison.warm_share() == 1
