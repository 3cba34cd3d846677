"""The front equals its plain reference, and laws of the whole step for few metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from detector.events import F32, F64
from detector.model.engine import clock_input
from detector.timestamps import DAY
from training.models.autoencoder import AutoencoderNetwork
from training.models.day_profile import slot_of
from training.models.reference_surprise import OF_SHAPES, channels, surprises
from training.models.shapes import BOOKS, Shape
from training.models.surprise import Front
from training.models.univariate import UnivariateStep, first_row

TICK = 300.0
POINTS = 700
WEDNESDAY = 2


def resting(seed: int) -> tuple[F64, F64]:
    """Nearly always the same value, with rare blips; times as in :func:`daily`."""
    x = np.full(POINTS, 5.0)
    x[[330, 331, 470, 600]] = 6.0 + seed
    return x, daily(seed)[1]


def daily(seed: int) -> tuple[F64, F64]:
    """A daily pattern with noise, a spike and a shift; event times, Friday to Monday.

    Rounded, so that float32 and float64 see equal values.
    """
    rng = np.random.default_rng(seed)
    t: F64 = np.arange(POINTS, dtype=np.float64) * TICK + 158_400
    x = 50 + 20 * np.sin(2 * np.pi * t / DAY) + rng.normal(size=POINTS)
    x[400] += 60
    x[600:] += 25
    rounded: F64 = np.round(x * 8) / 8
    return rounded, t


def front_surprises(front: Front, values: F64, times: F64) -> tuple[F64, F64]:
    """The graph's surprises of a metric: one-sided ones [n, channels], and signed ones
    [n, inputs].
    """
    state = front.first()[:, None]
    one_sided = []
    signed = []
    for value, time in zip(values.tolist(), times.tolist(), strict=True):
        clock = torch.from_numpy(clock_input(np.zeros(1), np.array([time])))
        _, second, day = clock.T[:, None]
        with torch.no_grad():
            either, both, *_, state = front(
                torch.tensor([[value]], dtype=torch.float32),
                torch.ones(1, 1),
                slot_of(second),
                day,
                torch.tensor([[TICK]]),
                state,
            )
        one_sided.append(either[:, 0].numpy())
        signed.append(both[:, 0].numpy())
    return np.array(one_sided), np.array(signed)


@pytest.mark.parametrize(
    ("made", "seed", "shapes"),
    [(daily, 0, BOOKS), (daily, 3, BOOKS), (daily, 7, ()), (resting, 0, BOOKS)],
)
def test_the_front_is_its_reference(
    made: Callable[[int], tuple[F64, F64]], seed: int, shapes: tuple[Shape, ...]
) -> None:
    values, times = made(seed)
    front = Front(shapes).eval()
    plain = surprises(channels(values, times, TICK))
    omitted = () if shapes else OF_SHAPES
    one_sided, signed = (np.delete(part, omitted, axis=1) for part in plain)
    signed = signed[:, : front.inputs]
    found_one_sided, found_signed = front_surprises(front, values, times)
    assert one_sided[400 if made is daily else 330].max() > 3
    # After a blip, running means soon differ by less than float32 resolves.
    exact = slice(None) if made is daily else slice(2)
    is_near = np.abs(found_one_sided - one_sided)[:, exact] < 1e-2
    is_signed_near = np.abs(found_signed - signed)[:, exact] < 1e-2
    # Two numbers that float32 can't tell apart may change places.
    assert is_near.mean() > 0.98, is_near.mean(axis=0)
    assert is_signed_near.mean() > 0.98


@pytest.mark.parametrize("seed", [0, 3])
def test_the_data_of_this_law_spans_working_days_and_a_weekend(seed: int) -> None:
    _, times = daily(seed)
    days = {int(time // DAY + 3) % 7 for time in times.tolist()}
    assert days == {4, 5, 6, 0}


class Stepped:
    """The step that is exported, with weights that nobody fitted.

    Each export is compared to its module where it is made
    (``training.fitting.export.verify``).
    """

    def __init__(self, features: int, shapes: tuple[Shape, ...] = BOOKS) -> None:
        torch.manual_seed(0)
        front = Front(shapes)
        width = front.inputs * features
        self.step = UnivariateStep(
            AutoencoderNetwork(width, 16, torch.eye(width) / width).eval(),
            1.75,
            features,
            front,
        ).eval()

    def run(self, values: F32) -> tuple[F32, F32, F32]:
        """Scores [n, B], contributions [n, B, F] and the last rows [B, S].

        ``values`` [n, B, F] are those of B streams.
        """
        streams = values.shape[1]
        first = first_row(self.step)
        rows = torch.from_numpy(np.repeat(first[None], streams, axis=0))
        scores = []
        shares = []
        for i, x in enumerate(torch.from_numpy(values)):
            second = (40_000 + i * TICK) % DAY
            clock = torch.tensor([[TICK, second, WEDNESDAY]]).repeat(streams, 1)
            with torch.no_grad():
                score, _, share, rows = self.step(x, clock, rows)
            scores.append(score.numpy())
            shares.append(share.numpy())
        return np.array(scores), np.array(shares), rows.numpy()


@pytest.fixture(scope="module", params=[BOOKS, ()], ids=["full", "lean"])
def one(request: pytest.FixtureRequest) -> Stepped:
    return Stepped(1, request.param)


def test_a_metric_in_another_unit_has_the_same_score(one: Stepped) -> None:
    x = daily(3)[0].astype(np.float32)
    # powers of two, so that float32 rounds the same
    units = np.array([1.0, 2.0**-10, 2.0**10], np.float32)
    scores, _, _ = one.run((x[:, None] * units)[..., None])
    np.testing.assert_allclose(scores[:, 1], scores[:, 0], atol=1e-3)
    np.testing.assert_allclose(scores[:, 2], scores[:, 0], atol=1e-3)


def test_a_spike_scores_highest_and_a_constant_low(one: Stepped) -> None:
    x = daily(4)[0].astype(np.float32)
    constant = np.full(POINTS, 7.3, np.float32)
    scores, _, _ = one.run(np.stack([x, constant], axis=1)[..., None])
    assert scores.min() >= 0
    # more than a day has passed; a spike is a change twice
    assert 300 + scores[300:600, 0].argmax() in (400, 401)
    assert scores[120:300, 1].max() < scores[400, 0]


def test_the_state_of_one_metric_is_small() -> None:
    assert Stepped(1).step.layout.size <= 544
    assert Stepped(1, ()).step.layout.size <= 304


def test_a_missing_value_leaves_the_state_of_its_metric() -> None:
    two = Stepped(2)
    x, _ = daily(5)
    y, _ = daily(6)
    pairs = np.stack([x, y], axis=1).astype(np.float32)[:200, None]
    pairs[150:, :, 0] = np.nan
    _, shares, row = two.run(pairs)
    _, _, row_before = two.run(pairs[:150])
    at = two.step.layout.slices()["front"]
    size = two.step.front.size
    missing, present = row[0, at].reshape(size, 2).T
    missing_before, present_before = row_before[0, at].reshape(size, 2).T
    np.testing.assert_array_equal(missing, missing_before)
    assert (present != present_before).any()
    assert (shares[150:, 0, 0] == 0).all()
    assert np.isfinite(row).all()


def test_the_anomalous_metric_contributes_most() -> None:
    three = Stepped(3)
    values = np.stack([daily(seed)[0] for seed in (7, 8, 9)], axis=1)
    values[400] -= 60
    values[600:] -= 25
    values[500, 1] += 80
    _, shares, _ = three.run(values.astype(np.float32)[:, None])
    assert shares[500, 0].argmax() == 1
    assert shares[500, 0, 1] > 0.8


def hostile(points: int) -> F32:
    """What a broken sender sends [points, streams, 1], mixed with what it should."""
    rng = np.random.default_rng(8)
    ordinary = 50 + rng.normal(size=points)
    bad = [0.0, -3.0, 1e28, -1e28, 3e38, -3e38, np.nan, 1e-44, -1e-44, 1e-38]
    faulty = [np.where(np.arange(points) % 7 == 3, one, ordinary) for one in bad]
    constant = [np.full(points, one) for one in bad]
    turning = [np.where(np.arange(points) < 40, one, ordinary) for one in bad]
    mixed = [rng.choice(bad, points) for _ in range(4)]
    tiny = [np.where(np.arange(points) < 60, 1e-12, one) for one in bad]
    streams = [*faulty, *constant, *turning, *mixed, *tiny]
    return np.stack(streams, axis=1).astype(np.float32)[..., None]


def test_every_input_keeps_state_and_score_finite(one: Stepped) -> None:
    values = hostile(120)
    scores, shares, rows = one.run(values)
    assert np.isfinite(rows).all()
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (shares[np.isnan(values)] == 0).all()


def test_a_missing_value_leaves_all_but_the_network_and_the_clock(
    one: Stepped,
) -> None:
    x = daily(5)[0].astype(np.float32)[:200, None, None]
    x[150:] = np.nan
    _, _, row = one.run(x)
    _, _, before = one.run(x[:150])
    at = one.step.layout.slices()
    for part in ("bias", "energy", "error", "fused", "hot", "ranked", "ranks", "front"):
        np.testing.assert_array_equal(row[0, at[part]], before[0, at[part]], part)
