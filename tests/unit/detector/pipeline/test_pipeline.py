"""From records to scores: what is scored, and what is left out and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.errors import RejectReason
from detector.events import (
    F64,
    I64,
    Partition,
    Phase,
    Reason,
    RecordBatch,
    RejectedRecord,
    Severity,
)
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.record_clock import ClockBounds, without_log
from detector.recovery.snapshot import Restored
from detector.state.limits import TableLimits
from detector.state.row_memory import PAGE
from tests.fakes import columns, fake_bundle, raw_batch
from tests.unit.detector.notify.alerts import fired
from tests.unit.detector.pipeline.stage import (
    NEW,
    BreakingEngine,
    P,
    Q,
    RecordingEngine,
    Stage,
)


def test_scores_are_the_graphs_with_the_state_carried_on(stage: Stage) -> None:
    stage.feed([2, 2, 2])
    # mean over two features of |x - running mean|
    assert list(stage.recorder.scores.values()) == pytest.approx([1.0, 0.9, 0.81])


def test_points_of_one_stream_in_one_poll_are_scored_in_order(
    bundle: Bundle,
) -> None:
    one = Stage(bundle)
    many = Stage(bundle)
    values = [float(v) for v in range(12)]
    one.feed(values)
    for i, value in enumerate(values):
        many.feed([value], first=i)
    assert one.recorder.scores == pytest.approx(many.recorder.scores)
    assert one.recorder.phases == many.recorder.phases


@pytest.mark.parametrize(
    ("second", "reason"), [(60.0, RejectReason.DUPLICATE), (59.0, RejectReason.LATE)]
)
def test_a_late_record_is_rejected(
    stage: Stage, second: float, reason: RejectReason
) -> None:
    stage.pipeline.process(
        [columns(["a", "a", "b", "a"], [60.0, second, 59.0, 120.0], [[1, 1]] * 4)]
    )
    assert sorted(stage.recorder.scores) == [0, 2, 3]
    assert stage.value("detector_rejected_total", reason=reason.value) == 1
    assert stage.value("detector_records_total") == 4
    assert stage.value("detector_scored_total") == 3
    (rejected,) = stage.recorder.rejects
    assert (rejected.offset, rejected.stream) == (1, "a")
    assert "60" in rejected.detail or "59" in rejected.detail


def test_a_new_stream_beyond_the_maximum_is_rejected(
    bundle: Bundle,
) -> None:
    stage = Stage(bundle, max_streams=PAGE)
    names = [f"s{i}" for i in range(PAGE)]
    for tick in (1, 2):
        times = [60.0 * tick] * PAGE
        poll = columns(names, times, [[1, 1]] * PAGE, first=tick * PAGE)
        stage.pipeline.process([poll])
    stage.pipeline.process(
        [columns(["s0", "new", "b"], [180.0] * 3, [[1, 1]] * 3, first=1000)]
    )
    assert stage.value("detector_rejected_total", reason="capacity") == 2
    assert stage.value("detector_scored_total") == 2 * PAGE + 1
    assert stage.value("detector_streams") == PAGE
    assert "DETECTOR_MODEL__MAX_STREAMS" in stage.recorder.rejects[0].detail


def test_records_that_the_decoder_rejected_are_counted_and_observed(
    stage: Stage,
) -> None:
    rejected = RejectedRecord(
        P, 1, RejectReason.MALFORMED, "it is not one JSON object", b"a", b"{"
    )
    stage.pipeline.process(
        [
            replace(
                columns(["a"], [60.0], [[1, 1]]),
                next_offset=2,
                rejected=[rejected],
                unknown_fields=3,
            )
        ]
    )
    assert stage.recorder.rejects == [rejected]
    assert stage.pipeline.pages.applied == {P: 2}
    assert stage.value("detector_records_total") == 2
    assert stage.value("detector_unknown_fields_total") == 3


def test_a_poll_of_bad_records_only_advances_the_offset(stage: Stage) -> None:
    bad = [RejectedRecord(P, k, RejectReason.EMPTY, "no value") for k in range(5)]
    stage.pipeline.process(
        [
            replace(
                columns([], [], np.empty((0, 2)).tolist()), next_offset=5, rejected=bad
            )
        ]
    )
    assert stage.pipeline.pages.applied == {P: 5}


def test_records_of_a_partition_that_is_not_owned_are_ignored(
    stage: Stage,
) -> None:
    stage.pipeline.process([columns(["a"], [60.0], [[1, 1]], partition=Q)])
    assert stage.value("detector_records_total") == 0
    assert Q not in stage.pipeline.pages.applied


def test_open_incidents_are_counted(stage: Stage) -> None:
    stage.feed([0, 0, 0, 0, 40, 40])
    assert stage.value("detector_streams_firing") == 1
    assert (
        stage.value("detector_alerts_total", status="firing", severity="critical") == 1
    )
    stage.feed([4] * 8, first=6)
    assert [a.reason for a in stage.recorder.alerts] == [Reason.FIRED, Reason.RECOVERED]
    assert stage.value("detector_streams_firing") == 0


def test_a_deviation_that_nobody_cares_about_is_no_incident(stage: Stage) -> None:
    usual = 100_000.0
    stage.feed([usual] * 250)
    stage.recorder.alerts.clear()
    stage.feed([usual + 100, usual + 100], first=250)
    assert stage.recorder.alerts == []
    assert stage.recorder.phases[251] == Phase.OK
    assert stage.value("detector_streams_firing") == 0
    stage.feed([usual + 900], first=252)
    assert [a.reason for a in stage.recorder.alerts] == [Reason.FIRED]
    assert stage.recorder.alerts[0].severity is Severity.WARNING


def test_a_stream_that_flaps_is_one_incident_with_a_count(stage: Stage) -> None:
    stage.feed([0.0] * 20 + [900.0, *[0.0] * 60] * 6)
    alerts = stage.recorder.alerts
    told = [a for a in alerts if a.firing and a.reason is not Reason.ESCALATED]
    assert [a.reason for a in told][3:] == [Reason.FIRED, *[Reason.RETURNED] * 2]
    assert [a.repeats for a in told] == [1, 2, 3, 4, 5, 6]
    assert {a.starts_at for a in told[3:]} == {told[3].starts_at}
    assert {a.repeats_since for a in told} == {told[0].starts_at}
    assert stage.value("detector_streams_firing") == 1
    by_severity = [
        stage.value("detector_alerts_total", status="returned", severity=severity)
        for severity in ("warning", "critical")
    ]
    assert sum(by_severity) == 2


def test_only_the_stream_whose_score_is_not_a_number_restarts(
    bundle: Bundle,
) -> None:
    stage = Stage(bundle, engine=BreakingEngine(bundle))
    stage.pipeline.process([columns(["a", "b"], [60.0, 60.0], [[1, 1], [1, 1]])])
    stage.pipeline.process(
        [columns(["a", "b"], [120.0, 120.0], [[666, 1], [1, 1]], first=2)]
    )
    stage.pipeline.process(
        [columns(["a", "b"], [180.0, 180.0], [[1, 1], [1, 1]], first=4)]
    )
    assert stage.value("detector_state_resets_total", cause="not_finite") == 1
    assert (stage.recorder.scores[4], stage.recorder.scores[5]) == pytest.approx(
        (1.0, 0.81)
    )
    stage.pipeline.process(
        [columns(["a", "b"], [240.0, 240.0], [[1, 1], [1, 1]], first=6)]
    )
    assert (stage.recorder.phases[6], stage.recorder.phases[7]) == (
        Phase.WARMING,
        Phase.OK,
    )


def test_an_incident_ends_although_its_stream_restarted(bundle: Bundle) -> None:
    stage = Stage(bundle, engine=BreakingEngine(bundle))
    stage.feed([0, 0, 0, 0, 40, 40, 666, *[0] * 12])
    assert [a.reason for a in stage.recorder.alerts] == [Reason.FIRED, Reason.RECOVERED]
    assert stage.value("detector_streams_firing") == 0


def test_the_graph_gets_seconds_since_the_last_point_and_local_time(
    bundle: Bundle,
) -> None:
    engine = RecordingEngine(bundle)
    stage = Stage(bundle, engine=engine)
    monday = 1_704_067_200.0
    stage.pipeline.process(
        [columns(["a", "a"], [monday + 3600, monday + 86400 + 90], [[1, 1]] * 2)]
    )
    assert engine.clocks == [[60.0, 3600.0, 0.0], [82890.0, 90.0, 1.0]]


def test_a_trained_stream_may_alert_at_once(tmp_path: Path) -> None:
    stage = Stage(fake_bundle(tmp_path, trained={"known": [10, 10]}))
    stage.pipeline.process(
        [columns(["known", "new"] * 2, [60.0, 60.0, 120.0, 120.0], [[40, 40]] * 4)]
    )
    assert [a.stream for a in stage.recorder.alerts] == ["known"]


def test_a_wave_larger_than_a_batch_is_scored_whole(bundle: Bundle) -> None:
    stage = Stage(bundle, max_streams=10_000)
    names: list[str | bytes] = [f"s{i}" for i in range(5000)]
    times: F64 = np.full(5000, 60.0)
    offsets: I64 = np.arange(5000)
    stage.pipeline.process(
        [RecordBatch(P, names, offsets, times, np.ones((5000, 2)), 5000)]
    )
    assert len(stage.recorder.scores) == 5000
    assert set(stage.recorder.scores.values()) == {1.0}


def test_a_stream_on_two_partitions_of_a_topic_is_reported(
    stage: Stage,
) -> None:
    other = Partition(P.topic, P.number + 1)
    elsewhere = Partition("another", P.number)
    for partition in (other, elsewhere):
        stage.pipeline.assign(partition, Restored((), (), 0))
    for partition in (P, other, elsewhere):
        for tick in (0, 1):
            stage.pipeline.process(
                [
                    columns(
                        ["a"],
                        [60.0 * tick + 60.0],
                        [[1, 1]],
                        first=tick,
                        partition=partition,
                    )
                ]
            )
    assert stage.value("detector_split_streams_total") == 1
    assert stage.value("detector_streams") == 3


def test_a_held_point_from_the_future_is_rejected_as_not_whole(stage: Stage) -> None:
    names = ["a"] * 4
    times = [60.0, 120.0, 90_000.0, 180.0]
    batch = columns(names, times, [[1, 1]] * 4)
    raw = raw_batch([b"{}"] * 4)
    clock = without_log(4, ClockBounds())
    stage.pipeline.process([replace(batch, raw=raw, clock=clock)])
    (rejected,) = stage.recorder.rejects
    assert rejected.reason is RejectReason.FUTURE
    assert not rejected.is_whole


def test_incidents_that_end_with_a_start_are_counted_and_reported(
    bundle: Bundle,
) -> None:
    stage = Stage(bundle)
    end = replace(fired("a"), reason=Reason.REPLACED, ends_at=60.0)
    stage.pipeline.assign(Q, replace(NEW, ended=(end,)))
    assert stage.recorder.alerts == [end]
    assert stage.value("detector_decisions_total", reason="replaced") == 1
    severity = end.severity.label
    ended = {"status": "resolved", "severity": severity}
    assert stage.value("detector_alerts_total", **ended) == 1
    # it was no incident of this bundle
    assert stage.value("detector_streams_firing") == 0


class CountedName(str):
    """Counts how often any such name is looked up."""

    looked_up = 0

    def __hash__(self) -> int:
        CountedName.looked_up += 1
        return super().__hash__()


@pytest.mark.parametrize("max_streams", [100_000, PAGE])
def test_a_new_name_costs_as_much_whatever_else_is_in_its_poll(
    bundle: Bundle, max_streams: int
) -> None:
    """Newcomers make room for newcomers, and a poll is cut each time."""
    per_name = []
    for count in (1000, 8000):
        pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(),
            metrics=Metrics(),
            limits=TableLimits(max_streams, max_newcomers=64),
        )
        pipeline.assign(P, NEW)
        names = [CountedName(f"once-{n}") for n in range(count)]
        times = [60.0] * count
        CountedName.looked_up = 0
        pipeline.process([columns(names, times, [[1.0, 2.0]] * count)])
        per_name.append(CountedName.looked_up / count)
    assert per_name[1] < 1.5 * per_name[0]
