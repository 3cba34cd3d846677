"""What is old, and when a backlog is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detector.events import RecordBatch
from detector.model.bundle import Bundle
from detector.pipeline.backlog_gate import BacklogGate
from detector.record_clock import ANY_TIME, RecordClock
from tests.fakes import columns
from tests.unit.detector.pipeline.stage import NEW, P, Q, Stage

NOW = 1_700_000_000.0
HOUR = 3600.0


def behind(limit: float = HOUR) -> BacklogGate:
    """Partition P, whose log held the offsets before 10."""
    gate = BacklogGate(limit, NOW)
    assert gate.begin(P, 3, 10)
    return gate


def batch(log_times: list[float], first: int = 3) -> RecordBatch:
    """Records with an event time of 60, one after the other."""
    count = len(log_times)
    flags = np.zeros(count, np.bool_)
    clock = RecordClock(ANY_TIME, np.array(log_times), flags, flags)
    made = columns(["a"] * count, [60.0] * count, [[0.0, 0.0]] * count, first=first)
    return replace(made, clock=clock)


def test_what_waited_in_the_log_for_longer_is_old() -> None:
    polled = batch([NOW - 2 * HOUR, NOW - 10])
    gate = behind()
    assert gate.is_old(polled, 3, NOW)
    assert not gate.is_old(polled, 4, 60.0), "an archive that was just produced"


def test_without_a_time_in_the_log_the_events_time_counts() -> None:
    gate = behind()
    for polled in (batch([np.nan]), replace(batch([0.0]), clock=None)):
        assert gate.is_old(polled, 3, NOW - 2 * HOUR)
        assert not gate.is_old(polled, 3, NOW - 10)


def test_a_point_that_was_held_is_as_old_as_what_is_read() -> None:
    """Its event was long ago in both, and it is in a batch without a clock."""
    held = replace(batch([0.0]), clock=None)
    gate = behind()
    gate.note(batch([NOW - 10, NOW - 10]))
    assert not gate.is_old(held, 3, 60.0)
    gate.note(batch([NOW - 10, NOW - 2 * HOUR]))
    assert gate.is_old(held, 3, 60.0)


def test_what_came_after_the_assignment_is_told_at_once() -> None:
    polled = batch([NOW - 2 * HOUR], first=10)
    assert not behind().is_old(polled, 10, 60.0)
    other = replace(batch([NOW - 2 * HOUR]), partition=Q)
    assert not behind().is_old(other, 3, 60.0)


def test_a_backlog_is_read_once() -> None:
    gate = behind()
    assert len(gate) == 1
    assert not gate.is_read(P, 9)
    assert gate.is_read(P, 12)
    assert not gate.is_read(P, 13)
    assert len(gate) == 0


@pytest.mark.parametrize(("applied", "log_end"), [(10, 10), (12, 10), (0, 0)])
def test_a_log_that_is_read_has_none(applied: int, log_end: int) -> None:
    assert not BacklogGate(HOUR, NOW).begin(P, applied, log_end)


def test_a_partition_that_is_given_up_has_none() -> None:
    gate = behind()
    gate.forget(P)
    assert not gate.is_old(batch([0.0]), 3, 60.0)
    assert not gate.is_read(P, 12)


def test_a_pipeline_sums_up_what_is_old(bundle: Bundle) -> None:
    """Incidents in event time 60 to 2,400, which is long ago."""
    stage = Stage(bundle)
    stage.pipeline.backlog.limit = HOUR
    stage.pipeline.backlog.now = NOW
    stage.pipeline.assign(P, NEW, backlog=range(0, 40))
    stage.feed([*[0.0] * 5, *[40.0] * 5, *[0.0] * 20, *[40.0] * 5])
    assert stage.outbox.take("hook", 0) is None
    assert stage.value("detector_backlog_alerts_total") >= 3
    assert len(stage.recorder.alerts) >= 3, "listed as ever"
    stage.feed([40.0] * 5, first=35)
    posts = []
    while (attempt := stage.outbox.take("hook", 0)) is not None:
        posts.append(attempt.post)
        stage.outbox.settle(attempt)
    assert sorted(post.sums_up for post in posts) == [False, True]
