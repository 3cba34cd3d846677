"""What is usual of a metric at this time of the day, on a working day or at a weekend.

Theory of operation. A day has :data:`~training.models.surprise_state.SLOTS` slots. Each
holds the mean of its visits, the last one most of all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.models.surprise_state import SLOTS, Days, Point

_DAY = 86_400.0  # seconds
# The first days of their kind; 0 is Monday.
SATURDAY = 5.0
MONDAY = 0.0
# Share of what the first day of a kind teaches that the other kind learns, too. Any
# other day teaches both kinds all of it.
SHARED = 0.5
# Share of a slot's content that one visit leaves, however many points it has.
_KEPT = 0.2
# Memory of what a slot changes by from one ordinary day to the next, in seconds.
_DRIFT_MEMORY = 3 * _DAY
# Weight of a neighbouring slot beside a slot's own, and of the mean of all.
_NEIGHBOUR = 0.5
_OF_ALL = 0.5


class DayProfile(nn.Module):
    """The slots of a day of N metrics."""

    def __init__(self) -> None:
        super().__init__()
        slots = torch.arange(SLOTS)
        apart = (slots[:, None] - slots[None, :]).remainder(SLOTS)
        beside = torch.where((apart == 1) | (apart == SLOTS - 1), _NEIGHBOUR, 0.0)
        self.register_buffer("neighbours", torch.where(apart == 0, 1.0, beside))
        self.register_buffer("slots", slots.float()[:, None])

    def forward(
        self, point: Point, mean: Tensor, days: Days
    ) -> tuple[Tensor, Tensor, Days]:
        """What is usual in this slot, what that leaves of x, and the days after x.

        A slot is read with its neighbours and with the mean of all. It holds four
        fifths of the mean of its last visit and the rest of those before, however many
        points a visit has. A weekend is known by how it differs from a working day, so
        what is learned of either holds for both. A change that appears on the first day
        of a kind may be that kind's own or here to stay: the other kind learns half of
        it. A change on any other day is learned wholly. What drifts from each day to
        the next, as a counter does, is not a change. So a weekend's difference is found
        within two weekends, and a lasting shift on any other day is unexpected once.
        """
        working, more, often, drift = days
        x = point.x
        weekend = (point.day > SATURDAY - 0.5).float()
        turn = _is(point.day, SATURDAY) - _is(point.day, MONDAY)
        now = (point.slot == self.get_buffer("slots")).float()
        weight = (self.get_buffer("neighbours") @ now) * often
        shown = working + weekend * more
        usual = _weighted_mean(mean, shown, weight)
        tick = point.tick.clamp(min=1e-3)
        kept_per_second = math.log(_KEPT) * SLOTS / _DAY
        least = 1.0 - torch.exp(tick * kept_per_second)
        now = point.present * now
        met = now * (often > 0.5).float()
        off = _total(met * (x - shown))
        gain = torch.maximum(1.0 / (often + 1.0), least)
        learned = met * gain
        of_this_kind = (1.0 - SHARED) * turn * (off - drift)
        own = learned * of_this_kind
        working = working + now * gain * (x - shown) - weekend * own
        ordinary = _total(met) * (1.0 - turn.abs())
        forgotten = 1.0 - torch.exp(tick * (-1.0 / _DRIFT_MEMORY))
        drift = drift + ordinary * forgotten * (off - drift)
        residual = x - usual
        weekends = more + own
        often = torch.minimum(often + now, 1.0 / least)
        return usual, residual, Days(working, weekends, often, drift)


def _is(days: Tensor, day: float) -> Tensor:
    """1 where it is this day of the week, else 0."""
    return (days == day).float()


def _total(of_slots: Tensor) -> Tensor:
    """The sum [1, N] over the slots of a day, as a product, see
    :mod:`training.models.sketch`.
    """
    return torch.ones(1, SLOTS) @ of_slots


def _weighted_mean(mean: Tensor, of_slots: Tensor, weight: Tensor) -> Tensor:
    """The mean of all [1, N] and of the slots [SLOTS, N], by their weight."""
    read = _OF_ALL * mean + _total(weight * of_slots)
    return read / (_OF_ALL + _total(weight))


def slot_of(second: Tensor) -> Tensor:
    """The slot of the day that a second of the day is in."""
    return torch.floor(second * (SLOTS / _DAY)).clamp(0, SLOTS - 1)
