"""One turn after another, whatever the broker does."""

from __future__ import annotations

import math

import pytest

from detector.errors import Transient
from tests.unit.detector.consumer.rig import P, Q, Rig, ScriptedSource, poll


def test_records_fetched_before_an_assignment_changed_are_read_again(
    rig: Rig,
) -> None:
    rig.assign(P)
    source = ScriptedSource(poll(), poll(2))
    rig.turn(source)
    source.during_poll = lambda: rig.partitions.assigned([Q])
    rig.turn(source)
    assert rig.value("detector_scored_total") == 2
    assert source.seeks == [(P, 2)]


def test_a_broker_fault_is_retried(rig: Rig) -> None:
    rig.assign(P)
    rig.stop.set()  # the pause between tries ends at once
    source = ScriptedSource(Transient("gone"), poll())
    rig.turn(source)
    assert rig.health.source_fault == "gone"
    rig.turn(source)
    assert rig.health.source_fault == ""
    assert rig.value("detector_scored_total") == 2
    assert rig.value("detector_source_errors_total") == 1


def test_an_unexpected_error_ends_the_loop_without_writing(
    rig: Rig,
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    with pytest.raises(ZeroDivisionError):
        rig.loop.run(ScriptedSource(ZeroDivisionError()), rig.stop)
    assert rig.partitions.revoked([P]) == {}
    assert rig.store.heads == {}


def test_a_partition_that_cant_be_read_is_a_fault_while_it_lasts(rig: Rig) -> None:
    source = ScriptedSource()
    source.held = "metrics/0 at offset 7: corrupt"
    rig.turn(source)
    assert rig.health.faults() == ("metrics/0 at offset 7: corrupt",)
    source.held = ""
    rig.turn(source)
    assert rig.health.faults() == ()


def test_the_lag_is_the_sum_over_partitions(rig: Rig) -> None:
    rig.assign(P, Q)
    source = ScriptedSource(poll(), poll(partition=Q))
    for _ in range(2):
        rig.turn(source)
    assert rig.value("detector_lag_records") == 98 + 7


def test_the_lag_is_unknown_while_nothing_is_assigned(rig: Rig) -> None:
    assert math.isnan(rig.value("detector_lag_records") or 0.0)
    rig.turn(ScriptedSource())
    assert math.isnan(rig.value("detector_lag_records") or 0.0)
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.lost([P])
    rig.turn(ScriptedSource())
    assert math.isnan(rig.value("detector_lag_records") or 0.0)
