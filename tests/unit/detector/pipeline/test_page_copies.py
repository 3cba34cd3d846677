"""What a checkpoint takes along, and what a restored pipeline continues with."""

from __future__ import annotations

import numpy as np

from detector.consumer.checkpoints import make_durable
from detector.state.row_memory import PAGE
from tests.fakes import columns
from tests.unit.detector.pipeline.stage import (
    P,
    Stage,
)


def test_a_restored_pipeline_continues_with_the_same_scores(stage: Stage) -> None:
    rng = np.random.default_rng(1)
    values = (rng.normal(size=40) * 3).tolist()
    stage.feed(values[:25])
    again = stage.restored_from(stage.store())
    stage.feed(values[25:], first=25)
    again.feed(values[25:], first=25)
    later = {k: v for k, v in stage.recorder.scores.items() if k >= 25}
    assert again.recorder.scores == later
    assert again.recorder.phases == {k: stage.recorder.phases[k] for k in later}


def test_records_that_a_restored_page_contains_are_skipped(
    stage: Stage,
) -> None:
    stage.feed([1, 2, 3, 4])
    again = stage.restored_from(stage.store())
    again.feed([1, 2, 3, 4, 5])
    assert list(again.recorder.scores) == [4]
    assert again.value("detector_skipped_total") == 4
    assert again.value("detector_rejected_total", reason="late") == 0


def test_only_changed_pages_are_captured_again(stage: Stage) -> None:
    names = [f"s{i}" for i in range(PAGE + 1)]
    stage.pipeline.process([columns(names, [60.0] * len(names), [[1, 1]] * len(names))])
    first = stage.pipeline.pages.capture(P)
    assert first is not None
    assert [p.number for p in first.pages()] == [0, 1]
    stage.pipeline.process([columns(["s0"], [120.0], [[1, 1]], first=len(names))])
    second = stage.pipeline.pages.capture(P)
    assert second is not None
    assert [p.number for p in second.pages()] == [0]
    assert {number: stamp.offset for number, stamp in second.head.stamps.items()} == {
        0: PAGE + 2,
        1: PAGE + 1,
    }
    third = stage.pipeline.pages.capture(P)
    assert third is not None
    assert third.changed == ()


def test_pages_that_were_not_written_are_captured_again(stage: Stage) -> None:
    stage.feed([1])
    capture = stage.pipeline.pages.capture(P)
    assert capture is not None
    stage.pipeline.pages.uncaptured(capture)
    again = stage.pipeline.pages.capture(P)
    assert again is not None
    assert [p.number for p in again.pages()] == [0]


def test_a_partition_without_records_has_nothing_to_capture(stage: Stage) -> None:
    assert stage.pipeline.pages.capture(P) is None


def test_a_clean_page_counts_as_applied_after_each_restart(
    stage: Stage,
) -> None:
    names = [f"s{i}" for i in range(PAGE + 1)]  # s256 is alone on page 1
    stage.pipeline.process([columns(names, [60.0] * len(names), [[1, 1]] * len(names))])
    store = stage.store()
    offset = len(names)
    for restart in range(4):
        again = stage.restored_from(store)
        assert again.pipeline.pages.applied == {P: offset}
        again.pipeline.process(
            [columns(["s256"], [120.0 + restart], [[1, 1]], first=offset)]
        )
        offset += 1
        capture = again.pipeline.pages.capture(P)
        assert capture is not None
        assert [p.number for p in capture.pages()] == [1]
        make_durable(store, capture)


def test_undelivered_alerts_stay_in_their_page_until_settled(
    stage: Stage,
) -> None:
    stage.feed([0, 0, 0, 0, 40, 40])
    store = stage.store()
    assert [(w.alert, w.pending_receivers) for w in store.pages[P][0].alerts] == [
        (a, ("hook",)) for a in stage.recorder.alerts
    ]
    again = stage.restored_from(store)
    attempt = again.outbox.take("hook", timeout=0)
    assert attempt is not None
    assert attempt.post.alerts == (stage.recorder.alerts[0],)
    again.outbox.settle(attempt)
    capture = again.pipeline.pages.capture(P)
    assert capture is not None
    assert [p.alerts for p in capture.pages()] == [()]


def test_a_revoked_partition_takes_its_notifications_along(
    stage: Stage,
) -> None:
    stage.feed([0, 0, 0, 0, 40, 40])
    stage.pipeline.revoke(P)
    assert stage.pipeline.pages.applied == {}
    assert stage.value("detector_streams") == 0
    assert len(stage.outbox) == 0


def test_open_incidents_are_counted_after_a_restart(stage: Stage) -> None:
    stage.feed([0, 0, 0, 0, 40, 40])
    again = stage.restored_from(stage.store())
    assert again.value("detector_streams_firing") == 1
    again.feed([4] * 8, first=6)
    assert again.value("detector_streams_firing") == 0
    again.pipeline.revoke(P)
    assert again.value("detector_streams_firing") == 0
