"""What a sketch says of a value, what it learns of it, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.models.reference_sketch import SketchReference
from training.models.sketch import BIG, MOST_SURPRISED, Place, Sketch

CENTROIDS = 12
SETTLED = 20
OPEN = torch.ones(1, 1)
SHUT = torch.zeros(1, 1)


class Past:
    """One number's sketch, value by value."""

    def __init__(self, memory: float = 1.0) -> None:
        self.sketch = Sketch(CENTROIDS, memory)
        self.values = torch.full((CENTROIDS, 1), BIG)
        self.weights = torch.zeros(CENTROIDS, 1)
        self.points = 0

    def ask(self, q: float) -> tuple[float, float, Place]:
        """Surprise above and below, and the place that can be learned."""
        asked = torch.full((1, 1), q)
        high, low, _, place = self.sketch(asked, self.values, self.weights)
        return float(high), float(low), place

    def see(
        self, q: float, gate: Tensor = OPEN, guarded: Tensor = SHUT
    ) -> tuple[float, float]:
        high, low, place = self.ask(q)
        settled = OPEN if self.points >= SETTLED else SHUT
        self.values, self.weights = self.sketch.learn(place, gate, settled, guarded)
        self.points += 1
        return high, low


def seen(count: int, past: Past | None = None, unit: float = 1.0) -> Past:
    past = Past() if past is None else past
    for q in np.random.default_rng(0).normal(10, 1, count).tolist():
        past.see(float(np.float32(q) * np.float32(unit)))
    return past


@pytest.mark.parametrize("count", [0, 1, 5, 11, 12, 200])
@pytest.mark.parametrize("q", [-1e9, 3.0, 9.9, 10.0, 17.0, 1e28])
def test_a_shut_gate_leaves_the_sketch_to_the_bit(count: int, q: float) -> None:
    past = seen(count)
    before = past.values.clone(), past.weights.clone()
    for guarded in (OPEN, SHUT):
        past.see(q, SHUT, guarded)
        assert torch.equal(past.values, before[0])
        assert torch.equal(past.weights, before[1])


def test_a_shut_gate_leaves_it_at_each_of_its_own_values() -> None:
    past = seen(200)
    before = past.values.clone(), past.weights.clone()
    for q in past.values[:, 0].tolist():
        past.see(q, SHUT)
    assert torch.equal(past.values, before[0])
    assert torch.equal(past.weights, before[1])


@pytest.mark.parametrize("count", [0, 1, 11, 12, 200])
def test_a_missing_value_changes_nothing(count: int) -> None:
    past = seen(count)
    before = past.values.clone(), past.weights.clone()
    past.see(BIG)
    past.see(BIG, OPEN, OPEN)
    assert torch.equal(past.values, before[0])
    assert torch.equal(past.weights, before[1])


def test_a_missing_value_is_not_forgotten_by() -> None:
    past = seen(200, Past(memory=0.99))
    before = past.weights.clone()
    past.see(BIG)
    past.see(9.0, SHUT)
    assert torch.equal(past.weights, before)


def test_the_past_fades_where_it_learns() -> None:
    past = seen(2000, Past(memory=0.99))
    assert float(past.weights.sum()) < 101


def plain_of(past: Past) -> SketchReference:
    """The reference that holds the same centroids."""
    plain = SketchReference()
    pairs = zip(past.values[:, 0].tolist(), past.weights[:, 0].tolist(), strict=True)
    for value, weight in pairs:
        if weight > 0:
            plain.see(value, weight)
    return plain


@pytest.mark.parametrize("q", [-40.0, 5.0, 9.9, 17.0, 1e6])
def test_one_value_stretches_a_guarded_extreme_by_a_quarter_width(q: float) -> None:
    past = seen(300)
    bounded = plain_of(past).bounded(q)
    ends = float(past.values[0]), float(past.values[-1])
    past.see(q, OPEN, OPEN)
    after = float(past.values[0]), float(past.values[-1])
    if bounded == q:
        assert after == ends
    else:
        assert after == pytest.approx((min(ends[0], bounded), max(ends[1], bounded)))
        assert after != ends


def test_an_unguarded_sketch_reaches_the_value() -> None:
    past = seen(300)
    past.see(1e6)
    assert float(past.values[-1]) == 1e6


def test_it_says_what_its_reference_says() -> None:
    past = Past()
    plain = SketchReference()
    for i, q in enumerate(np.random.default_rng(3).normal(size=300).tolist()):
        rounded = float(np.float32(q))
        high, low = past.see(rounded)
        weight = 1.0
        if i >= SETTLED:
            up, down = plain.tail(rounded, 1), plain.tail(rounded, -1)
            assert (high, low) == pytest.approx((up, down), abs=1e-3)
            weight = 1 / (1 + max(0.0, up - 2.5, down - 2.5))
        plain.see(rounded, weight)


@pytest.mark.parametrize("unit", [1e-3, 1e9])
def test_the_unit_of_the_values_makes_no_difference(unit: float) -> None:
    one = seen(300)
    other = seen(300, unit=unit)
    for q in (-40.0, 7.0, 9.9, 11.0, 14.0, 1e4):
        scaled = float(np.float32(q) * np.float32(unit))
        assert other.ask(scaled)[:2] == pytest.approx(one.ask(q)[:2], abs=2e-3)


@pytest.mark.parametrize("hostile", [0.0, -1e28, 1e28, 1e-44, -1e-38, 5.0])
def test_hostile_values_leave_it_finite(hostile: float) -> None:
    past = seen(30)
    for q in (hostile, 0.0, hostile, -hostile, 1e-40, 1e28, hostile, -1e28) * 5:
        for guarded in (OPEN, SHUT):
            found = past.see(q, OPEN, guarded)
            assert np.isfinite(found).all()
            assert max(found) <= MOST_SURPRISED
            assert bool(torch.isfinite(past.values).all())
            assert bool(torch.isfinite(past.weights).all())
            assert bool((past.values.diff(dim=0) >= 0).all())
