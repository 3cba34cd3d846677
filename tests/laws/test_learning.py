"""Nothing is learned from an incident: the tenth outage is told like the first, and a
lasting change is accepted by evidence that it is a state.

The exported graph runs with weights that nobody fitted, on made streams side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from detector.events import F32, F64
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.timestamps import DAY
from tests.benchmarks.bundles import bundle_of
from training.fitting.export import graph
from training.models.autoencoder import AutoencoderNetwork
from training.models.surprise import Front
from training.models.univariate import UnivariateStep, first_row

TICK = 300.0
HOUR = 12  # points
A_DAY = 24 * HOUR
BEGIN = 8 * A_DAY  # the first fault
POINTS = BEGIN + 2 * A_DAY
OUTAGES = 10
LENGTH = 5  # points of an outage
# One outage every five hours, nearly.
SPREAD = [BEGIN + 57 * i for i in range(OUTAGES)]
# Score above the median of quiet points that is far from any quiet one.
FAR = 6.0


@dataclass(frozen=True, slots=True)
class Walked:
    """Scores and, after each point, whether the stream is hot: each [n, streams]."""

    names: tuple[str, ...]
    scores: F32
    hot: F32

    def of(self, name: str) -> F32:
        return self.scores[:, self.names.index(name)]

    def calm(self, name: str) -> float:
        """The median score before the first fault."""
        return float(np.median(self.of(name)[BEGIN - A_DAY : BEGIN]))


def base(seed: int) -> dict[str, F64]:
    """A flat metric, a daily one, and one that rests at night."""
    rng = np.random.default_rng(seed)
    hours = np.arange(POINTS) / HOUR
    noise = rng.normal(size=(2, POINTS))
    wave = np.sin(2 * np.pi * hours / 24)
    day = 6 + hours % 24
    works = (day >= 9) & (day < 21)
    return {
        "flat": 100 + noise[0],
        "daily": 50 + 20 * wave + noise[1],
        "night": np.where(works, 200 + 5 * rng.normal(size=POINTS), 0.0),
    }


def streams() -> dict[str, F64]:
    """Each base with ten outages, and with changes that last."""
    bases = base(1)
    since = np.arange(POINTS) - BEGIN
    lasts = since >= 0
    made = {}
    for name, x in bases.items():
        faulty = x.copy()
        for start in starts(name):
            faulty[start : start + LENGTH] *= 0.3
        made[f"{name}, outages"] = faulty
    for name in ("flat", "daily"):
        x = bases[name]
        height = 8 * x[:BEGIN].std() if name == "daily" else 30
        made[f"{name}, step"] = x + height * lasts
        made[f"{name}, loss"] = np.where(lasts, 0.0, x)
    daily = bases["daily"]
    leaked = 0.5 * daily[:BEGIN].std() * np.maximum(since, 0)
    made["daily, leak"] = daily + leaked
    return made


def told(name: str) -> float:
    """How far the score of an outage is over the calm one at least.

    Nothing is usual of a metric that rests, so little is surprising.
    """
    return 1.0 if name == "night" else FAR


def starts(name: str) -> list[int]:
    """A metric that rests at night fails by day."""
    if name != "night":
        return SPREAD
    begins = [BEGIN + 4 * HOUR, BEGIN + A_DAY + 4 * HOUR]
    return [begin + 25 * i for begin in begins for i in range(OUTAGES // 2)]


@pytest.fixture(scope="module")
def walked() -> Walked:
    torch.manual_seed(0)
    front = Front()
    width = front.inputs
    network = AutoencoderNetwork(width, 16, torch.eye(width) / width).eval()
    step = UnivariateStep(network, 1.75, 1, front).eval()
    first = first_row(step)
    engine = OnnxEngine(bundle_of(("value",), graph(step), first))
    made = streams()
    values = np.stack(list(made.values()), axis=1).astype(np.float32)
    count = values.shape[1]
    rows = np.repeat(first[None], count, axis=0)
    at = step.layout.slices()["hot"].start
    scores = np.zeros(values.shape, np.float32)
    hot = np.zeros(values.shape, np.float32)
    for i, x in enumerate(values):
        time = 4 * DAY + i * TICK  # a Monday
        clock = clock_input(np.full(count, TICK), np.full(count, time))
        answer = engine.step(x[:, None], clock, rows)
        rows = answer.next_state
        scores[i] = answer.score
        hot[i] = rows[:, at]
    assert np.isfinite(rows).all()
    return Walked(tuple(made), scores, hot)


@pytest.mark.parametrize("name", ["flat", "daily", "night"])
def test_the_tenth_outage_scores_like_the_first(walked: Walked, name: str) -> None:
    stream = f"{name}, outages"
    scores = walked.of(stream)
    highest = [float(scores[at : at + LENGTH].max()) for at in starts(name)]
    assert min(highest) > walked.calm(stream) + told(name)
    assert min(highest) > highest[0] - 2


@pytest.mark.parametrize("name", ["flat", "daily"])
def test_a_step_is_told_for_six_hours_and_then_learned(
    walked: Walked, name: str
) -> None:
    stream = f"{name}, step"
    scores = walked.of(stream) - walked.calm(stream)
    assert scores[BEGIN + 2 : BEGIN + 5 * HOUR].min() > FAR
    accepted = slice(BEGIN + 10 * HOUR, None)
    assert scores[accepted].max() < FAR
    assert not walked.hot[accepted, walked.names.index(stream)].any()


@pytest.mark.parametrize("name", ["flat", "daily"])
def test_a_total_loss_is_told_for_two_days(walked: Walked, name: str) -> None:
    stream = f"{name}, loss"
    scores = walked.of(stream) - walked.calm(stream)
    assert scores[BEGIN + 2 : BEGIN + 2 * A_DAY].min() > FAR


def test_a_leak_is_told_for_half_a_day(walked: Walked) -> None:
    scores = walked.of("daily, leak") - walked.calm("daily, leak")
    assert scores[BEGIN + HOUR : BEGIN + 11 * HOUR].min() > FAR
