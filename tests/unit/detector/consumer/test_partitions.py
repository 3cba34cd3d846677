"""Partitions start where their states say, and states are never skipped silently."""

from __future__ import annotations

import msgspec
import pytest

from detector.errors import ResetCause
from detector.ports import Committed
from detector.state.row_memory import PAGE
from tests.fakes import raw_points
from tests.unit.detector.consumer.rig import P, Q, Rig, ScriptedSource, poll


def test_a_partition_starts_once_its_pages_are_read(
    rig: Rig,
) -> None:
    rig.partitions.assigned([P])
    assert not rig.health.ready
    assert rig.health.restoring == 1
    rig.wait()
    source = ScriptedSource()
    rig.turn(source)
    assert source.started == [(P, 0)]
    assert rig.health.ready
    assert rig.health.restoring == 0


def test_the_first_poll_after_a_start_is_processed(rig: Rig) -> None:
    rig.partitions.assigned([P])
    rig.wait()
    source = ScriptedSource(poll())
    rig.turn(source)
    assert rig.value("detector_scored_total") == 2
    assert source.seeks == []


def test_a_partition_waits_until_its_pages_are_readable(
    rig: Rig,
) -> None:
    rig.store.failing = True
    assert rig.assign(P) == []
    assert not rig.health.ready
    assert "no space" in rig.health.restore_fault
    rig.store.failing = False
    source = ScriptedSource()
    rig.clock.now += 2
    rig.turn(source)
    rig.wait()
    rig.turn(source)
    assert source.started == [(P, 0)]
    assert rig.health.ready
    assert rig.health.restore_fault == ""


def test_records_of_an_evicted_stream_wait_until_its_page_can_be_read(
    rig: Rig,
) -> None:
    rig.stop.set()  # the pause between tries ends at once
    rig.assign(P)
    names = [f"s{i}" for i in range(PAGE)]
    values = [[1.0, 1.0]] * PAGE
    first = raw_points(names, [60.0] * PAGE, values)
    # with a single point they would stay in memory
    second = raw_points(names, [120.0] * PAGE, values, first=PAGE)
    source = ScriptedSource([first], [second])
    for _ in range(2):
        rig.turn(source)
    for _ in range(2):
        rig.clock.now += 100  # more than the stream may be silent
        rig.checkpoint(source)
    assert rig.value("detector_streams_evicted") == PAGE
    rig.store.failing = True
    point = [raw_points(["s3"], [180.0], [[1, 1]], first=2 * PAGE)]
    source.polls = [point, point]
    rig.turn(source)
    assert source.seeks == [(P, 2 * PAGE)]
    assert "no space" in rig.health.restore_fault
    assert rig.value("detector_scored_total") == 2 * PAGE
    rig.store.failing = False
    rig.turn(source)
    assert rig.value("detector_scored_total") == 2 * PAGE + 1
    assert rig.value("detector_streams") == 1
    assert rig.health.restore_fault == ""


def test_a_revoked_partition_is_written_and_comes_back_where_it_was(
    rig: Rig,
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    assert rig.partitions.revoked([P]) == {P: Committed(2)}
    assert not rig.health.ready
    assert rig.value("detector_streams") == 0
    assert rig.assign(P) == [(P, 2)]
    assert rig.value("detector_streams") == 2


def test_a_partition_is_given_up_although_its_checkpoint_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    monkeypatch.setattr(rig.store, "heads", None)  # a fault of ours, not of the disk
    with pytest.raises(AttributeError):
        rig.partitions.revoked([P])
    assert rig.pipeline.table.partitions() == ()


def test_a_partition_revoked_while_its_pages_are_read_is_not_started(
    rig: Rig,
) -> None:
    rig.partitions.assigned([P])
    rig.partitions.revoked([P])
    rig.wait()
    source = ScriptedSource()
    rig.turn(source)
    assert source.started == []


def test_a_lost_partition_is_dropped_without_writing(rig: Rig) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.lost([P])
    assert rig.store.heads == {}
    assert rig.assign(P) == [(P, 0)]


def test_records_that_retention_took_are_counted(
    rig: Rig,
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.revoked([P])
    assert rig.assign(P, log=(50, 1000)) == [(P, 50)]
    assert rig.value("detector_lost_records_total") == 48
    assert rig.value("detector_streams") == 2
    rig.turn(ScriptedSource(poll(50)))
    assert rig.value("detector_scored_total") == 4


def test_a_recreated_topic_is_read_from_its_start_with_the_states_kept(
    rig: Rig,
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll(500)))
    rig.partitions.revoked([P])
    assert rig.assign(P, log=(0, 4)) == [(P, 0)]
    rig.turn(ScriptedSource([raw_points(["a", "b"], [900.0, 900.0], [[1, 1], [2, 2]])]))
    assert rig.value("detector_scored_total") == 4
    assert rig.partitions.revoked([P]) == {P: Committed(2)}
    assert rig.assign(P, log=(0, 4)) == [(P, 2)]


def resets(rig: Rig, cause: ResetCause) -> float | None:
    return rig.value("detector_state_resets_total", cause=cause.value)


def test_a_store_without_a_checkpoint_behind_a_group_offset_is_a_reset(
    rig: Rig,
) -> None:
    rig.assign(P, group_offset=40)
    assert resets(rig, ResetCause.NO_CHECKPOINT) == 1


def test_a_partition_that_the_group_never_read_is_no_reset(rig: Rig) -> None:
    rig.assign(P, group_offset=None)
    rig.assign(Q, group_offset=0)
    assert resets(rig, ResetCause.NO_CHECKPOINT) == 0


def test_a_restart_on_its_own_checkpoint_is_no_reset(rig: Rig) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.revoked([P])
    rig.assign(P, group_offset=2)
    assert [resets(rig, cause) for cause in ResetCause] == [0] * len(ResetCause)


@pytest.mark.parametrize(
    ("features", "cause"),
    [
        (("cpu", "mem"), ResetCause.TAKEN_OVER),
        (("cpu", "disk"), ResetCause.OTHER_BUNDLE),
    ],
)
def test_streams_of_another_bundle_are_counted_as_resets(
    rig: Rig, features: tuple[str, ...], cause: ResetCause
) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.revoked([P])
    head = rig.store.heads[P]
    assert head.features == ("cpu", "mem")
    rig.store.heads[P] = msgspec.structs.replace(
        head, bundle="another", features=features
    )
    rig.assign(P, group_offset=2)
    assert resets(rig, cause) == 2


def test_a_page_that_the_store_lost_is_a_reset(rig: Rig) -> None:
    rig.assign(P)
    rig.turn(ScriptedSource(poll()))
    rig.partitions.revoked([P])
    del rig.store.pages[P][0]
    assert rig.assign(P, group_offset=2) == [(P, 0)]
    assert resets(rig, ResetCause.PAGE_UNREADABLE) == 1
