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
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.flatline import WIDTH as RUNS
from training.models.flatline import flatline_surprise
from training.models.layout import StateLayout
from training.models.shapes import BOOKS, Shape, ShapePrototypes
from training.models.sketch import BIG, TINY, Sketch

_DAY = 86_400.0  # seconds
# Weights of the channels' surprises in the score; each shape's novelty weighs 1.
WEIGHTS = (1.0, 1.0, 1.0, 1.5)
# Centroids of a channel's sketch: with 12, a single metric's state stays within 512
# floats.
CENTROIDS = 12
# Slots of a day, 90 minutes each.
SLOTS = 16
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


class Point(NamedTuple):
    """One point of N metrics.

    Attributes:
        x: the value, finite, [1, N].
        present: 1, or 0 if the value is missing, [1, N].
        slot: the slot of the day, see :func:`slot_of`, [1, N].
        day: the day of the week, 0 Monday, [1, N].
        tick: the stream's tick interval in seconds, [1, N].
    """

    x: Tensor
    present: Tensor
    slot: Tensor
    day: Tensor
    tick: Tensor


class Surprises(NamedTuple):
    """What the front says of a point.

    Attributes:
        one_sided: the channels' surprises, >= 0, [C, N].
        signed: the same with a sign, for the network, [C, N].
        flatline: the surprise that the value does not change, [1, N].
        expected: the value that is usual in this slot, [1, N].
    """

    one_sided: Tensor
    signed: Tensor
    flatline: Tensor
    expected: Tensor


class _Days(NamedTuple):
    """What is usual in each slot: on a working day, by how much a weekend differs, how
    often each was seen [SLOTS, N], and what they drift by [1, N].
    """

    working: Tensor
    weekend: Tensor
    often: Tensor
    drift: Tensor


class _State(NamedTuple):
    """A metric's parts of the state row, in order, each [width, N]."""

    days: _Days
    levels: Tensor
    points: Tensor
    means: Tensor
    center: Tensor
    variance: Tensor
    runs: Tensor
    shapes: list[Tensor]
    values: Tensor
    weights: Tensor

    @classmethod
    def named(cls, parts: Sequence[Tensor]) -> _State:
        levels, points, means, center, variance, runs, *shapes, values, weights = parts[
            4:
        ]
        return cls(
            _Days(*parts[:4]),
            levels,
            points,
            means,
            center,
            variance,
            runs,
            shapes,
            values,
            weights,
        )

    def parts(self) -> list[Tensor]:
        head = [self.levels, self.points, self.means, self.center, self.variance]
        sketches = [self.values, self.weights]
        return [*self.days, *head, self.runs, *self.shapes, *sketches]


def _parts(channels: int, shapes: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Name and width of each part of a metric's state."""
    return (
        ("working", SLOTS),
        ("weekend", SLOTS),
        ("often", SLOTS),
        ("drift", 1),
        ("levels", 2),  # running mean, previous value
        ("points", 1),
        ("means", 3),  # fast, slow, unexplained by the slot
        ("center", 2),  # mean of the value and of the unexplained
        ("variance", 2),
        ("runs", RUNS),
        *((f"shapes-{i}", width) for i, width in enumerate(shapes)),
        ("values", channels * CENTROIDS),
        ("weights", channels * CENTROIDS),
    )


class Front(nn.Module):
    """One point of N metrics -> the surprises of its C channels."""

    def __init__(self, shapes: tuple[Shape, ...] = BOOKS) -> None:
        super().__init__()
        self.sketch = Sketch(CENTROIDS)
        self.books = ShapePrototypes(shapes) if shapes else None
        self.weights = (*WEIGHTS, *(1.0 for _ in shapes))
        self.channels = len(self.weights)
        of_shapes = self.books.widths if self.books is not None else []
        self.layout = StateLayout(1, _parts(self.channels, of_shapes))
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
        point = Point(x, present, slot, day, tick)
        found, moved = self.step(point, parts)
        return *found, torch.cat(moved)

    def step(
        self, point: Point, parts: Sequence[Tensor]
    ) -> tuple[Surprises, list[Tensor]]:
        """:meth:`forward` with the state in its parts, before and after.

        Each gain is 0 where x is missing, so nothing has to be put back.
        """
        x = point.x
        present = point.present
        state = _State.named(parts)
        absent = 1.0 - present
        first = (state.points < 0.5).float()
        mean, last = (state.levels + first * x).chunk(2)  # 0 before the first
        previous = state.levels[1:]
        still, *runs = flatline_surprise(x, previous, *state.runs.chunk(RUNS))
        expected, residual, days = self._explain(point, mean, state.days)
        residual = _above_rounding(residual, x)
        gain = present / (state.points + 1.0)
        mean = mean + torch.maximum(gain, _MEAN_GAIN * present) * (x - mean)
        both = torch.cat([x, residual])
        center = state.center + first * present * both
        z, center, variance = self._standardise(
            both, center, state.variance, state.points, gain
        )
        means = self._follow(point, state.means, gain, both)
        fast, slow, unexplained = means.chunk(3)
        trend = [x, x - last, _above_rounding(fast - slow, x), unexplained]
        q = torch.cat(trend)
        shapes = state.shapes
        if self.books is not None:
            novelty, shapes = self.books(z, present, state.points, shapes)
            q = torch.cat([q, novelty])
        one_sided, signed, values, weights = self._surprises(q, present, state)
        count = state.points + present
        count = count - COUNTED / 2 * (count > COUNTED).float()
        levels = torch.cat([mean, present * x + absent * state.levels[1:]])
        runs_now = present * torch.cat(runs) + absent * state.runs
        moved = _State(
            days,
            levels,
            count,
            means,
            center,
            variance,
            runs_now,
            shapes,
            values,
            weights,
        )
        found = Surprises(one_sided, signed, present * still, expected)
        return found, moved.parts()

    def _explain(
        self, point: Point, mean: Tensor, days: _Days
    ) -> tuple[Tensor, Tensor, _Days]:
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
        turn = (point.day == SATURDAY).float() - (point.day == MONDAY).float()
        now = (point.slot == self.get_buffer("slots")).float()
        weight = (self.get_buffer("neighbours") @ now) * often
        shown = working + weekend * more
        read = _OF_ALL * mean + (weight * shown).sum(0, keepdim=True)
        usual = read / (_OF_ALL + weight.sum(0, keepdim=True))
        tick = point.tick.clamp(min=1e-3)
        least = 1.0 - torch.exp(tick * (math.log(_KEPT) * SLOTS / _DAY))
        now = point.present * now
        met = now * (often > 0.5).float()
        off = (met * (x - shown)).sum(0, keepdim=True)
        gain = torch.maximum(1.0 / (often + 1.0), least)
        own = met * gain * ((1.0 - SHARED) * turn * (off - drift))
        working = working + now * gain * (x - shown) - weekend * own
        ordinary = met.sum(0, keepdim=True) * (1.0 - turn.abs())
        drift_gain = ordinary * (1.0 - torch.exp(tick * (-1.0 / _DRIFT_MEMORY)))
        drift = drift + drift_gain * (off - drift)
        residual = x - usual
        weekends = more + own
        often = torch.minimum(often + now, 1.0 / least)
        return usual, residual, _Days(working, weekends, often, drift)

    def _standardise(
        self, q: Tensor, mean: Tensor, variance: Tensor, count: Tensor, gain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q [2, N] in standard deviations from its running mean, and mean and variance
        after it.
        """
        deviation = torch.sqrt(variance)
        d = q - mean
        unit = (deviation + 1e-3 * mean.abs()).clamp(min=TINY)
        z = (d / unit).clamp(-_STANDARD_CLIP, _STANDARD_CLIP) * (count > 1.5).float()
        limited = (deviation > 0).float() * (count > SETTLED - 0.5).float()
        limit = _UPDATE_CLIP * deviation + _FINITE_SQUARE * (1.0 - limited)
        limit = limit.clamp(max=_FINITE_SQUARE)
        d = torch.minimum(torch.maximum(d, -limit), limit)
        return z, mean + gain * d, (1.0 - gain) * (variance + gain * d * d)

    def _follow(
        self, point: Point, means: Tensor, gain: Tensor, both: Tensor
    ) -> Tensor:
        """The running means [3, N] after the point; ``both`` are x and its residual."""
        seconds, fewest, most = self.get_buffer("spans")
        points = seconds / point.tick.clamp(min=1e-3)
        points = torch.minimum(torch.maximum(points, fewest), most)
        gains = torch.maximum(point.present * (2.0 / (points + 1.0)), gain)
        return means + gains * (torch.cat([point.x, both]) - means)

    def _surprises(
        self, q: Tensor, present: Tensor, state: _State
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One-sided and signed surprises of the channels q [C, N], and their sketches'
        values and weights after them.
        """
        settled = (state.points > SETTLED - 0.5).float()
        c = self.channels
        # BIG where the value is missing
        q = torch.maximum(q, BIG - 2.0 * BIG * present).reshape(1, -1)
        past = (part.reshape(CENTROIDS, -1) for part in (state.values, state.weights))
        high, low, equal, values, weights = self.sketch(
            q, *past, torch.cat([settled] * c, dim=1)
        )
        trusted = present * settled
        of_value = equal[:, : present.shape[1]]
        others = ((1.0 - of_value) / _OTHER_VALUES).clamp(max=1.0)
        trusted = trusted * others
        high = high.reshape(c, -1) * trusted
        low = low.reshape(c, -1) * (trusted * self.get_buffer("two_sided"))
        one_sided = torch.maximum(high, low)
        signed = (high - low).clamp(-_SIGNED_CLIP, _SIGNED_CLIP)
        rows = CENTROIDS * c
        return one_sided, signed, values.reshape(rows, -1), weights.reshape(rows, -1)


def slot_of(second: Tensor) -> Tensor:
    """The slot of the day that a second of the day is in."""
    return torch.floor(second * (SLOTS / _DAY)).clamp(0, SLOTS - 1)


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """``difference``, or 0 if it is what float32 leaves of two numbers like ``of``.

    A constant has no noise to be surprised by.
    """
    return difference * (difference.abs() > ROUNDING * of.abs()).float()
