"""Ten equal outages of one metric are told ten times by the bundle in the package.

The metrics are made up from a fixed seed: a daily rhythm or a level, with noise. After
five days each falls to nothing, or rises to two and a half times its value, ten times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F32, F64, Alert, Reason, RecordBatch, Severity
from detector.model.bundle import BUILTIN, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.replay.chunks import PARTITION
from detector.replay.offline import offline_pipeline
from detector.timestamps import MINUTE
from tests.fakes import PipelineRecorder

START = 1_767_225_600.0
DAY = 1440  # points
QUIET = 5 * DAY
OUTAGES = 10
# Ticks between two outages: within an hour, and within half a day.
CLOSE = (15, 60)
APART = (70, 720)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with ten equal outages; ``starts`` are points."""

    name: str
    values: F64
    starts: tuple[int, ...]
    length: int


def usual(kind: str, points: int, rng: np.random.Generator) -> F64:
    noise = rng.normal(size=points)
    if kind == "level":
        return 250 + 12 * noise
    day = np.sin(2 * np.pi * (np.arange(points) / DAY + rng.random()))
    return 900 + 500 * day + 40 * noise


def metric(
    kind: str, factor: float, length: int, between: tuple[int, int], seed: int
) -> Metric:
    rng = np.random.default_rng(seed)
    shortest, longest = np.log(between).tolist()
    gaps = np.exp(rng.uniform(shortest, longest, OUTAGES - 1)).astype(int)
    starts = QUIET + np.cumsum([0, *(gaps + length)])
    values = usual(kind, int(starts[-1]) + length + 10, rng)
    for start in starts.tolist():
        values[start : start + length] *= factor
    name = f"{kind}-{factor}-{length}-{between[0]}"
    return Metric(name, values, tuple(starts.tolist()), length)


METRICS = [
    metric(kind, factor, length, between, seed)
    for seed, (kind, factor, length, between) in enumerate(
        [
            ("level", 0.0, 5, CLOSE),
            ("level", 0.0, 20, APART),
            ("level", 0.0, 60, APART),
            ("level", 2.5, 20, CLOSE),
            ("level", 2.5, 60, APART),
            ("rhythm", 0.0, 5, APART),
            ("rhythm", 0.0, 20, CLOSE),
            ("rhythm", 0.0, 60, APART),
            ("rhythm", 2.5, 5, CLOSE),
            ("rhythm", 2.5, 20, APART),
        ]
    )
]


def poll(t: int, values: F32) -> RecordBatch:
    """The points of tick ``t``, of as many metrics as there are values."""
    count = len(values)
    offsets = np.arange(t * len(METRICS), t * len(METRICS) + count)
    return RecordBatch(
        PARTITION,
        [metric.name for metric in METRICS[:count]],
        offsets,
        np.full(count, START + t * MINUTE),
        values[:, None].astype(np.float64),
        (t + 1) * len(METRICS),
    )


@pytest.fixture(scope="module")
def raised() -> list[Alert]:
    """All alerts, at a budget of one false alarm a week."""
    bundle = load_bundle(BUILTIN)
    engine = OnnxEngine(bundle)
    recorder = PipelineRecorder()
    pipeline = offline_pipeline(
        bundle, engine, AlertTuning(), recorder, probe_engine=engine
    )
    longest = max(len(metric.values) for metric in METRICS)
    table = np.full((longest, len(METRICS)), np.nan, np.float32)
    for column, metric in enumerate(METRICS):
        table[: len(metric.values), column] = metric.values
        table[len(metric.values) :, column] = np.resize(
            metric.values[:DAY], longest - len(metric.values)
        )
    for t, row in enumerate(table):
        pipeline.process([poll(t, row)])
    return recorder.alerts


def minute(time: float) -> int:
    return round((time - START) / MINUTE)


@pytest.mark.parametrize("metric", METRICS, ids=[m.name for m in METRICS])
def test_each_outage_is_told_within_two_points_and_no_less_grave(
    raised: list[Alert], metric: Metric
) -> None:
    own = [alert for alert in raised if alert.stream == metric.name]
    firing = [alert for alert in own if alert.firing]
    graves = []
    for start in metric.starts:
        during = [a for a in firing if start <= minute(a.at) < start + metric.length]
        assert during, f"the outage at {start} is not told"
        assert minute(during[0].at) <= start + 1
        graves.append(max(alert.severity for alert in during))
    assert graves == sorted(graves)
    if metric.name.split("-")[1] == "0.0":
        assert set(graves) == {Severity.CRITICAL}
    first, last = metric.starts[0], metric.starts[-1] + metric.length
    ended = [a for a in own if not a.firing and first <= minute(a.at) <= last]
    assert not any(alert.reason is Reason.ACCEPTED for alert in ended)
