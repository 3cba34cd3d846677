"""What a point means for its own metric: six surprises without a unit.

Theory of operation. One metric alone gives a network little to reconstruct, and its
mean, rhythm and noise are its own. So each metric becomes six channels, each O(1) per
point:

- its value;
- its change;
- its trend, a fast running mean minus a slow one;
- a slow mean of what the hour of the day does not explain, on a working day or at a
  weekend;
- how new its recent shape is (:mod:`training.models.shapes`), of the value;
- and of what the hour does not explain.

A sketch of the channel's own past (:mod:`training.models.sketch`) then
turns each channel into a *surprise*. If nearly all the past had exactly the present
value, nothing is surprising, even right after an anomaly. The result is the same for a
metric in bytes and in gigabytes, at a tick of a minute and of an hour.

A *lean* front omits the two channels of shape, which take half of the state and a third
of the time.

The front's state is a part of the stream's state row. A missing value changes nothing
of its metric. The last axis holds the N metrics of all streams at once; centroids,
prototypes and slots are on the axes before it (see :mod:`training.models.sketch`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.models.flatline import WIDTH as RUNS
from training.models.flatline import flatline_surprise
from training.models.layout import StateLayout
from training.models.shapes import BOOKS, Shape, ShapePrototypes
from training.models.sketch import BIG, TINY, Sketch
from training.models.surprise_state import (
    CENTROIDS,
    SLOTS,
    Days,
    FrontState,
    Point,
    Surprises,
    state_parts,
)

_DAY = 86_400.0  # seconds
# Weights of the channels' surprises in the score; each shape's novelty weighs 1.
WEIGHTS = (1.0, 1.0, 1.0, 1.5)
# The first days of their kind; 0 is Monday.
SATURDAY = 5.0
MONDAY = 0.0
# Share of what the first day of a kind teaches that the other kind learns, too. Any
# other day teaches both kinds all of it.
SHARED = 0.5
# Values beyond are clipped to this, well inside an empty centroid's.
LARGEST = 1e28
# Relative difference that float32 arithmetic leaves of two equal numbers.
ROUNDING = 3e-6
# Points that are counted before half of them are forgotten: float32 counts by one up to
# 16 million. Half of it is a multiple of every shape's length, so shapes keep their
# place.
COUNTED = 12e6
# Points before a sketch is trusted.
SETTLED = 20.0
# Least gain of the running mean: a memory of 500 points.
_MEAN_GAIN = 0.002
# Share of the past that must have other values for a value to be fully surprising.
_OTHER_VALUES = 0.02
# Share of a slot's content that one visit leaves, however many points it has.
_KEPT = 0.2
# Memory of what a slot changes by from one ordinary day to the next, in seconds.
_DRIFT_MEMORY = 3 * _DAY
# Spans of the running means: seconds, and the fewest and most points.
_SPANS = ((1500.0, 3.0, 8.0), (6000.0, 8.0, 40.0), (6000.0, 8.0, 40.0))
# Weight of a neighbouring slot beside a slot's own, and of the mean of all.
_NEIGHBOUR = 0.5
_OF_ALL = 0.5
# A standardised value, and a signed surprise, are clipped here.
_STANDARD_CLIP = 8.0
_SIGNED_CLIP = 6.0
# Deviations to which an update of the mean and variance is clipped.
_UPDATE_CLIP = 5.0
# The largest deviation whose square is finite in float32.
_FINITE_SQUARE = 1e18


_Stepped = tuple[Surprises, list[Tensor]]


class Front(nn.Module):
    """One point of N metrics -> the surprises of its C channels."""

    def __init__(self, shapes: tuple[Shape, ...] = BOOKS) -> None:
        super().__init__()
        self.sketch = Sketch(CENTROIDS)
        self.books = ShapePrototypes(shapes) if shapes else None
        self.weights = (*WEIGHTS, *(1.0 for _ in shapes))
        self.channels = len(self.weights)
        of_shapes = self.books.widths if self.books is not None else []
        self.layout = StateLayout(1, state_parts(self.channels, of_shapes))
        slots = torch.arange(SLOTS)
        apart = (slots[:, None] - slots[None, :]).remainder(SLOTS)
        beside = torch.where((apart == 1) | (apart == SLOTS - 1), _NEIGHBOUR, 0.0)
        self.register_buffer("neighbours", torch.where(apart == 0, 1.0, beside))
        self.register_buffer("slots", slots.float()[:, None])
        # a shape can be too new, not too old
        sides = [[1.0]] * len(WEIGHTS) + [[0.0]] * len(shapes)
        self.register_buffer("two_sided", torch.tensor(sides))
        self.register_buffer("spans", torch.tensor(_SPANS).T[:, :, None])

    @property
    def widths(self) -> tuple[int, ...]:
        """Floats of each part of a metric's state."""
        return self.layout.widths

    @property
    def size(self) -> int:
        """Floats of a metric's state."""
        return self.layout.size

    def first(self) -> Tensor:
        """The state of a metric before its first point, float32 [size]."""
        shapes = torch.zeros(0) if self.books is None else self.books.first()
        past = torch.zeros(self.channels * CENTROIDS)
        others = torch.zeros(self.size - len(shapes) - 2 * len(past))
        return torch.cat([others, shapes, past + BIG, past])

    def forward(
        self,
        x: Tensor,
        present: Tensor,
        slot: Tensor,
        day: Tensor,
        tick: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The fields of :class:`Point` and the state [size, N] -> those of
        :class:`Surprises` and the next state.
        """
        parts = torch.split(state, list(self.widths))
        point = Point(
            x,
            present,
            slot,
            day,
            tick,
        )
        found, moved = self.step(point, parts)
        return *found, torch.cat(moved)

    def step(self, point: Point, parts: Sequence[Tensor]) -> _Stepped:
        """:meth:`forward` with the state in its parts, before and after.

        Each gain is 0 where x is missing, so nothing has to be put back.
        """
        x = point.x
        present = point.present
        state = FrontState.named(parts)
        absent = 1.0 - present
        first = (state.points < 0.5).float()
        mean, last = (state.levels + first * x).chunk(2)  # 0 before the first
        previous = state.levels[1:]
        still, *runs = flatline_surprise(x, previous, *state.runs.chunk(RUNS))
        expected, residual, days = self._explain(point, mean, state.days)
        residual = _above_rounding(residual, x)
        gain = present / (state.points + 1.0)
        mean_gain = torch.maximum(gain, _MEAN_GAIN * present)
        mean = mean + mean_gain * (x - mean)
        both = torch.cat([x, residual])
        state = state._replace(center=state.center + first * present * both)
        z, center, variance = self._standardise(both, state, gain)
        means = self._follow(point, state.means, gain, both)
        q = self._of_means(x, last, means)
        shapes = state.shapes
        if self.books is not None:
            novelty, shapes = self.books(z, present, state.points, shapes)
            q = torch.cat([q, novelty])
        one_sided, signed, values, weights = self._surprises(q, present, state)
        after = _remember(state, point, absent, mean, runs)._replace(
            days=days,
            means=means,
            center=center,
            variance=variance,
            shapes=shapes,
            values=values,
            weights=weights,
        )
        found = Surprises(one_sided, signed, present * still, expected)
        return found, after.parts()

    def _of_means(self, x: Tensor, last: Tensor, means: Tensor) -> Tensor:
        """The channels without a shape [4, N]: the value x, its change from ``last``,
        its trend, and the slow mean of what the hour does not explain.
        """
        fast, slow, unexplained = means.chunk(3)
        change = x - last
        trend = _above_rounding(fast - slow, x)
        return torch.cat([x, change, trend, unexplained])

    def _explain(
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

    def _standardise(
        self, q: Tensor, state: FrontState, gain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q [2, N] in standard deviations from its running mean, and mean and variance
        after it.
        """
        mean = state.center
        variance = state.variance
        deviation = torch.sqrt(variance)
        d = q - mean
        least_unit = 1e-3 * mean.abs()
        unit = (deviation + least_unit).clamp(min=TINY)
        clipped = (d / unit).clamp(-_STANDARD_CLIP, _STANDARD_CLIP)
        z = clipped * (state.points > 1.5).float()
        varies = (deviation > 0).float()
        limited = varies * (state.points > SETTLED - 0.5).float()
        limit = _UPDATE_CLIP * deviation + _FINITE_SQUARE * (1.0 - limited)
        limit = limit.clamp(max=_FINITE_SQUARE)
        d = torch.minimum(torch.maximum(d, -limit), limit)
        center = mean + gain * d
        left = 1.0 - gain
        spread = variance + gain * d * d
        return z, center, left * spread

    def _follow(
        self,
        point: Point,
        means: Tensor,
        gain: Tensor,
        both: Tensor,
    ) -> Tensor:
        """The running means [3, N] after the point; ``both`` are x and its residual."""
        seconds, fewest, most = self.get_buffer("spans")
        points = seconds / point.tick.clamp(min=1e-3)
        points = torch.minimum(torch.maximum(points, fewest), most)
        gains = torch.maximum(point.present * (2.0 / (points + 1.0)), gain)
        return means + gains * (torch.cat([point.x, both]) - means)

    def _surprises(
        self, q: Tensor, present: Tensor, state: FrontState
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One-sided and signed surprises of the channels q [C, N], and their sketches'
        values and weights after them.
        """
        settled = (state.points > SETTLED - 0.5).float()
        c = self.channels
        # BIG where the value is missing
        q = torch.maximum(q, BIG - 2.0 * BIG * present).reshape(1, -1)
        high, low, equal, values, weights = self.sketch(
            q,
            state.values.reshape(CENTROIDS, -1),
            state.weights.reshape(CENTROIDS, -1),
            torch.cat([settled] * c, dim=1),
        )
        trusted = present * settled
        of_value = equal[:, : present.shape[1]]
        others = ((1.0 - of_value) / _OTHER_VALUES).clamp(max=1.0)
        trusted = trusted * others
        high = high.reshape(c, -1) * trusted
        low = low.reshape(c, -1)
        low = low * (trusted * self.get_buffer("two_sided"))
        one_sided = torch.maximum(high, low)
        signed = (high - low).clamp(-_SIGNED_CLIP, _SIGNED_CLIP)
        rows = CENTROIDS * c
        values = values.reshape(rows, -1)
        weights = weights.reshape(rows, -1)
        return one_sided, signed, values, weights


def _remember(
    state: FrontState,
    point: Point,
    absent: Tensor,
    mean: Tensor,
    runs: Sequence[Tensor],
) -> FrontState:
    """The state with a point that is counted, its value, and its mean and runs.

    ``absent`` [1, N] is 1 where x is missing: there the state stays as it is.
    """
    present = point.present
    count = state.points + present
    count = count - COUNTED / 2 * (count > COUNTED).float()
    value = present * point.x + absent * state.levels[1:]
    return state._replace(
        points=count,
        levels=torch.cat([mean, value]),
        runs=present * torch.cat(list(runs)) + absent * state.runs,
    )


def _is(days: Tensor, day: float) -> Tensor:
    """1 where it is this day of the week, else 0."""
    return (days == day).float()


def _total(of_slots: Tensor) -> Tensor:
    """The sum [1, N] over the slots of a day."""
    return of_slots.sum(0, keepdim=True)


def _weighted_mean(mean: Tensor, of_slots: Tensor, weight: Tensor) -> Tensor:
    """The mean of all [1, N] and of the slots [SLOTS, N], by their weight."""
    read = _OF_ALL * mean + _total(weight * of_slots)
    return read / (_OF_ALL + _total(weight))


def slot_of(second: Tensor) -> Tensor:
    """The slot of the day that a second of the day is in."""
    return torch.floor(second * (SLOTS / _DAY)).clamp(0, SLOTS - 1)


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """``difference``, or 0 if it is what float32 leaves of two numbers like ``of``.

    A constant has no noise to be surprised by.
    """
    return difference * (difference.abs() > ROUNDING * of.abs()).float()
