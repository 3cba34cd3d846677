"""The front's channels against the same written out for one stream in plain Python, and
what must hold of the whole step for few metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from detector.events import F32, F64
from detector.model.engine import clock_input
from training.models.multivariate import AutoencoderNetwork
from training.models.shapes import BOOKS, PROTOTYPES, Shape
from training.models.sketch import DOUBTED
from training.models.surprise import CENTROIDS, Front, slot_of
from training.models.univariate import UnivariateStep, first_row

TICK = 300.0
POINTS = 700


class PlainSketch:
    """Centroids as a sorted list of [value, weight]."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = list[list[float]]()

    def tail(self, q: float, sign: float) -> float:
        """-log10 of the share of the past at q or beyond it, above (sign 1) or below
        (-1).
        """
        held = sorted([sign * v, w] for v, w in self.held)
        q = sign * q
        total = sum(w for _, w in held)
        beyond = [
            sum(w for _, w in held[i:]) - held[i][1] / 2 for i in range(len(held))
        ]
        under = [i for i in range(len(held)) if held[i][0] < q]
        over = [i for i in range(len(held)) if held[i][0] >= q]
        if not over:
            top = held[-1][0]
            tenth = max(
                v
                for i, (v, _) in enumerate(held)
                if beyond[i] + held[i][1] / 2 >= 0.1 * total
            )
            width = max(top - tenth, 1e-3 * abs(top), 1e-30)
            return min(
                9.0, math.log10(2 * (total + 1)) + 2 * math.log10(1 + (q - top) / width)
            )
        i = over[0]
        if not under:
            reached = total
        elif held[i][0] == q:
            reached = beyond[i] + held[i][1] / 2
        else:
            share = (q - held[i - 1][0]) / (held[i][0] - held[i - 1][0])
            reached = math.exp(
                (1 - share) * math.log(beyond[i - 1]) + share * math.log(beyond[i])
            )
        return -math.log10((reached + 0.5) / (total + 1))

    def share(self, q: float) -> float:
        return sum(w for v, w in self.held if v == q) / max(
            sum(w for _, w in self.held), 1e-30
        )

    def see(self, q: float, weight: float) -> None:
        for entry in self.held:
            if entry[0] == q:
                entry[1] += weight
                return
        self.held = sorted([*self.held, [q, weight]])
        if len(self.held) > self.most:
            masses = np.cumsum([w for _, w in self.held])
            costs = {}
            for i in range(1, len(self.held) - 2):
                pair = self.held[i][1] + self.held[i + 1][1]
                costs[i] = (
                    pair / min(masses[i + 1], masses[-1] - masses[i] + self.held[i][1])
                    + 1e-5 * i
                )
            i = min(costs, key=lambda k: costs[k])
            (v, w), (u, x) = self.held[i : i + 2]
            self.held[i : i + 2] = [[(v * w + u * x) / (w + x), w + x]]


class PlainBook:
    def __init__(self, every: int, length: int, most: int) -> None:
        self.every = every
        self.length = length
        self.most = most
        self.prototypes = list[F64]()
        self.used = list[float]()
        self.block = list[float]()
        self.pattern = list[float]()
        self.novelty = 0.0

    def see(self, z: float) -> float:
        self.block.append(z)
        if len(self.block) == self.every:
            extreme = max(self.block, key=abs)
            self.pattern.append(0.0 if abs(extreme) < 0.5 else extreme)
            self.block = []
            if len(self.pattern) >= self.length:
                self._learn(np.array(self.pattern[-self.length :]))
        return self.novelty

    def _learn(self, pattern: F64) -> None:
        distances = [float(np.abs(p - pattern).mean()) for p in self.prototypes]
        near = int(np.argmin(distances)) if distances else -1
        self.novelty = distances[near] if distances else 0.0
        self.used = [0.999 * u for u in self.used]
        if distances and self.novelty <= 1:
            self.prototypes[near] += 0.1 * (pattern - self.prototypes[near])
            self.used[near] += 1
        elif len(self.prototypes) < self.most:
            self.prototypes.append(pattern)
            self.used.append(1.0)
        else:
            least = int(np.argmin(self.used))
            self.prototypes[least] = pattern
            self.used[least] = 1.0


def plain_channels(x: F64, times: F64) -> F64:
    """[n, 6] of one metric without gaps: value, change, fast less slow mean,
    unexplained by the hour, two novelties.
    """
    # of working days and weekends, as they stand
    profile = np.zeros((2, 16))
    often = np.zeros(16)
    mean = x[0]
    drift = 0.0
    least = 1 - 0.2 ** (TICK / 5400)
    fast = slow = x[0]
    unexplained = 0.0
    last = x[0]
    books = [PlainBook(s.every, s.length, PROTOTYPES) for s in BOOKS]
    centers = np.zeros(2)
    spreads = np.zeros(2)
    found = np.zeros((len(x), 6))
    for i, value in enumerate(x):
        day = int(times[i] // 86_400 + 3) % 7
        slot = int(times[i] % 86_400 // 5400)
        kind = int(day >= 5)
        weights = {
            k % 16: w * often[k % 16]
            for k, w in ((slot - 1, 0.5), (slot, 1.0), (slot + 1, 0.5))
        }
        usual = (0.5 * mean + sum(w * profile[kind, k] for k, w in weights.items())) / (
            0.5 + sum(weights.values())
        )
        residual = value - usual
        off = value - profile[kind, slot]
        gain = max(1 / (often[slot] + 1), least)
        # what may be that kind's own
        new = 0.5 * (off - drift) if day in (0, 5) and often[slot] else 0.0
        profile[kind, slot] += gain * off
        profile[1 - kind, slot] += gain * (off - new)
        if day not in (0, 5) and often[slot]:
            drift += (1 - np.exp(-TICK / (3 * 86_400))) * (off - drift)
        often[slot] = min(often[slot] + 1, 1 / least)
        mean += max(1 / (i + 1), 0.002) * (value - mean)
        q = np.array([value, residual])
        centers = q.copy() if i == 0 else centers
        deviation = np.sqrt(spreads)
        d = q - centers
        z = np.clip(
            d / np.maximum(deviation + 1e-3 * np.abs(centers), 1e-30), -8, 8
        ) * (i > 1)
        d = np.where(
            (deviation > 0) & (i >= 20), np.clip(d, -5 * deviation, 5 * deviation), d
        )
        centers = centers + d / (i + 1)
        spreads = (1 - 1 / (i + 1)) * (spreads + d * d / (i + 1))
        gains = [
            max(2 / (span + 1), 1 / (i + 1))
            for span in (np.clip(1500 / TICK, 3, 8), np.clip(6000 / TICK, 8, 40))
        ]
        fast = fast + gains[0] * (value - fast)
        slow = slow + gains[1] * (value - slow)
        unexplained = (
            residual if i == 0 else unexplained + gains[1] * (residual - unexplained)
        )
        found[i] = (
            value,
            value - last,
            fast - slow,
            unexplained,
            books[0].see(z[0]),
            books[1].see(z[1]),
        )
        last = value
    return found


def plain_surprises(channels: F64) -> tuple[F64, F64]:
    """One-sided and signed [n, 6]."""
    sketches = [PlainSketch(CENTROIDS) for _ in range(6)]
    either = np.zeros_like(channels)
    signed = np.zeros_like(channels)
    for i, row in enumerate(channels):
        news = min(1.0, (1 - sketches[0].share(row[0])) / 0.02)
        for c, (q, sketch) in enumerate(zip(row.tolist(), sketches, strict=True)):
            up, low = (sketch.tail(q, 1), sketch.tail(q, -1)) if i >= 20 else (0.0, 0.0)
            sketch.see(q, 1 / (1 + max(0.0, up - DOUBTED, low - DOUBTED)))
            low = low if c < 4 else 0.0
            either[i, c] = news * max(up, low)
            signed[i, c] = np.clip(news * (up - low), -6, 6)
    return either, signed


def resting(seed: int) -> tuple[F64, F64]:
    """Nearly always at rest, with a blip now and then; event times as of :func:`daily`."""
    x = np.full(POINTS, 5.0)
    x[[330, 331, 470, 600]] = 6.0 + seed
    return x, daily(seed)[1]


def daily(seed: int) -> tuple[F64, F64]:
    """A rhythm with noise, a spike and a shift; event times, from Friday into Monday.
    Rounded, so that float32 and float64 see equal values.
    """
    rng = np.random.default_rng(seed)
    t: F64 = np.arange(POINTS, dtype=np.float64) * TICK + 158_400
    x = 50 + 20 * np.sin(2 * np.pi * t / 86_400) + rng.normal(size=POINTS)
    x[400] += 60
    x[600:] += 25
    rounded: F64 = np.round(x * 8) / 8
    return rounded, t


@pytest.mark.parametrize(
    ("made", "seed", "shapes"),
    [(daily, 0, BOOKS), (daily, 3, BOOKS), (daily, 7, ()), (resting, 0, BOOKS)],
)
def test_the_channels_are_those_of_the_plain_writing(
    made: Callable[[int], tuple[F64, F64]], seed: int, shapes: tuple[Shape, ...]
) -> None:
    x, times = made(seed)
    assert {int(t // 86_400 + 3) % 7 for t in times.tolist()} == {4, 5, 6, 0}
    expected, expected_signed = plain_surprises(plain_channels(x, times))
    front = Front(shapes).eval()
    state = front.first()[:, None]
    channels = front.channels
    expected = expected[:, :channels]
    expected_signed = expected_signed[:, :channels]
    found = np.zeros((POINTS, channels))
    signed = np.zeros((POINTS, channels))
    with torch.no_grad():
        for i in range(POINTS):
            _, second, day = torch.from_numpy(
                clock_input(np.zeros(1), times[i : i + 1])
            ).T[:, None]
            value = torch.tensor([[x[i]]], dtype=torch.float32)
            one, other, _, _, state = front(
                value,
                torch.ones(1, 1),
                slot_of(second),
                day,
                torch.tensor([[TICK]]),
                state,
            )
            found[i] = one[:, 0].numpy()
            signed[i] = other[:, 0].numpy()
    assert expected[400 if made is daily else 330].max() > 3
    # what follows a blip in running means is soon less than float32 can tell
    exact = slice(None) if made is daily else slice(2)
    near = np.abs(found - expected)[:, exact] < 1e-2
    # two numbers that float32 can not tell apart may change places
    assert near.mean() > 0.98, near.mean(axis=0)
    assert (np.abs(signed - expected_signed)[:, exact] < 1e-2).mean() > 0.98


class Stepped:
    """The step that is exported, with weights that nobody fitted: each export is held
    to its module where it is made (``training.fitting.export.verify``).
    """

    def __init__(self, features: int, shapes: tuple[Shape, ...] = BOOKS) -> None:
        torch.manual_seed(0)
        front = Front(shapes)
        width = front.channels * features
        self.step = UnivariateStep(
            AutoencoderNetwork(width, 16, torch.eye(width) / width).eval(),
            1.75,
            features,
            front,
        ).eval()

    def run(self, values: F32) -> tuple[F32, F32, F32]:
        """Scores [n, B], contributions [n, B, F] and the last rows [B, S] of B streams
        with values [n, B, F].
        """
        rows = torch.from_numpy(
            np.repeat(first_row(self.step)[None], values.shape[1], axis=0)
        )
        scores = []
        shares = []
        with torch.no_grad():
            for i, x in enumerate(torch.from_numpy(values)):
                clock = torch.tensor([[TICK, (40_000 + i * TICK) % 86_400, 2]]).repeat(
                    len(x), 1
                )
                score, _, share, rows = self.step(x, clock, rows)
                scores.append(score.numpy())
                shares.append(share.numpy())
        return np.array(scores), np.array(shares), rows.numpy()


@pytest.fixture(scope="module", params=[BOOKS, ()], ids=["full", "lean"])
def one(request: pytest.FixtureRequest) -> Stepped:
    return Stepped(1, request.param)


def test_a_metric_in_another_unit_has_the_same_score(one: Stepped) -> None:
    x = daily(3)[0].astype(np.float32)
    scores, _, _ = one.run(
        np.stack([x, x * np.float32(2.0**-10), x * np.float32(2.0**10)], axis=1)[
            ..., None
        ]
    )  # of two: float32 then rounds the same
    np.testing.assert_allclose(scores[:, 1], scores[:, 0], atol=1e-3)
    np.testing.assert_allclose(scores[:, 2], scores[:, 0], atol=1e-3)


def test_a_spike_stands_out_a_constant_does_not_and_no_score_is_negative(
    one: Stepped,
) -> None:
    x = daily(4)[0].astype(np.float32)
    scores = one.run(
        np.stack([x, np.full(POINTS, 7.3, np.float32)], axis=1)[..., None]
    )[0]
    assert scores.min() >= 0
    # of more than a day; a spike is a change twice
    assert 300 + scores[300:600, 0].argmax() in (400, 401)
    assert scores[120:300, 1].max() < scores[400, 0]


def test_one_metric_takes_at_most_512_floats_and_a_lean_one_little_more_than_half_of_that() -> (
    None
):
    assert Stepped(1).step.layout.size <= 512
    assert Stepped(1, ()).step.layout.size <= 280


def test_a_missing_value_changes_nothing_of_its_metric() -> None:
    two = Stepped(2)
    x, _ = daily(5)
    y, _ = daily(6)
    pairs = np.stack([x, y], axis=1).astype(np.float32)[:200, None]
    gone = np.array([True, False])
    held = pairs.copy()
    held[150:, :, gone] = np.nan
    _, shares, row = two.run(held)
    _, _, before = two.run(held[:150])
    at = two.step.layout.slices()["front"]
    metrics, metrics_before = (
        r[0, at].reshape(two.step.front.size, 2).T for r in (row, before)
    )
    np.testing.assert_array_equal(metrics[0], metrics_before[0])
    assert (metrics[1] != metrics_before[1]).any()
    assert (shares[150:, 0, 0] == 0).all()
    assert np.isfinite(row).all()


def test_the_metric_that_went_wrong_contributes_most() -> None:
    three = Stepped(3)
    values = np.stack([daily(seed)[0] for seed in (7, 8, 9)], axis=1)
    values[400] -= 60
    values[600:] -= 25
    values[500, 1] += 80
    _, shares, _ = three.run(values.astype(np.float32)[:, None])
    assert shares[500, 0].argmax() == 1
    assert shares[500, 0, 1] > 0.8
