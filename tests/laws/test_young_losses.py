"""The total loss of a young stream is one incident, for as long as it lasts.

The package's bundle steps streams made up from a fixed seed, with a point a minute.
Each falls to nothing after some hundred points. A graph that knows so little learns
within minutes that nothing is normal, so its score can't tell when the loss is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F64, Alert, Reason, RecordBatch, Severity
from detector.model.bundle import BUILTIN, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.replay.chunks import PARTITION
from detector.replay.offline import offline_pipeline
from detector.timestamps import HOUR, MINUTE
from tests.fakes import PipelineRecorder

START = 1_767_225_600.0
KNOWN = (200, 250, 300, 350, 450)  # points before the loss
KINDS = ("level", "wandering", "counts")
AFTER = 90  # points
LENGTHS = (30, 150)  # points of a loss that ends, none longer than what is known
# Points after the loss within which it has recovered.
SOON = 15


@dataclass(frozen=True, slots=True)
class Loss:
    """A metric that is nothing for ``length`` points from ``known`` on."""

    name: str
    values: F64
    known: int
    length: int


def usual(kind: str, points: int, rng: np.random.Generator) -> F64:
    noise = rng.normal(size=points)
    if kind == "level":
        return 250 + 12 * noise
    if kind == "counts":
        return rng.poisson(200, points).astype(np.float64)
    walk = np.convolve(noise, np.exp(-np.arange(60) / 15))[:points]
    return 2000 + 60 * walk


def loss(kind: str, known: int, length: int, seed: int) -> Loss:
    values = usual(kind, known + length + AFTER, np.random.default_rng(seed))
    values[known : known + length] = 0
    return Loss(f"{kind}-{known}-{length}", values, known, length)


LOSSES = [
    loss(kind, known, length, seed)
    for seed, kind in enumerate(KINDS)
    for known in KNOWN
    for length in LENGTHS
]
# It goes on for longer than the stream was known before.
FOR_GOOD = [loss(kind, 200, 900, 7) for kind in KINDS]


def alerts_of(losses: list[Loss]) -> list[Alert]:
    """All alerts, at a budget of one false alarm a week."""
    bundle = load_bundle(BUILTIN)
    engine = OnnxEngine(bundle)
    recorder = PipelineRecorder()
    pipeline = offline_pipeline(
        bundle, engine, AlertTuning(), recorder, probe_engine=engine
    )
    offset = 0
    for t in range(max(len(loss.values) for loss in losses)):
        present = [loss for loss in losses if t < len(loss.values)]
        count = len(present)
        offsets = np.arange(offset, offset + count)
        offset += count
        x = np.array([[loss.values[t]] for loss in present])
        times = np.full(count, START + t * MINUTE)
        names = [loss.name for loss in present]
        batch = RecordBatch(PARTITION, names, offsets, times, x, offset)
        pipeline.process([batch])
    return recorder.alerts


@pytest.fixture(scope="module")
def raised() -> list[Alert]:
    return alerts_of(LOSSES)


def point(alert: Alert) -> int:
    return round((alert.at - START) / MINUTE)


def from_its_loss_on(raised: list[Alert], loss: Loss) -> list[Alert]:
    own = [alert for alert in raised if alert.stream == loss.name]
    return [alert for alert in own if point(alert) >= loss.known]


@pytest.mark.parametrize("loss", LOSSES, ids=[loss.name for loss in LOSSES])
def test_it_is_told_once_and_stays_open_while_it_lasts(
    raised: list[Alert], loss: Loss
) -> None:
    own = from_its_loss_on(raised, loss)
    until = loss.known + loss.length
    told = [alert for alert in own if alert.firing]
    assert point(told[0]) <= loss.known + 2
    assert told[-1].severity is Severity.CRITICAL
    assert not [a for a in own if a.ends_at is not None and point(a) < until]
    assert not [a for a in told[1:] if a.reason is not Reason.ESCALATED]


@pytest.mark.parametrize("loss", LOSSES, ids=[loss.name for loss in LOSSES])
def test_it_recovers_soon_after_it_is_over(raised: list[Alert], loss: Loss) -> None:
    own = from_its_loss_on(raised, loss)
    ends = [alert for alert in own if alert.ends_at is not None]
    assert [alert.reason for alert in ends] == [Reason.RECOVERED]
    assert point(ends[0]) <= loss.known + loss.length + SOON


def test_what_lasts_as_long_as_all_that_was_known_is_accepted() -> None:
    raised = alerts_of(FOR_GOOD)
    for loss in FOR_GOOD:
        own = from_its_loss_on(raised, loss)
        ends = [alert for alert in own if alert.ends_at is not None]
        assert [alert.reason for alert in ends] == [Reason.ACCEPTED]
        held = point(ends[0]) - loss.known
        assert loss.known <= held <= loss.known + 2 * HOUR / MINUTE
