"""A slow trend: what adds to it, what does not, and how it ends."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch

from detector.events import F64
from detector.timestamps import DAY, HOUR
from training.models.day_profile import DayProfile, into_slot, slot_of
from training.models.reference_trend import TrendReference
from training.models.slow_trend import LEAKS, Trend, find_baseline, follow_trend
from training.models.surprise_state import SLOTS, Days, Point, TrendState

TICK = 600.0
A_DAY = int(DAY / TICK)  # points
TUESDAY = 1


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1), value)


class Metric:
    """One metric and its profile, point by point; all days are Tuesdays.

    In an incident the profile learns nothing, as in the whole step.
    """

    def __init__(self) -> None:
        self.profile = DayProfile()
        slots = [torch.zeros(SLOTS, 1) for _ in range(3)]
        working, weekend, often = slots
        self.days = Days(working, weekend, often, one(0.0))
        self.state = TrendState(*[one(0.0) for _ in TrendState._fields])
        self.points = 0
        self.recent = 0.0
        self.plain = TrendReference(TICK)
        self.plain_total = 0.0

    def see(
        self, x: float, hot: float = 0.0, accepted: float = 0.0, present: float = 1.0
    ) -> Trend:
        leaks = float(self.state.total) >= LEAKS
        time = self.points * TICK
        second = one(time % DAY)
        point = Point(
            x=one(x),
            present=one(present),
            slot=slot_of(second),
            into_slot=into_slot(second),
            day=one(TUESDAY),
            tick=one(TICK),
            is_hot=one(max(hot, float(leaks))),
            is_shut=one(1.0),
            is_accepted=one(accepted),
        )
        contents = self.days.working[:, 0].tolist()
        self.plain_total = self.plain.see(x, time, contents, self.recent, 1.0, 50.0)
        deviation = one(1.0)
        base = find_baseline(
            point,
            one(self.recent),
            deviation,
            one(self.points),
            self.days,
            self.state,
        )
        trend = follow_trend(point, base, deviation, one(50.0), self.state)
        if not leaks and not hot:
            _, _, self.days = self.profile(point, one(50.0), self.days)
        shifted = self.days.working + trend.shift
        self.days = self.days._replace(working=shifted)
        self.state = trend.after
        self.recent += 0.4 * (x - self.recent)
        self.points += 1
        return trend


def rhythm(days: int, seed: int = 0) -> F64:
    hours = np.arange(days * A_DAY) * TICK / HOUR
    noise = np.random.default_rng(seed).normal(size=len(hours))
    return 50 + 10 * np.sin(2 * np.pi * hours / 24) + noise


@functools.cache
def _known() -> Metric:
    metric = Metric()
    for x in rhythm(8).tolist():
        metric.see(x)
    return metric


def known() -> Metric:
    """A metric after eight days without a trend."""
    return copy.deepcopy(_known())


def test_it_is_its_reference() -> None:
    metric = Metric()
    values = rhythm(12)
    start = 9 * A_DAY
    values[start : start + A_DAY] += np.linspace(0, 15, A_DAY)
    totals = []
    for i, x in enumerate(values.tolist()):
        trend = metric.see(x)
        assert float(trend.total) == pytest.approx(metric.plain_total, abs=0.02), i
        assert bool(trend.is_moving) == metric.plain.moves, i
        totals.append(float(trend.total))
    assert max(totals[:start]) == 0
    assert max(totals[start : start + A_DAY]) > 10
    assert max(totals[-A_DAY // 2 :]) == 0


def test_neither_a_spike_nor_an_hour_starts_it() -> None:
    values = rhythm(12)
    at = 10 * A_DAY
    values[at] += 100
    values[at + 60 : at + 66] += 4
    metric = Metric()
    assert not any(float(metric.see(x).total) for x in values.tolist())


def test_a_step_that_was_told_does_not_start_it() -> None:
    metric = known()
    for x in rhythm(1, seed=1).tolist():
        assert float(metric.see(x + 20, hot=1.0).total) == 0


def test_what_moves_on_in_an_incident_starts_it() -> None:
    metric = known()
    values = rhythm(1, seed=1) + np.linspace(10, 40, A_DAY)
    assert any(float(metric.see(x, hot=1.0).total) for x in values.tolist())


def test_a_leak_moves_until_it_holds_still() -> None:
    metric = known()
    leak = np.minimum(np.arange(2 * A_DAY) / A_DAY, 1) * 20
    moves = [bool(metric.see(x).is_moving) for x in (rhythm(2, seed=1) + leak).tolist()]
    assert all(moves[A_DAY // 2 : A_DAY])
    assert not any(moves[-A_DAY // 4 :])
    assert float(metric.state.total) >= LEAKS


def test_a_new_level_moves_the_whole_profile() -> None:
    metric = known()
    for x in rhythm(1, seed=1).tolist():
        metric.see(x + 20, hot=1.0)
    before = metric.days.working.clone()
    for x in rhythm(1, seed=2)[:30].tolist():
        metric.see(x + 20, hot=1.0, accepted=1.0)
    moved = metric.days.working - before
    assert float(moved.mean()) == pytest.approx(20, abs=1.5)
    assert abs(float(metric.state.mean)) < 1.5


def test_it_says_for_how_long_it_leaks() -> None:
    metric = known()
    values = rhythm(1, seed=1) + np.linspace(0, 20, A_DAY)
    for x in values.tolist():
        metric.see(x)
    assert 0.7 * DAY < float(metric.state.leaks_for) <= DAY


def test_a_missing_value_leaves_it_as_it_is() -> None:
    metric = known()
    before = metric.state
    metric.see(0.0, present=0.0)
    for name, was, now in zip(TrendState._fields, before, metric.state, strict=True):
        assert torch.equal(was, now), name
