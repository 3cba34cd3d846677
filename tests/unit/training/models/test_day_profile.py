"""What is usual at a time of the day, on working days and at weekends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detector.timestamps import DAY
from training.models.day_profile import DayProfile, slot_of
from training.models.reference_surprise import DailyPattern
from training.models.surprise_state import SLOTS, Days, Point

TICK = 1800.0
A_DAY = int(DAY / TICK)  # points


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1), value)


class Profile:
    """One metric's days, point by point from a Thursday."""

    def __init__(self) -> None:
        self.profile = DayProfile()
        slots = [torch.zeros(SLOTS, 1) for _ in range(3)]
        working, weekend, often = slots
        self.days = Days(working, weekend, often, torch.zeros(1, 1))
        self.points = 0

    def see(self, x: float, mean: float = 50.0, present: float = 1.0) -> float:
        """What was usual before the point."""
        time = self.points * TICK
        point = Point(
            x=one(x),
            present=one(present),
            slot=slot_of(one(time % DAY)),
            day=one((time // DAY + 3) % 7),
            tick=one(TICK),
            is_hot=one(0.0),
            is_shut=one(0.0),
        )
        usual, residual, self.days = self.profile(point, one(mean), self.days)
        assert float(residual) == pytest.approx(x - float(usual), rel=1e-5, abs=1e-3)
        self.points += 1
        return float(usual)


def series(days: int) -> list[float]:
    """Busy by day, but not at weekends."""
    hours = np.arange(days * A_DAY) * TICK / 3600
    weekend = (hours // 24 + 3) % 7 >= 5
    busy = 30 * np.sin(2 * np.pi * hours / 24) * ~weekend
    noise = np.random.default_rng(0).normal(size=len(hours))
    found: list[float] = (50 + busy + noise).tolist()
    return found


def test_it_is_its_reference() -> None:
    profile = Profile()
    plain = DailyPattern(50.0, TICK)
    for i, x in enumerate(series(16)):
        expected = plain.explained(i * TICK)
        assert profile.see(x, plain.mean) == pytest.approx(expected, abs=1e-2)
        plain.learn(x, i * TICK)


def test_the_hour_is_known_after_some_days_and_the_weekend_after_two() -> None:
    profile = Profile()
    values = series(18)
    found = np.array([profile.see(x) for x in values])
    off = np.abs(found - values).reshape(18, A_DAY).mean(axis=1)
    third_saturday = 16
    assert off[13:16].max() < 5
    assert off[third_saturday] < 10
    assert off[2] > 10  # the first Saturday


def test_a_missing_value_changes_nothing() -> None:
    profile = Profile()
    for x in series(3):
        profile.see(x)
    before = profile.days
    profile.see(1e9, present=0.0)
    assert all(map(torch.equal, profile.days, before))


def test_slots_part_the_day_evenly() -> None:
    seconds = torch.arange(0, DAY, 60.0)
    counts = torch.bincount(slot_of(seconds).long())
    assert counts.tolist() == [1440 // SLOTS] * SLOTS
