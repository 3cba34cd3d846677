"""A slow leak is told once, is not accepted while it goes on, and recovers.

The metrics are made up from a fixed seed, with a point every five minutes. After twelve
days each leaks for half a day or for a whole one. Then half of them restart: they drop
back to where they were. The others stay at the new level.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F64, Alert, AnomalyKind, Reason, RecordBatch
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.replay.chunks import PARTITION
from detector.replay.offline import offline_pipeline
from detector.timestamps import HOUR
from tests.fakes import PipelineRecorder
from training.fitting.export import graph
from training.fitting.pretrained import pretrained_for
from training.models.autoencoder import AutoencoderNetwork
from training.models.surprise import Front
from training.models.univariate import (
    HIDDEN,
    UnivariateStep,
    first_row,
    trend_seconds,
)
from training.settings import FitSettings

# A Thursday, so that the leaks are on a Tuesday.
START = 1_767_225_600.0
TICK = 300.0
DAY = 288  # points
QUIET = 12 * DAY
AFTER = 2 * DAY
POINTS = QUIET + 1 * DAY + AFTER


@dataclass(frozen=True, slots=True)
class Leak:
    """A metric that leaks from QUIET on for ``length`` points."""

    name: str
    values: F64
    length: int
    restarts: bool


def usual(kind: str, rng: np.random.Generator) -> tuple[F64, float]:
    """Values [POINTS] without a leak, and their deviation."""
    noise = rng.normal(size=POINTS)
    if kind == "level":
        return 250 + 12 * noise, 12.0
    if kind == "bursts":
        return 80 * np.exp(0.5 * noise), 45.0
    day = np.sin(2 * np.pi * (np.arange(POINTS) / DAY + rng.random()))
    return 900 + 400 * day + 40 * noise, 40.0


def leak(kind: str, hours: int, deviations: int, restarts: bool, seed: int) -> Leak:
    values, deviation = usual(kind, np.random.default_rng(seed))
    length = round(hours * HOUR / TICK)
    share = np.clip((np.arange(POINTS) - QUIET) / length, 0, 1)
    if restarts:
        share[QUIET + length :] = 0
    name = f"{kind}-{hours}-{deviations}-{restarts}"
    return Leak(name, values + share * deviations * deviation, length, restarts)


LEAKS = [
    leak(kind, hours, deviations, restarts, seed)
    for seed, (kind, hours, deviations, restarts) in enumerate(
        [
            ("level", 12, 12, True),
            ("level", 24, 6, True),
            ("level", 24, 20, True),
            ("rhythm", 12, 15, True),
            ("rhythm", 24, 20, True),
            ("bursts", 24, 10, True),
            ("level", 24, 15, False),
            ("bursts", 24, 10, False),
        ]
    )
]


def bundle_of_the_step() -> Bundle:
    """The step as it is in the code, with the package's network and tail."""
    bundle = load_bundle(BUILTIN)
    known = pretrained_for(FitSettings(), 1)
    assert known is not None
    assert known.weights is not None
    network = AutoencoderNetwork(Front().inputs, HIDDEN, known.weights["projection"])
    network.load_state_dict(known.weights)
    step = UnivariateStep(network.eval(), FitSettings().power, 1, Front()).eval()
    manifest = msgspec.structs.replace(
        bundle.manifest,
        state_size=step.layout.size,
        trend_seconds=trend_seconds(step),
    )
    return dataclasses.replace(
        bundle, manifest=manifest, graph=graph(step), initial=first_row(step)
    )


@pytest.fixture(scope="module")
def raised() -> list[Alert]:
    """All alerts, at a budget of one false alarm a week."""
    bundle = bundle_of_the_step()
    engine = OnnxEngine(bundle)
    recorder = PipelineRecorder()
    pipeline = offline_pipeline(
        bundle, engine, AlertTuning(), recorder, probe_engine=engine
    )
    count = len(LEAKS)
    names = [leak.name for leak in LEAKS]
    table = np.stack([leak.values for leak in LEAKS], axis=1)
    for t, row in enumerate(table):
        offsets = np.arange(t * count, (t + 1) * count)
        times = np.full(count, START + t * TICK)
        pipeline.process(
            [
                RecordBatch(
                    PARTITION, names, offsets, times, row[:, None], (t + 1) * count
                )
            ]
        )
    return recorder.alerts


def point(alert: Alert) -> int:
    return round((alert.at - START) / TICK)


def while_it_leaks(raised: list[Alert], leak: Leak) -> list[Alert]:
    own = [alert for alert in raised if alert.stream == leak.name]
    return [a for a in own if QUIET <= point(a) < QUIET + leak.length]


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.name for leak in LEAKS])
def test_a_leak_is_told_once_and_not_accepted_while_it_goes_on(
    raised: list[Alert], leak: Leak
) -> None:
    during = while_it_leaks(raised, leak)
    fired = [point(a) for a in during if a.reason is Reason.FIRED]
    assert fired, "the leak is not told"
    assert fired[0] < QUIET + 0.7 * leak.length
    assert not [a for a in during if a.reason is Reason.ACCEPTED]
    late = [i for i in fired if i >= QUIET + 0.7 * leak.length]
    assert not late, "the leak is told again"


def test_a_leak_says_since_when_and_from_where(raised: list[Alert]) -> None:
    told = [a for leak in LEAKS for a in while_it_leaks(raised, leak) if a.firing]
    slow = [a for a in told if a.deviations[0].since is not None]
    assert len({a.stream for a in slow}) >= len(LEAKS) // 2
    for alert in slow:
        first = alert.deviations[0]
        assert first.kind is AnomalyKind.TREND
        assert first.observed > first.expected
        assert first.since is not None
        began = START + QUIET * TICK
        assert began - 2 * HOUR <= first.since <= alert.at


RESTARTS = [leak for leak in LEAKS if leak.restarts]


@pytest.mark.parametrize("leak", RESTARTS, ids=[leak.name for leak in RESTARTS])
def test_a_leak_that_drops_back_recovers_without_a_new_incident(
    raised: list[Alert], leak: Leak
) -> None:
    own = [alert for alert in raised if alert.stream == leak.name]
    after = [a for a in own if point(a) >= QUIET + leak.length]
    soon = [a for a in after if point(a) < QUIET + leak.length + DAY // 2]
    assert not [a for a in soon if a.reason is Reason.FIRED]
    ends = [a.reason for a in soon if a.ends_at is not None]
    assert ends[:1] == [Reason.RECOVERED]


@pytest.mark.parametrize(
    "leak", [one for one in LEAKS if not one.restarts], ids=lambda leak: leak.name
)
def test_a_leak_that_holds_still_is_accepted_in_the_end(
    raised: list[Alert], leak: Leak
) -> None:
    own = [alert for alert in raised if alert.stream == leak.name]
    ends = [a for a in own if a.ends_at is not None and point(a) >= QUIET]
    held = (point(ends[-1]) - QUIET - leak.length) * TICK
    assert ends[-1].reason is Reason.ACCEPTED
    assert held >= 4 * HOUR
