"""The step for many metrics learns nothing from an incident, and accepts a new state.

Random weights, metrics of normal noise: what is tested is the step, not a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from detector.events import F32
from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from training.fitting.export import graph
from training.fitting.train import projection
from training.models.autoencoder import AutoencoderNetwork
from training.models.layout import StateLayout
from training.models.multivariate import AutoencoderStep, blank_rows

FEATURES = 6
CONSTANT = 5
QUIET = 4000
TICK = 60.0
# Far beyond what quiet points reach: a bound that any outage passes.
OUTAGE = 6.0


class Served(NamedTuple):
    """An engine and the layout of its rows."""

    engine: OnnxEngine
    layout: StateLayout


class Walked(NamedTuple):
    """Scores [T], contributions [T, F], and the last state [1, S]."""

    scores: F32
    shares: F32
    state: F32


def known_row(layout: StateLayout) -> F32:
    """float32 [1, S] of a stream whose scaling is known."""
    row = blank_rows(1, layout)
    at = layout.slices()
    row[:, at["seen"]] = 500
    row[:, at["center"]] = 5
    row[0, at["center"].start + CONSTANT] = 0
    return row


@pytest.fixture(scope="module")
def served() -> Served:
    torch.manual_seed(3)
    past = np.random.default_rng(1).normal(size=(200, FEATURES)).astype(np.float32)
    network = AutoencoderNetwork(FEATURES, 6, projection([past])).eval()
    step = AutoencoderStep(network, power=1.75, learning=500).eval()
    row = known_row(step.layout)
    manifest = Manifest(
        schema=1,
        name="test",
        version="1",
        features=tuple(Feature(f"f{j}") for j in range(FEATURES)),
        tick_interval=TICK,
        state_size=step.layout.size,
        warm_up=20,
        tail=TailFit((1.0,), (1.0,), -1.0, 1.0),
        files={},
        provenance={},
    )
    bundle = Bundle(Path("test"), "", manifest, graph(step), row[0], {}, row)
    return Served(OnnxEngine(bundle), step.layout)


def walk(served: Served, x: F32, state: F32 | None = None) -> Walked:
    """One stream [T, F], from a blank row or from ``state``."""
    if state is None:
        state = known_row(served.layout)
    scores = []
    shares = []
    clock = clock_input(np.array([TICK]), np.array([1.7e9]))
    for point in x[:, None]:
        answer = served.engine.step(point, clock, state)
        state = answer.next_state
        scores.append(answer.score[0])
        shares.append(answer.contribution[0])
    return Walked(np.array(scores), np.array(shares), state)


def quiet(points: int, seed: int) -> F32:
    """Metrics around 5 with noise of 1, and one that is constant, [T, F]."""
    rng = np.random.default_rng(seed)
    x = 5 + rng.normal(size=(points, FEATURES))
    x[:, CONSTANT] = 0.0
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def settled(served: Served) -> Walked:
    return walk(served, quiet(QUIET, 0))


@pytest.mark.parametrize("length", [5, 20, 60])
def test_the_tenth_equal_outage_scores_like_the_first(
    served: Served, settled: Walked, length: int
) -> None:
    gap = 90
    x = quiet(10 * (length + gap), 1)
    starts = gap + (length + gap) * np.arange(10)
    for start in starts:
        x[start : start + length, :CONSTANT] = 0
    scores = walk(served, x, settled.state).scores
    peaks = np.array([scores[start : start + 5].max() for start in starts])
    assert (peaks > OUTAGE).all()
    assert (peaks > 0.9 * peaks[0]).all()


def test_the_score_is_back_within_points_of_the_value(
    served: Served, settled: Walked
) -> None:
    x = quiet(400, 2)
    x[100:200, :CONSTANT] = 0
    scores = walk(served, x, settled.state).scores
    usual = scores[:100].max()
    assert scores[101:200].min() > OUTAGE
    assert scores[215:].max() < usual + 1


def test_a_lasting_shift_is_accepted_as_a_whole_after_hours(
    served: Served, settled: Walked
) -> None:
    x = quiet(1500, 3)
    x[:, :3] += 12
    scores = walk(served, x, settled.state).scores
    six_hours = int(6 * 3600 / TICK)
    assert scores[5 : six_hours - 5].min() > OUTAGE
    assert scores[six_hours + 30 :].max() < OUTAGE / 2


def test_a_state_that_moves_more_is_accepted_once(
    served: Served, settled: Walked
) -> None:
    x = quiet(1500, 7)
    x[:, :3] = 60 + 20 * (x[:, :3] - 5)
    scores = walk(served, x, settled.state).scores
    six_hours = int(6 * 3600 / TICK)
    assert scores[5 : six_hours - 5].min() > OUTAGE
    assert scores[six_hours + 60 :].max() < OUTAGE


def test_the_longer_an_incident_lasts_the_less_loud_it_is(
    served: Served, settled: Walked
) -> None:
    x = quiet(500, 8)
    x[:320, :3] += 12
    x[400:420, :3] += 12
    scores = walk(served, x, settled.state).scores
    first = scores[:20].max()
    assert OUTAGE < scores[300:320].max() < 0.9 * first
    assert scores[400:420].max() > 0.9 * first


def test_a_total_loss_is_not_accepted_within_two_days(
    served: Served, settled: Walked
) -> None:
    x = quiet(int(2 * 86_400 / TICK), 4)
    x[:, :CONSTANT] = 0
    scores = walk(served, x, settled.state).scores
    assert scores[5:].min() > OUTAGE


def test_nothing_is_learned_while_a_stream_is_hot(
    served: Served, settled: Walked
) -> None:
    at = served.layout.slices()
    x = quiet(100, 5)
    x[:, :CONSTANT] = 0
    first = walk(served, x[:1], settled.state).state
    last = walk(served, x[1:], first).state
    for part in ("encoder_h", "encoder_c", "decoder_h", "decoder_c"):
        after = last[:, at[part]]
        np.testing.assert_allclose(after, settled.state[:, at[part]], atol=1e-5)
    for part in ("center", "scale", "bias", "energy", "q90", "width", "own_median"):
        np.testing.assert_array_equal(last[:, at[part]], settled.state[:, at[part]])


def test_a_constant_metric_contributes_only_when_it_changes(
    served: Served, settled: Walked
) -> None:
    x = quiet(200, 6)
    x[150:, CONSTANT] = 40
    walked = walk(served, x, settled.state)
    assert np.median(walked.shares[:150, CONSTANT]) < 0.02
    assert walked.shares[150:155, CONSTANT].min() > 0.3
    assert walked.scores[152] > OUTAGE / 2
