"""The exported graph equals the six equations, torch, and itself in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from training.fitting.export import graph
from training.fitting.train import projection
from training.models.autoencoder import AutoencoderNetwork
from training.models.multivariate import AutoencoderStep, blank_rows
from training.models.reference_lstm import CellWeights, lstm_step

F32 = npt.NDArray[np.float32]
FEATURES = 5
HIDDEN = 6


@pytest.fixture(scope="module")
def network() -> AutoencoderNetwork:
    torch.manual_seed(7)
    history = np.random.default_rng(1).normal(size=(200, FEATURES)).astype(np.float32)
    network = AutoencoderNetwork(FEATURES, HIDDEN, projection([history]))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)  # weights large enough that every gate moves
    return network.eval()


@pytest.fixture(scope="module")
def step(network: AutoencoderNetwork) -> AutoencoderStep:
    return AutoencoderStep(network, power=1.75, learning=20).eval()


@pytest.fixture(scope="module")
def runtime(step: AutoencoderStep) -> OnnxEngine:
    features = tuple(Feature(f"f{j}") for j in range(step.layout.features))
    manifest = Manifest(
        schema=1,
        name="test",
        version="1",
        features=features,
        tick_interval=60.0,
        state_size=step.layout.size,
        warm_up=20,
        tail=TailFit((1.0,), (1.0,), -1.0, 1.0),
        files={},
        provenance={},
    )
    rows = start(step, 1)
    bundle = Bundle(Path("test"), "", manifest, graph(step), rows[0], {}, rows)
    return OnnxEngine(bundle)


def start(step: AutoencoderStep, streams: int, frozen: bool = True) -> F32:
    rows = blank_rows(streams, step.layout)
    at = step.layout.slices()
    rows[:, at["seen"]] = 20 if frozen else 0
    return rows


def points(ticks: int, streams: int, seed: int = 0) -> F32:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(ticks, streams, FEATURES)).astype(np.float32)
    missing = rng.random(values.shape) < 0.1
    values[missing] = np.nan
    return values


def clock(streams: int) -> F32:
    return clock_input(np.full(streams, 60.0), np.full(streams, 1.7e9))


def cell_weights(cell: torch.nn.Module) -> CellWeights:
    weights = {
        name: value.detach().double().numpy() for name, value in cell.named_parameters()
    }
    return CellWeights(weights["gates.weight"], weights["gates.bias"])


def test_the_graphs_lstms_are_the_six_equations(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    at = step.layout.slices()
    encoder = cell_weights(step.encoder)
    decoder = cell_weights(step.decoder)
    weight, bias = (p.detach().double().numpy() for p in step.bottleneck.parameters())
    state = start(step, 3)
    eh, ec, dh, dc = (np.zeros((3, HIDDEN)) for _ in range(4))
    for x in points(40, 3):
        state = runtime.step(x, clock(3), state).next_state
        clipped = np.clip(x, -30, 30).astype(np.float64)
        z = np.where(np.isnan(x), 0, clipped)
        eh, ec = lstm_step(np.arcsinh(z), eh, ec, encoder)
        bottleneck = np.tanh(eh @ weight.T + bias)
        dh, dc = lstm_step(bottleneck, dh, dc, decoder)
        for name, value in (
            ("encoder_h", eh),
            ("encoder_c", ec),
            ("decoder_h", dh),
            ("decoder_c", dc),
        ):
            np.testing.assert_allclose(state[:, at[name]], value, atol=1e-5)


def test_the_exported_graph_equals_torch(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    state = start(step, 4, frozen=False)
    other = torch.from_numpy(state.copy())
    for x in points(300, 4):
        served = runtime.step(x, clock(4), state)
        with torch.no_grad():
            score, expected, contribution, other = step(
                torch.from_numpy(x), torch.from_numpy(clock(4)), other
            )
        state = served.next_state
        np.testing.assert_allclose(served.score, score.numpy(), rtol=1e-4)
        np.testing.assert_allclose(
            served.expected, expected.numpy(), rtol=1e-3, atol=1e-4
        )
        np.testing.assert_allclose(served.contribution, contribution.numpy(), atol=1e-4)


def test_serving_steps_as_training_saw(
    network: AutoencoderNetwork, step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    x = np.nan_to_num(points(100, 2))
    with torch.no_grad():
        reconstruction = network(torch.from_numpy(x.transpose(1, 0, 2)))[0].numpy()
    state = start(step, 2)
    for t in range(100):
        answer = runtime.step(x[t], clock(2), state)
        state = answer.next_state
        np.testing.assert_allclose(answer.expected, reconstruction[:, t], atol=1e-5)


def test_a_batch_is_each_stream_alone(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    together = start(step, 7)
    alone = start(step, 7)
    for x in points(50, 7, seed=3):
        batch = runtime.step(x, clock(7), together)
        single = [
            runtime.step(x[i : i + 1], clock(1), alone[i : i + 1]) for i in range(7)
        ]
        together = batch.next_state
        alone = np.concatenate([s.next_state for s in single])
        np.testing.assert_allclose(batch.score, [s.score[0] for s in single], atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_contributions_sum_to_one_and_a_missing_feature_has_none(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    x = points(1, 5, seed=9)[0]
    x[0] = np.nan
    answer = runtime.step(x, clock(5), start(step, 5))
    sums = answer.contribution.sum(axis=1)
    np.testing.assert_allclose(sums[1:], 1, atol=1e-5)
    assert sums[0] == 0
    assert (answer.contribution[np.isnan(x)] == 0).all()
    assert (answer.score >= 0).all()
    assert np.isfinite(answer.next_state).all()


def test_every_finite_value_keeps_the_state_finite(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    state = start(step, 2, frozen=False)
    for extreme in (3e38, -3e38, 0.0, 1e-38, 3e38):
        x = np.full((2, FEATURES), extreme, np.float32)
        answer = runtime.step(x, clock(2), state)
        state = answer.next_state
        assert np.isfinite(answer.score).all()
        assert np.isfinite(state).all()


def test_a_new_stream_learns_its_own_scale_and_then_keeps_it(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    at = step.layout.slices()
    state = start(step, 1, frozen=False)
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = 100 * rng.normal(size=(1, FEATURES))
        x = (1e6 + noise).astype(np.float32)
        state = runtime.step(x, clock(1), state).next_state
    center = state[0, at["center"]]
    scale = state[0, at["scale"]]
    assert np.all(np.abs(center - 1e6) < 200)
    assert np.all(scale > 20)
    assert np.all(scale < 2000)
    far_away = np.zeros((1, FEATURES), np.float32)
    after = runtime.step(far_away, clock(1), state).next_state
    np.testing.assert_array_equal(after[0, at["scale"]], scale)


def test_a_flatline_contributes_most_and_raises_the_score(
    step: AutoencoderStep, runtime: OnnxEngine
) -> None:
    state = start(step, 1)
    x = points(2200, 1, seed=4)
    frozen = 2
    x[2000:, 0, frozen] = 0.1
    answers = []
    for point in x:
        answer = runtime.step(point, clock(1), state)
        state = answer.next_state
        answers.append(answer)
    assert answer.contribution[0].argmax() == frozen
    before = [a.score[0] for a in answers[1000:2000]]
    assert answer.score[0] > np.quantile(before, 0.99) + 0.3
