"""What the front of :mod:`training.models.surprise` reads, says and remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from training.models.flatline import WIDTH as RUNS

# Centroids of a channel's sketch: with 12, a single metric's state stays within 544
# floats.
CENTROIDS = 12
# Slots of a day, 90 minutes each.
SLOTS = 16


class Point(NamedTuple):
    """One point of N metrics.

    Attributes:
        x: the value, finite, [1, N].
        present: 1, or 0 if the value is missing, [1, N].
        slot: the slot of the day, see :func:`slot_of`, [1, N].
        into_slot: the share of the slot that has passed, [1, N].
        day: the day of the week, 0 Monday, [1, N].
        tick: the stream's tick interval in seconds, [1, N].
        is_hot: 1 if the stream was in an incident before the point, [1, N].
        is_shut: 1 if it may not learn while it is hot, [1, N].
        is_accepted: 1 in an incident that is the new normal, [1, N].
    """

    x: Tensor
    present: Tensor
    slot: Tensor
    into_slot: Tensor
    day: Tensor
    tick: Tensor
    is_hot: Tensor
    is_shut: Tensor
    is_accepted: Tensor


class Surprises(NamedTuple):
    """What the front says of a point.

    Attributes:
        one_sided: the channels' surprises, >= 0, [C, N].
        signed: the same with a sign, for the network, [C, N].
        flatline: the surprise that the value does not change, [1, N].
        expected: the value that is usual in this slot, [1, N].
        is_still: 1 where the metric holds still at where it went, [1, N].
        is_lost: 1 where it is all but nothing, and usually is not, [1, N].
        trend: how long and far it leaks, 0 where it does not, [1, N].
        is_moving: 1 where a leak goes on, [1, N].
    """

    one_sided: Tensor
    signed: Tensor
    flatline: Tensor
    expected: Tensor
    is_still: Tensor
    is_lost: Tensor
    trend: Tensor
    is_moving: Tensor


class TrendState(NamedTuple):
    """A metric beside yesterday, see :mod:`training.models.slow_trend`, each [1, N].

    Attributes:
        slot: the slot of the last point.
        visited, previous: what this slot and the one before held before this day.
        ordinary, turned: seconds that the two widths rest on.
        mean, slow: running means of the distance to the baseline.
        width, turn_width: squares of what ``mean`` usually is, on ordinary days and
            from Saturday to Monday.
        total: the cumulative sum.
        since: seconds since ``mean`` was last within its width.
        lasts: seconds of the incident, 0 outside of one.
        leaks_for: ``since`` while it leaks, else 0.
    """

    slot: Tensor
    visited: Tensor
    previous: Tensor
    ordinary: Tensor
    turned: Tensor
    mean: Tensor
    slow: Tensor
    width: Tensor
    turn_width: Tensor
    total: Tensor
    since: Tensor
    lasts: Tensor
    leaks_for: Tensor


class LocalLevel(NamedTuple):
    """Where a metric just was, see :mod:`training.models.local_level`, each [1, N].

    Attributes:
        quick: a running mean of three innovations.
        level: what the hour leaves unexplained in the last minutes.
        spread: the mean size of an innovation.
        anchor: a slow mean of ``quick`` since the incident began.
    """

    quick: Tensor
    level: Tensor
    spread: Tensor
    anchor: Tensor


class Days(NamedTuple):
    """What is usual in each slot: on a working day, by how much a weekend differs, how
    often each was seen [SLOTS, N], and what they drift by [1, N].
    """

    working: Tensor
    weekend: Tensor
    often: Tensor
    drift: Tensor


class FrontState(NamedTuple):
    """A metric's parts of the state row, in order, each [width, N]."""

    days: Days
    levels: Tensor
    points: Tensor
    means: Tensor
    local: LocalLevel
    trend: TrendState
    center: Tensor
    variance: Tensor
    runs: Tensor
    shapes: list[Tensor]
    values: Tensor
    weights: Tensor

    @classmethod
    def named(cls, parts: Sequence[Tensor]) -> FrontState:
        days, rest = parts[:4], parts[4:]
        levels, points, means, local, trend, center, variance, runs, *others = rest
        *shapes, values, weights = others
        return cls(
            days=Days(*days),
            levels=levels,
            points=points,
            means=means,
            local=LocalLevel(*local.chunk(len(LocalLevel._fields))),
            trend=TrendState(*trend.chunk(len(TrendState._fields))),
            center=center,
            variance=variance,
            runs=runs,
            shapes=shapes,
            values=values,
            weights=weights,
        )

    def parts(self) -> list[Tensor]:
        local = torch.cat(self.local)
        trend = torch.cat(self.trend)
        head = [*self.days, self.levels, self.points, self.means, local, trend]
        sketches = [self.values, self.weights]
        scales = [self.center, self.variance]
        return [*head, *scales, self.runs, *self.shapes, *sketches]


def state_parts(channels: int, shapes: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Name and width of each part of a metric's state."""
    return (
        ("working", SLOTS),
        ("weekend", SLOTS),
        ("often", SLOTS),
        ("drift", 1),
        ("levels", 2),  # running mean, previous value
        ("points", 1),
        ("means", 3),  # fast, slow, unexplained by the slot
        ("local", len(LocalLevel._fields)),
        ("trend", len(TrendState._fields)),
        ("center", 2),  # mean of the value and of the unexplained
        ("variance", 2),
        ("runs", RUNS),
        *((f"shapes-{i}", width) for i, width in enumerate(shapes)),
        ("values", channels * CENTROIDS),
        ("weights", channels * CENTROIDS),
    )
