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

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.day_profile import DayProfile
from training.models.flatline import WIDTH as RUNS
from training.models.flatline import flatline_surprise
from training.models.layout import StateLayout
from training.models.local_level import BACK_GAIN, locate, unexplained
from training.models.shapes import BOOKS, Compared, Shape, ShapePrototypes
from training.models.sketch import BIG, TINY, Place, Sketch
from training.models.surprise_state import (
    CENTROIDS,
    Days,
    FrontState,
    Point,
    Surprises,
    state_parts,
)

# Weights of the channels' surprises in the score; each shape's novelty weighs 1.
WEIGHTS = (1.0, 1.0, 1.0, 1.5)
# Weight of the quick residual, which is the last channel.
QUICK_WEIGHT = 1.5
# Share of the running mean up to which a metric is lost.
_LOST_SHARE = 0.02
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
# Spans of the running means: seconds, and the fewest and most points.
_SPANS = ((1500.0, 3.0, 8.0), (6000.0, 8.0, 40.0), (6000.0, 8.0, 40.0))
# A standardised value, and a signed surprise, are clipped here.
_STANDARD_CLIP = 8.0
_SIGNED_CLIP = 6.0
# Deviations to which an update of the mean and variance is clipped.
_UPDATE_CLIP = 5.0
# The largest deviation whose square is finite in float32.
_FINITE_SQUARE = 1e18


class Observed(NamedTuple):
    """A point before it is learned: what :meth:`Front.learn` needs.

    Attributes:
        state: the state before it, with what follows every point after it.
        mean: the running mean before it, [1, N].
        gain: 1 over the points so far, 0 where x is missing, [1, N].
        limited: by how much the value and its residual move their mean, [2, N].
        days: the slots of the day if the point is learned.
        shape: the point beside the shapes that are known, if there are any.
        values: the point in its channels' sketches.
        settled: 1 where a sketch knows enough to doubt a value, [1, C N].
    """

    state: FrontState
    point: Point
    mean: Tensor
    gain: Tensor
    limited: Tensor
    days: Days
    shape: Compared | None
    values: Place
    settled: Tensor


class Front(nn.Module):
    """One point of N metrics -> the surprises of its C channels."""

    def __init__(self, shapes: tuple[Shape, ...] = BOOKS) -> None:
        super().__init__()
        self.sketch = Sketch(CENTROIDS)
        self.books = ShapePrototypes(shapes) if shapes else None
        self.weights = (*WEIGHTS, *(1.0 for _ in shapes), QUICK_WEIGHT)
        self.channels = len(self.weights)
        self.inputs = self.channels - 1
        of_shapes = self.books.widths if self.books is not None else []
        self.layout = StateLayout(1, state_parts(self.channels, of_shapes))
        self.days = DayProfile()
        # a shape can be too new, not too old
        sides = [[1.0]] * len(WEIGHTS) + [[0.0]] * len(shapes) + [[1.0]]
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
    ) -> tuple[Tensor, ...]:
        """The fields of :class:`Point` and the state [size, N] -> those of
        :class:`Surprises` and the next state.
        """
        parts = torch.split(state, list(self.widths))
        open_gate = torch.zeros_like(x)
        point = Point(
            x,
            present,
            slot,
            day,
            tick,
            is_hot=open_gate,
            is_shut=open_gate,
        )
        found, observed = self.observe(point, parts)
        moved = self.learn(observed, torch.ones_like(x))
        return *found, torch.cat(moved)

    def observe(
        self, point: Point, parts: Sequence[Tensor]
    ) -> tuple[Surprises, Observed]:
        """What the front says of a point, with the state in its parts.

        Nothing is learned yet. What follows every point, such as a running mean of
        some minutes, is moved already.
        """
        x = point.x
        present = point.present
        state = FrontState.named(parts)
        first = (state.points < 0.5).float()
        mean, last = (state.levels + first * x).chunk(2)  # 0 before the first
        previous = state.levels[1:]
        run, longest, count = state.runs.chunk(RUNS)
        still, *runs = flatline_surprise(
            x,
            previous,
            run,
            longest,
            count,
            gate=1.0 - point.is_hot,
        )
        expected, residual, days = self.days(point, mean, state.days)
        residual = _above_rounding(residual, x)
        gain = present / (state.points + 1.0)
        both = torch.cat([x, residual])
        state = state._replace(center=state.center + first * present * both)
        z, limited = self._standardise(both, state)
        left = unexplained(x, residual, mean)
        located = locate(point, left, state.local, gain)
        means = self._follow(point, state.means, gain, both, located.is_back)
        q = self._of_means(x, last, means)
        shape = None
        if self.books is not None:
            novelty, shape = self.books(z, present, state.points, state.shapes)
            q = torch.cat([q, novelty])
        q = torch.cat([q, located.quick])
        one_sided, signed, place = self._surprises(q, present, state)
        found = Surprises(
            one_sided=one_sided,
            signed=signed[: self.inputs],
            flatline=present * still,
            expected=expected,
            is_still=located.is_still,
            is_lost=(x.abs() <= _LOST_SHARE * mean.abs()).float(),
        )
        followed = _remember(state, point, 1.0 - present, runs)._replace(
            means=means, local=located.after
        )
        settled = (state.points > SETTLED - 0.5).float()
        return found, Observed(
            state=followed,
            point=point,
            mean=mean,
            gain=gain,
            limited=limited,
            days=days,
            shape=shape,
            values=place,
            settled=torch.cat([settled] * self.channels, dim=1),
        )

    def learn(self, seen: Observed, gate: Tensor) -> list[Tensor]:
        """The parts of the state that has learned a point, as far as ``gate`` [1, N]
        allows: 1 wholly, 0 nothing.
        """
        state = seen.state
        point = seen.point
        mean_gain = torch.maximum(seen.gain, _MEAN_GAIN * point.present)
        mean = seen.mean + gate * mean_gain * (point.x - seen.mean)
        gain = gate * seen.gain
        moved = gain * seen.limited
        variance = (1.0 - gain) * (state.variance + moved * seen.limited)
        days = [
            before + gate * (after - before)
            for before, after in zip(state.days, seen.days, strict=True)
        ]
        shapes = state.shapes
        if self.books is not None and seen.shape is not None:
            shapes = self.books.learn(seen.shape, gate)
        wide_gate = torch.cat([gate] * self.channels, dim=1)
        guarded = torch.cat([point.is_shut] * self.channels, dim=1)
        values, weights = self.sketch.learn(
            seen.values, wide_gate, seen.settled, guarded
        )
        rows = CENTROIDS * self.channels
        after = state._replace(
            days=Days(*days),
            levels=torch.cat([mean, state.levels[1:]]),
            center=state.center + moved,
            variance=variance,
            shapes=shapes,
            values=values.reshape(rows, -1),
            weights=weights.reshape(rows, -1),
        )
        return after.parts()

    def _of_means(self, x: Tensor, last: Tensor, means: Tensor) -> Tensor:
        """The channels without a shape [4, N]: the value x, its change from ``last``,
        its trend, and the slow mean of what the hour does not explain.
        """
        fast, slow, unexplained = means.chunk(3)
        change = x - last
        trend = _above_rounding(fast - slow, x)
        return torch.cat([x, change, trend, unexplained])

    def _standardise(self, q: Tensor, state: FrontState) -> tuple[Tensor, Tensor]:
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
        return z, d

    def _follow(
        self,
        point: Point,
        means: Tensor,
        gain: Tensor,
        both: Tensor,
        is_back: Tensor,
    ) -> Tensor:
        """The running means [3, N] after the point; ``both`` are x and its residual.

        They follow faster in an incident whose metric ``is_back`` [1, N], so that the
        score comes down when the value does.
        """
        seconds, fewest, most = self.get_buffer("spans")
        points = seconds / point.tick.clamp(min=1e-3)
        points = torch.minimum(torch.maximum(points, fewest), most)
        gains = torch.maximum(point.present * (2.0 / (points + 1.0)), gain)
        gains = torch.maximum(gains, BACK_GAIN * is_back)
        return means + gains * (torch.cat([point.x, both]) - means)

    def _surprises(
        self, q: Tensor, present: Tensor, state: FrontState
    ) -> tuple[Tensor, Tensor, Place]:
        """One-sided and signed surprises of the channels q [C, N], and their places in
        the sketches.
        """
        settled = (state.points > SETTLED - 0.5).float()
        c = self.channels
        # BIG where the value is missing
        q = torch.maximum(q, BIG - 2.0 * BIG * present).reshape(1, -1)
        high, low, equal, place = self.sketch(
            q,
            state.values.reshape(CENTROIDS, -1),
            state.weights.reshape(CENTROIDS, -1),
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
        return one_sided, signed, place


def _remember(
    state: FrontState,
    point: Point,
    absent: Tensor,
    runs: Sequence[Tensor],
) -> FrontState:
    """The state with a point that is counted, its value, and its runs.

    ``absent`` [1, N] is 1 where x is missing: there the state stays as it is.
    """
    present = point.present
    count = state.points + present
    count = count - COUNTED / 2 * (count > COUNTED).float()
    value = present * point.x + absent * state.levels[1:]
    return state._replace(
        points=count,
        levels=torch.cat([state.levels[:1], value]),
        runs=present * torch.cat(list(runs)) + absent * state.runs,
    )


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """``difference``, or 0 if it is what float32 leaves of two numbers like ``of``.

    A constant has no noise to be surprised by.
    """
    return difference * (difference.abs() > ROUNDING * of.abs()).float()
