"""When a stream may learn: by what it shows, for how long, and what it holds."""

from __future__ import annotations

import torch

from training.models.learning_gate import (
    COOL,
    HOT,
    STATE_SECONDS,
    STATE_TICKS,
    Gate,
    after_point,
    is_shut,
)

TICK = 300.0
OLD = 100_000.0  # points of a stream that knows enough
HOUR = 3600.0


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1), value)


class Held:
    """One stream's gate, point by point."""

    def __init__(self, tick: float = TICK, age: float = OLD) -> None:
        self.gate = Gate(one(0.0), one(0.0))
        self.tick = tick
        self.age = age

    def see(
        self, rank: float, still: float = 1.0, lost: float = 0.0, some: float = 1.0
    ) -> bool:
        """Whether the stream learns the point."""
        shut = is_shut(self.gate, one(self.tick), one(self.age))
        self.gate = after_point(
            self.gate,
            one(rank),
            one(some),
            one(still),
            one(lost),
            one(self.tick),
        )
        return not bool(shut * self.gate.is_hot)

    def hours_until_accepted(self, still: float = 1.0, lost: float = 0.0) -> float:
        points = 1
        while not self.see(HOT, still, lost):
            points += 1
        return points * self.tick / HOUR


def test_it_shuts_at_the_first_point_of_an_incident() -> None:
    held = Held()
    assert held.see(HOT - 0.01)
    assert not held.see(HOT)


def test_it_opens_only_when_the_evidence_is_common_again() -> None:
    held = Held()
    held.see(HOT)
    assert not held.see(COOL)
    assert held.see(COOL - 0.01)
    assert held.see(COOL)


def test_a_young_stream_learns_everything() -> None:
    held = Held(age=999.0)
    assert held.see(HOT)
    assert not Held(age=1000.0).see(HOT)


def test_a_state_that_holds_still_is_accepted_after_six_hours() -> None:
    hours = Held().hours_until_accepted()
    assert STATE_SECONDS / HOUR <= hours <= STATE_SECONDS / HOUR + 0.2


def test_a_slow_metric_is_given_a_day_of_its_ticks() -> None:
    hours = Held(tick=HOUR).hours_until_accepted()
    assert STATE_TICKS <= hours <= STATE_TICKS + 2


def test_a_stream_of_a_day_accepts_sooner() -> None:
    hours = Held(tick=60.0, age=1440.0).hours_until_accepted()
    assert 2.3 < hours < 2.6


def test_a_leak_and_a_total_loss_take_days() -> None:
    assert 47 < Held().hours_until_accepted(still=0.0) < 49
    assert 71 < Held().hours_until_accepted(lost=1.0) < 73
    assert 71 < Held().hours_until_accepted(still=0.0, lost=1.0) < 73


def test_it_stays_open_until_an_accepted_stream_is_calm() -> None:
    held = Held()
    held.hours_until_accepted()
    assert held.see(HOT)
    assert held.see(COOL)
    assert held.see(0.0)


def test_what_counted_fades_in_hours_of_calm() -> None:
    held = Held()
    held.hours_until_accepted()
    for _ in range(3):
        held.see(0.0)
    assert not held.see(HOT)
    for _ in range(144):
        held.see(0.0)
    assert float(held.gate.held) == 0.0


def test_a_missing_value_neither_opens_nor_counts() -> None:
    held = Held()
    held.see(HOT)
    before = held.gate
    held.see(0.0, some=0.0)
    assert torch.equal(held.gate.is_hot, before.is_hot)
    assert torch.equal(held.gate.held, before.held)
