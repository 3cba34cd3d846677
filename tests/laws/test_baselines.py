"""A baseline's exported graph equals its plain reference."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from training.fitting.export import graph
from training.models.baselines import BASELINES, SPANS, AnyBaseline, Baseline
from training.models.one_liners import ONE_LINERS, WINDOW, OneLiner
from training.models.reference_baselines import BaselineReference, OneLinerReference

F32 = npt.NDArray[np.float32]
FEATURES = 4
TICKS = 400
STREAMS = 3
LEARNING = 60.0
LEAST = 0.5


def made(kind: str, features: int = FEATURES) -> AnyBaseline:
    if kind in ONE_LINERS:
        return OneLiner(kind, features, LEARNING)
    if kind != "pca":
        return Baseline(features, 2 / (SPANS[kind] + 1), float("inf"), None)
    axis = np.ones((features, 1)) / np.sqrt(features)
    return Baseline(
        features,
        0.0,
        LEARNING,
        (axis @ axis.T).astype(np.float32) if features > 1 else None,
    )


@functools.cache
def runtime(kind: str, features: int) -> OnnxEngine:
    step = made(kind, features)
    size = step.layout.size
    names = tuple(Feature(f"f{j}") for j in range(features))
    manifest = Manifest(
        schema=1,
        name="test",
        version="1",
        features=names,
        tick_interval=60.0,
        state_size=size,
        warm_up=20,
        tail=TailFit((1.0,), (1.0,), -1.0, 1.0),
        files={},
        provenance={},
    )
    return OnnxEngine(
        Bundle(
            Path("test"),
            "",
            manifest,
            graph(step),
            np.zeros(size, np.float32),
            {},
            np.zeros((0, size), np.float32),
        )
    )


def clock(streams: int) -> F32:
    return clock_input(np.full(streams, 60.0), np.full(streams, 1.7e9))


def points(seed: int = 0) -> F32:
    """[T, B, F]: correlated metrics in different units.

    With a jump, missing cells, and a point without any value.
    """
    rng = np.random.default_rng(seed)
    together = rng.normal(size=(TICKS, STREAMS, 1))
    apart = rng.normal(size=(TICKS, STREAMS, FEATURES))
    units = 10.0 ** np.arange(FEATURES)
    x = (together + 0.3 * apart) * units + 50
    x[250:260, 1] *= 8
    x[rng.random(x.shape) < 0.1] = np.nan
    x[300, 2] = np.nan
    return x.astype(np.float32)


def reference(kind: str) -> BaselineReference | OneLinerReference:
    if kind in ONE_LINERS:
        gain = 1.0 if kind == "difference" else 2 / (WINDOW + 1)
        return OneLinerReference(gain, LEARNING, LEAST)
    is_pca = kind == "pca"
    projection = np.zeros((FEATURES, FEATURES))
    if is_pca:
        projection = made(kind).get_buffer("projection").double().numpy()
    return BaselineReference(
        gain=0.0 if is_pca else 2 / (SPANS[kind] + 1),
        learning=LEARNING if is_pca else float("inf"),
        projection=projection,
        least=LEAST,
    )


@pytest.mark.parametrize("kind", BASELINES)
def test_the_graph_is_its_reference(kind: str) -> None:
    step = made(kind)
    plain = reference(kind)
    x = points()
    engine = runtime(kind, FEATURES)
    state = np.zeros((STREAMS, step.layout.size), np.float32)
    state[:, step.layout.slices()["least"]] = LEAST
    scores = np.zeros((TICKS, STREAMS))
    shares = np.zeros(x.shape)
    for t in range(TICKS):
        answer = engine.step(x[t], clock(STREAMS), state)
        scores[t] = answer.score
        shares[t] = answer.contribution
        state = answer.next_state
    for i in range(STREAMS):
        wanted_scores, wanted_shares = plain.walk(x[:, i].astype(np.float64))
        np.testing.assert_allclose(scores[:, i], wanted_scores, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(shares[:, i], wanted_shares, atol=1e-2)


@pytest.mark.parametrize("kind", BASELINES)
def test_a_jump_scores_highest_and_names_its_metric(kind: str) -> None:
    step = made(kind)
    x = np.random.default_rng(1).normal(size=(TICKS, 1, FEATURES)).astype(np.float32)
    x[200, 0, 2] += 40
    engine = runtime(kind, FEATURES)
    state = np.zeros((1, step.layout.size), np.float32)
    answers = []
    for row in x:
        answer = engine.step(row, clock(1), state)
        state = answer.next_state
        answers.append(answer)
    # a one-liner sees the way back as well
    latest = 205 if kind in ONE_LINERS else 200
    assert 200 <= int(np.argmax([a.score[0] for a in answers])) <= latest
    assert int(answers[200].contribution[0].argmax()) == 2


@pytest.mark.parametrize(
    ("kind", "features"),
    [*((kind, FEATURES) for kind in BASELINES), ("pca", 1)],
)
def test_every_value_keeps_the_state_finite(kind: str, features: int) -> None:
    step = made(kind, features)
    engine = runtime(kind, features)
    state = np.zeros((2, step.layout.size), np.float32)
    for extreme in [0.0] * 12 + [3e38, -3e38, np.nan, 1e-38, 3e38]:
        answer = engine.step(
            np.full((2, features), extreme, np.float32), clock(2), state
        )
        state = answer.next_state
        assert np.isfinite(answer.score).all()
        assert (answer.score >= 0).all()
        assert np.isfinite(state).all()
        assert np.isfinite(answer.expected).all()
        assert not (np.isnan(extreme) and answer.contribution.any())
