"""The bundle in the package on new streams, lasting shifts, constants and flatlines.

The streams are made up from fixed seeds.
"""

from __future__ import annotations

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F32, F64, Alert, Phase, Reason, RecordBatch
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.pipeline.pipeline import Pipeline
from detector.replay.chunks import PARTITION
from detector.replay.offline import offline_pipeline
from tests.fakes import PipelineRecorder

TICK = 300.0
DAY = 288
START = 1_700_000_000.0


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUILTIN)


def fed(
    bundle: Bundle,
    values: F32 | F64,
    start: float = START,
    tick: float = TICK,
    model: ModelSettings | None = None,
) -> tuple[list[Alert], Pipeline]:
    """Feed streams [T, N], a point each tick: the alerts, and the pipeline after it."""
    recorder = PipelineRecorder()
    pipeline = offline_pipeline(
        bundle, OnnxEngine(bundle), AlertTuning(), recorder, model=model
    )
    count = values.shape[1]
    names = [f"host-{i}/cpu" for i in range(count)]
    for t, row in enumerate(values.astype(np.float32)):
        offsets = np.arange(t * count, (t + 1) * count)
        pipeline.process(
            [
                RecordBatch(
                    PARTITION,
                    names,
                    offsets,
                    np.full(count, start + t * tick),
                    row[:, None].astype(np.float64),
                    int(offsets[-1]) + 1,
                )
            ]
        )
    return recorder.alerts, pipeline


def rhythms(days: int, count: int, seed: int) -> F32:
    rng = np.random.default_rng(seed)
    daily = np.sin(
        2 * np.pi * (np.arange(days * DAY)[:, None] / DAY + rng.random(count))
    )
    scale = 10 ** rng.uniform(-2, 6, count)
    return np.asarray(
        scale * (3 + daily + rng.normal(0, 0.15, (days * DAY, count))), np.float32
    )


def test_a_lasting_shift_alerts_once_and_ends_in_time(
    bundle: Bundle,
) -> None:
    values = rhythms(9, 25, seed=1)
    at = 6 * DAY
    values[at:] += 8 * values[:at].std(axis=0)
    raised, pipeline = fed(bundle, values)
    shifted = START + at * TICK
    fired = [a.stream for a in raised if a.reason is Reason.FIRED and a.at >= shifted]
    assert len(set(fired)) >= 22
    assert len(fired) == len(set(fired))
    assert (
        max(a.ends_at - a.starts_at for a in raised if a.ends_at is not None)
        <= AlertTuning().max_incident
    )
    assert not (pipeline.table.decisions["phase"] == Phase.FIRING).any()
    ends = [
        a.reason for a in raised if a.ends_at is not None and a.starts_at >= shifted
    ]
    # though most scores came down by themselves
    assert ends.count(Reason.ACCEPTED) >= 0.8 * len(ends)


def test_one_outlier_of_a_constant_is_one_short_incident(
    bundle: Bundle,
) -> None:
    values = np.full((11 * DAY, 12), 5.0, np.float32)
    for stream in range(12):
        values[
            8 * DAY + 20 * stream : 8 * DAY + 20 * stream + 1 + stream % 4, stream
        ] = 9
    raised, _ = fed(bundle, values)
    assert sum(a.reason is Reason.FIRED for a in raised) == 12
    assert (
        max(a.ends_at - a.starts_at for a in raised if a.ends_at is not None)
        <= 6 * 3600
    )


def test_a_metric_that_comes_back_recovers(bundle: Bundle) -> None:
    values = rhythms(8, 25, seed=1)
    at = 6 * DAY
    values[at : at + 24] += 8 * values[:at].std(axis=0)
    raised, _ = fed(bundle, values)
    spell = START + at * TICK, START + (at + 24) * TICK
    ends = [
        a.reason
        for a in raised
        if a.ends_at is not None and spell[0] <= a.starts_at < spell[1]
    ]
    assert len(ends) >= 22
    assert ends.count(Reason.RECOVERED) >= 0.9 * len(ends)


def test_new_streams_stay_near_the_budget_in_their_first_day(bundle: Bundle) -> None:
    rng = np.random.default_rng(2)
    counts = rng.poisson(
        np.exp(
            1.5
            + 0.7
            * np.sin(np.arange(DAY)[:, None] / DAY * 2 * np.pi + rng.random(150) * 6)
        )
    )
    raised, _ = fed(bundle, np.concatenate([rhythms(1, 150, seed=3), counts], axis=1))
    allowed = 2 * 300 / 7  # twice a budget of one a week
    assert sum(a.reason is Reason.FIRED for a in raised) <= allowed


def test_a_small_step_of_constants_is_no_alert_storm(bundle: Bundle) -> None:
    values = np.full((4 * DAY, 20), 5.0, np.float32)
    values[2 * DAY :, :] += 1.0
    raised, pipeline = fed(bundle, values)
    fired = [a.stream for a in raised if a.reason is Reason.FIRED]
    assert len(fired) == len(set(fired))
    assert not (pipeline.table.decisions["phase"] == Phase.FIRING).any()


def test_a_flatline_fires_within_hours(
    bundle: Bundle,
) -> None:
    values = rhythms(6, 20, seed=11)
    at = 4 * DAY
    values[at:] = values[at - 1]
    raised, _ = fed(bundle, values)
    fired = [
        a for a in raised if a.reason is Reason.FIRED and a.at >= START + at * TICK
    ]
    assert len({a.stream for a in fired}) >= 18
    assert len({a.stream for a in fired}) == len(fired)
    assert np.median([a.at for a in fired]) <= START + (at + 60) * TICK
