"""Counters on their way through the pipeline: what is scored, and what alerts say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import ArrayLike

from detector.alerting.policy import AlertTuning
from detector.distributions import mean_totals
from detector.errors import RejectReason
from detector.events import F64, MetricKind, Phase, Reason, RecordBatch
from detector.model.bundle import MANIFEST, Bundle, Feature, Manifest, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.payload import annotations_of
from detector.pipeline.build import build_pipeline
from detector.pipeline.order_stage import digest
from detector.record_clock import ANY_TIME, without_log
from detector.state.limits import TableLimits
from tests.fakes import (
    PipelineRecorder,
    columns,
    write_bundle,
    write_each_metric_bundle,
)
from tests.unit.detector.pipeline.stage import NEW, P, Stage

TOTAL = "web/requests_total"
UNSAID = "web/requests"


@pytest.fixture
def single(tmp_path: Path) -> Bundle:
    """Each metric is a stream."""
    return load_bundle(write_each_metric_bundle(tmp_path / "single"))


@pytest.fixture
def stage(single: Bundle) -> Stage:
    return Stage(single)


def poll(
    values: ArrayLike,
    stream: str = UNSAID,
    first: int = 0,
    tick: float = 60.0,
) -> RecordBatch:
    """One record a tick."""
    given = np.asarray(values, np.float64)
    count = len(given)
    times = [tick * (first + i + 1) for i in range(count)]
    rows = [[float(value)] for value in given]
    return columns([stream] * count, times, rows, first=first)


def told(batch: RecordBatch, kind: MetricKind) -> RecordBatch:
    return replace(batch, kinds=np.full(batch.values.shape, kind, np.uint8))


def events(stage: Stage, event: str) -> float:
    return stage.value("detector_rate_events_total", event=event)


def test_a_counter_is_scored_as_a_rate_from_its_second_value_on(stage: Stage) -> None:
    stage.pipeline.process([poll([600, 720, 900], TOTAL)])
    # the fake's score is the distance to a running mean that begins at 0
    assert stage.recorder.scores == pytest.approx({1: 2.0, 2: 2.8})
    assert events(stage, "first") == 1
    assert stage.value("detector_scored_total") == 2
    assert not stage.recorder.rejects


def test_a_reset_is_not_scored(stage: Stage) -> None:
    stage.pipeline.process([poll([6e6, 6e6 + 60, 5, 65], TOTAL)])
    assert sorted(stage.recorder.scores) == [1, 3]
    assert events(stage, "reset") == 1


def test_a_value_that_is_not_scored_is_a_point_of_its_stream(stage: Stage) -> None:
    stage.pipeline.process([poll([600], TOTAL)])
    again = replace(poll([600], TOTAL), offsets=np.array([7]), next_offset=8)
    stage.pipeline.process([again])
    (rejected,) = stage.recorder.rejects
    assert rejected.reason is RejectReason.DUPLICATE


def test_what_the_format_says_counts_more_than_the_name(stage: Stage) -> None:
    stage.pipeline.process([told(poll([1, 2, 1], TOTAL), MetricKind.GAUGE)])
    assert sorted(stage.recorder.scores) == [0, 1, 2]
    deltas = told(poll([60, 120], "web/sent"), MetricKind.DELTA)
    stage.pipeline.process([replace(deltas, offsets=np.array([3, 4]), next_offset=5)])
    assert stage.recorder.scores[4] == pytest.approx(2.0)


def test_a_rate_outside_float32_is_missing(stage: Stage) -> None:
    values = [0.0, 3e38, 3e38]
    times = [0.001, 0.002, 60.0]
    batch = columns([TOTAL] * 3, times, [[value] for value in values])
    stage.pipeline.process([batch])
    assert list(stage.recorder.scores) == [2]


def ramp(count: int, first: int = 0) -> RecordBatch:
    """A counter of 600 a minute that nobody calls one."""
    return poll(600.0 * np.arange(first, first + count), first=first)


def test_a_stream_that_turns_out_to_be_a_counter_starts_anew(stage: Stage) -> None:
    stage.pipeline.process([ramp(64)])
    assert stage.recorder.scores[63] > 1000
    stage.pipeline.process([ramp(4, 64)])
    assert events(stage, "recognised") == 1
    # 10 a second against a running mean that begins at 0
    scores = [stage.recorder.scores[i] for i in range(64, 68)]
    assert scores == pytest.approx([10, 9, 8.1, 7.29])
    phases = [stage.recorder.phases[i] for i in range(64, 67)]
    assert phases == [Phase.WARMING] * 3


def test_its_open_incident_ends_when_it_starts_anew(stage: Stage) -> None:
    stage.pipeline.process([ramp(66)])
    fired, *others, ended = stage.recorder.alerts
    assert fired.reason is Reason.FIRED
    assert not any(alert.reason is Reason.FIRED for alert in others)
    assert (ended.reason, ended.at, ended.ends_at) == (Reason.ENDED, 65 * 60, 65 * 60)
    assert (ended.starts_at, ended.severity) == (fired.starts_at, fired.severity)
    assert stage.value("detector_streams_firing") == 0


@pytest.mark.parametrize("growth", [600.0, 0.01])
def test_a_stream_that_starts_anew_knows_its_last_point_again(
    stage: Stage, growth: float
) -> None:
    """In an incident or not: a repetition of the point is one."""
    values: F64 = np.linspace(0.0, 64 * growth, 65)
    stage.pipeline.process([poll(values)])
    assert events(stage, "recognised") == 1
    table = stage.pipeline.table
    slot = table.slots(P, [UNSAID])[0]
    (expected,) = digest(values[-1:, None])
    assert expected > 0
    assert table.decisions["last_digest"][slot] == expected


def test_an_alert_says_that_it_is_about_a_rate(stage: Stage) -> None:
    counts = np.cumsum([0.0] + [60.0] * 20 + [6000.0] * 3)
    stage.pipeline.process([poll(counts, TOTAL)])
    alert = stage.recorder.alerts[0]
    (deviation,) = alert.deviations
    assert (deviation.name, deviation.unit) == ("requests_total", "/s")
    assert deviation.is_rate
    assert deviation.observed == pytest.approx(100)
    annotations = annotations_of(alert)
    assert annotations["rates"] == "requests_total"
    assert annotations["description"].startswith("requests_total 100/s (expected ")


def test_an_alert_about_a_value_says_nothing_of_rates(stage: Stage) -> None:
    stage.pipeline.process([poll([1.0, 0.0] * 10 + [50.0] * 3)])
    alert = stage.recorder.alerts[0]
    assert not alert.deviations[0].is_rate
    assert "rates" not in annotations_of(alert)


def with_counter(folder: Path) -> Bundle:
    """Two features, of which ``cpu`` is a counter with the unit s."""
    write_bundle(folder)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    features = (Feature("cpu", "s", counter=True), Feature("mem", "B"))
    changed = msgspec.structs.replace(manifest, features=features)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(changed))
    return load_bundle(folder)


def test_a_network_that_was_fitted_to_rates_is_given_rates(tmp_path: Path) -> None:
    stage = Stage(with_counter(tmp_path))
    rows = [[600, 1], [720, 1], [5, 1], [65, 1]]
    stage.pipeline.process([columns(["a"] * 4, [60, 120, 180, 240], rows)])
    # the mean of both distances to running means; of mem alone if there is no rate
    assert list(stage.recorder.scores.values()) == pytest.approx(
        [1.0, (2.0 + 0.9) / 2, 0.81, (0.8 + 0.729) / 2]
    )


def test_a_network_that_was_fitted_to_values_follows_the_format(tmp_path: Path) -> None:
    stage = Stage(load_bundle(write_bundle(tmp_path)))
    rows = [[600, 1], [720, 1]]
    batch = columns(["a"] * 2, [60, 120], rows)
    kinds = np.full((2, 2), [MetricKind.COUNTER, MetricKind.UNKNOWN], np.uint8)
    stage.pipeline.process([replace(batch, kinds=kinds)])
    assert list(stage.recorder.scores.values()) == pytest.approx([1.0, (2 + 0.9) / 2])


def test_a_stream_that_expired_begins_like_a_new_counter(single: Bundle) -> None:
    recorder = PipelineRecorder()
    pipeline = build_pipeline(
        single,
        OnnxEngine(single),
        AlertTuning(),
        observer=recorder,
        limits=TableLimits(expire_after=3600.0),
    )
    pipeline.assign(P, NEW)
    batch = columns([TOTAL] * 4, [60, 120, 9000, 9060], [[60], [120], [180], [240]])
    pipeline.process([batch])
    assert recorder.scores == pytest.approx({1: 1.0, 3: 1.0})


def labelled(
    batch: RecordBatch, labels: Sequence[dict[str, str] | None]
) -> RecordBatch:
    return replace(batch, labels=labels)


def test_labels_are_those_of_the_last_point_that_counts(stage: Stage) -> None:
    first, second = {"rack": "1"}, {"rack": "2"}
    stage.pipeline.process([labelled(poll([1, 2]), [first, second])])
    table = stage.pipeline.table
    slot = table.slots(P, [UNSAID])[0]
    assert table.labels[slot] == second
    late = replace(poll([3]), offsets=np.array([2]), next_offset=3)
    stage.pipeline.process([labelled(late, [first])])
    assert table.labels[slot] == second


def test_counters_and_labels_survive_a_restart(stage: Stage) -> None:
    batch = poll([600, 720], TOTAL)
    stage.pipeline.process([labelled(batch, [{"rack": "1"}] * 2)])
    again = stage.restored_from(stage.store())
    again.pipeline.process([poll([900], TOTAL, first=2)])
    assert again.recorder.scores == pytest.approx({2: 2.8})
    table = again.pipeline.table
    assert table.labels[table.slots(P, [TOTAL])[0]] == {"rack": "1"}


def test_readings_of_one_moment_are_one_step_of_the_counter(stage: Stage) -> None:
    batch = columns([TOTAL] * 4, [60, 60, 60, 120], [[600], [700], [780], [900]])
    clock = without_log(4, ANY_TIME)
    stage.pipeline.process([replace(batch, clock=clock)])
    # 300 more than at its first reading, in a minute
    assert stage.recorder.scores == pytest.approx({3: 5.0})


def test_growth_of_a_histogram_beyond_float32_is_missing(stage: Stage) -> None:
    """All observations have a mean that can be scored; the last one has not."""
    means = [(0.0, 1e9), (2.5, 1e9 + 1), (3e39, 1e9 + 2), (3e39, 1e9 + 3)]
    totals = [mean_totals(total, count, 0.0) for total, count in means]
    batch = told(poll([found.metric() for found in totals]), MetricKind.GAUGE)
    found = {row: {0: total} for row, total in enumerate(totals)}
    stage.pipeline.process([replace(batch, totals=found)])
    assert sorted(stage.recorder.scores) == [1, 3]
    assert stage.value("detector_state_resets_total", cause="not_finite") in (None, 0)
