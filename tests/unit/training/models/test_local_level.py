"""The level that a metric just had, the distance to it, and where an incident went."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.models.local_level import Located, locate, unexplained
from training.models.reference_surprise import LocalLevelReference
from training.models.surprise_state import LocalLevel, Point

TICK = 300.0


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1), value)


class Level:
    """One metric's level, point by point."""

    def __init__(self, tick: float = TICK) -> None:
        self.state = LocalLevel(*[torch.zeros(1, 1) for _ in range(4)])
        self.tick = tick
        self.points = 0

    def see(
        self, left: float, hot: float = 0.0, shut: float = 1.0, present: float = 1.0
    ) -> Located:
        point = Point(
            x=one(0.0),
            present=one(present),
            slot=one(0.0),
            day=one(0.0),
            tick=one(self.tick),
            is_hot=one(hot),
            is_shut=one(shut),
        )
        gain = one(present / (self.points + 1))
        found = locate(point, one(left), self.state, gain)
        self.state = found.after
        self.points += int(present)
        return found


def wandered(tick: float = TICK) -> Level:
    """A level that knows 300 points of noise of deviation 1."""
    level = Level(tick)
    for left in np.random.default_rng(0).normal(size=300).tolist():
        level.see(left)
    return level


@pytest.mark.parametrize("tick", [60.0, 300.0, 3600.0])
def test_outside_of_an_incident_it_is_its_reference(tick: float) -> None:
    level = Level(tick)
    plain = LocalLevelReference(tick)
    values = np.random.default_rng(1).normal(size=200)
    values[100] += 50
    values[150:] -= 9
    for left in values.tolist():
        found = level.see(left)
        assert float(found.quick) == pytest.approx(plain.see(left), abs=1e-3)


def test_a_jump_is_in_the_quick_residual_at_once() -> None:
    level = wandered()
    calm = float(level.state.quick)
    found = level.see(40.0)
    assert float(found.quick) == pytest.approx((calm + 40.0) / 2, abs=1.0)


def test_one_value_moves_the_level_by_three_deviations_at_most() -> None:
    level = wandered()
    before = level.state
    near = abs(float(level.see(1e9).after.level - before.level))
    deviation = 1.25 * float(before.spread)
    assert 0 < near <= 3 * deviation


def test_the_level_and_the_deviation_stay_in_an_incident() -> None:
    level = wandered()
    before = level.state
    for _ in range(100):
        found = level.see(40.0, hot=1.0)
    assert torch.equal(level.state.level, before.level)
    assert torch.equal(level.state.spread, before.spread)
    assert float(found.quick) == pytest.approx(40.0 - float(before.level), rel=1e-3)


def test_an_accepted_state_becomes_the_level() -> None:
    level = wandered()
    for _ in range(30):
        found = level.see(40.0, hot=1.0, shut=0.0)
    assert float(level.state.level) == pytest.approx(40.0, abs=1.0)
    assert abs(float(found.quick)) < 1.0


def test_a_metric_is_back_within_two_deviations_of_its_level() -> None:
    level = wandered()
    assert float(level.see(40.0, hot=1.0).is_back) == 0
    found = [level.see(0.0, hot=1.0) for _ in range(8)]
    assert float(found[0].is_back) == 0
    assert float(found[-1].is_back) == 1
    assert float(level.see(0.0).is_back) == 0  # not in an incident


def test_a_state_holds_still_and_a_leak_does_not() -> None:
    state = wandered()
    leak = wandered()
    for i in range(1, 101):
        held = state.see(40.0, hot=1.0)
        moved = leak.see(2.0 * i, hot=1.0)
    assert float(held.is_still) == 1
    assert float(moved.is_still) == 0


def test_a_missing_value_leaves_it() -> None:
    level = wandered()
    before = level.state
    for hot in (0.0, 1.0):
        level.see(0.0, hot=hot, present=0.0)
        assert all(map(torch.equal, level.state, before))


def test_a_positive_metric_is_compared_in_logarithms() -> None:
    mean = one(100.0)
    half = unexplained(one(50.0), one(-50.0), mean)
    double = unexplained(one(200.0), one(100.0), mean)
    assert float(half) == pytest.approx(-float(double), rel=0.02)
    nothing = unexplained(one(0.0), one(-100.0), mean)
    assert float(nothing) == pytest.approx(-np.log(101.0), rel=1e-3)
    below = unexplained(one(-50.0), one(-40.0), one(-10.0))
    assert float(below) == -40.0
    assert float(unexplained(one(7.0), one(0.0), mean)) == 0.0
