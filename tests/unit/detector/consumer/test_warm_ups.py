"""Streams warm up beside partitions that go on, and never for long."""

from __future__ import annotations

from dataclasses import replace

from detector.consumer.boundary import Configuration
from detector.consumer.checkpoints import CheckpointSchedule
from detector.consumer.warm_ups import LONGEST
from detector.state.limits import TableLimits
from tests.fakes import raw_points
from tests.unit.detector.consumer.rig import (
    INTERVAL,
    MAX_POINTS,
    P,
    Q,
    Rig,
    ScriptedSource,
    poll,
)

COMMITTED = 4


def lost(rig: Rig) -> ScriptedSource:
    """P is assigned without a state, behind a committed offset."""
    rig.partitions.assigned([P])
    rig.wait()
    source = ScriptedSource()
    source.group_offset = COMMITTED
    rig.turn(source)
    assert source.started == [(P, 0)]
    return source


def test_a_partition_is_not_ready_before_its_streams_are_warm(rig: Rig) -> None:
    source = lost(rig)
    assert not rig.health.ready
    assert rig.health.restoring == 1
    source.polls = [poll(0), poll(2)]
    rig.turn(source)
    assert not rig.health.ready
    rig.turn(source)
    assert rig.health.ready
    assert source.seeks == [(P, COMMITTED)]
    assert rig.value("detector_warm_up_records_total") == 4
    assert rig.value("detector_scored_total") == 0
    assert rig.value("detector_streams") == 2


def test_what_was_polled_beyond_the_offset_is_read_again(rig: Rig) -> None:
    source = lost(rig)
    names = ["a", "b"] * 3
    times = [60.0 * (i // 2 + 1) for i in range(6)]
    source.polls = [[raw_points(names, times, [[1, 1]] * 6)]]
    rig.turn(source)
    assert rig.value("detector_warm_up_records_total") == COMMITTED
    assert source.seeks == [(P, COMMITTED)]
    source.polls = [[raw_points(names[4:], times[4:], [[1, 1]] * 2, first=4)]]
    rig.turn(source)
    assert rig.value("detector_scored_total") == 2
    assert rig.value("detector_skipped_total") == 0


def test_a_reload_reaches_the_streams_that_warm_up(rig: Rig) -> None:
    source = lost(rig)
    before = rig.pipeline.parts.setup
    limits = TableLimits(max_streams=1)
    setup = replace(before, limits=limits)
    configuration = Configuration(
        setup, rig.loop._poller._decode, MAX_POINTS, CheckpointSchedule(INTERVAL)
    )
    boundary = rig.loop.boundary
    boundary.changes.submit(lambda: boundary.put_in_force(configuration))
    rig.turn(source)
    silent = rig.partitions.warm_ups._pipeline
    assert silent is not None
    assert silent.parts.setup is setup


def test_the_other_partitions_go_on_meanwhile(rig: Rig) -> None:
    rig.assign(Q)
    source = lost(rig)
    source.polls = [[*poll(0), *poll(0, Q)]]
    rig.turn(source)
    assert rig.value("detector_scored_total") == 2
    assert rig.value("detector_warm_up_records_total") == 2


def test_a_warm_up_ends_after_a_while(rig: Rig) -> None:
    """The partition then goes on with what is learned so far."""
    source = lost(rig)
    source.polls = [poll(0)]
    rig.turn(source)
    rig.clock.now += LONGEST + 1
    rig.turn(source)
    assert rig.health.ready
    assert source.seeks == [(P, COMMITTED)]
    assert rig.value("detector_streams") == 2


def test_a_partition_that_is_revoked_meanwhile_is_written_nowhere(rig: Rig) -> None:
    source = lost(rig)
    source.polls = [poll(0)]
    rig.turn(source)
    assert rig.partitions.revoked([P]) == {}
    assert rig.store.heads == {}
    assert rig.health.restoring == 0
    source.polls = [poll(2)]
    rig.turn(source)
    assert rig.value("detector_warm_up_records_total") == 2


def test_records_of_a_warm_up_that_are_thrown_away_are_read_again(rig: Rig) -> None:
    source = lost(rig)
    source.polls = [poll(0), poll(2)]
    rig.turn(source)
    source.during_poll = lambda: rig.partitions.assigned([Q])
    rig.turn(source)
    assert source.seeks == [(P, 2)]


def test_another_bundle_meanwhile_begins_the_warm_up_again(rig: Rig) -> None:
    source = lost(rig)
    source.polls = [poll(0)]
    rig.turn(source)
    rig.partitions.read_for(rig.pipeline.parts.setup)
    rig.wait()
    rig.turn(source)
    assert source.started == [(P, 0), (P, 0)]
    source.polls = [poll(0), poll(2)]
    rig.turn(source)
    rig.turn(source)
    assert rig.health.ready
    assert rig.value("detector_streams") == 2


def test_the_next_checkpoint_writes_what_is_warm(rig: Rig) -> None:
    source = lost(rig)
    source.polls = [poll(0), poll(2)]
    rig.turn(source)
    rig.turn(source)
    rig.checkpoint(source)
    assert rig.store.heads[P].offset == COMMITTED
    assert rig.store.pages[P][0].names == ("a", "b")
    assert source.commits[-1] == {P: COMMITTED}
