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
        day: the day of the week, 0 Monday, [1, N].
        tick: the stream's tick interval in seconds, [1, N].
        is_hot: 1 if the stream was in an incident before the point, [1, N].
        is_shut: 1 if it may not learn while it is hot, [1, N].
    """

    x: Tensor
    present: Tensor
    slot: Tensor
    day: Tensor
    tick: Tensor
    is_hot: Tensor
    is_shut: Tensor


class Surprises(NamedTuple):
    """What the front says of a point.

    Attributes:
        one_sided: the channels' surprises, >= 0, [C, N].
        signed: the same with a sign, for the network, [C, N].
        flatline: the surprise that the value does not change, [1, N].
        expected: the value that is usual in this slot, [1, N].
        is_still: 1 where the metric holds still at where it went, [1, N].
        is_lost: 1 where it is all but nothing, and usually is not, [1, N].
    """

    one_sided: Tensor
    signed: Tensor
    flatline: Tensor
    expected: Tensor
    is_still: Tensor
    is_lost: Tensor


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
    center: Tensor
    variance: Tensor
    runs: Tensor
    shapes: list[Tensor]
    values: Tensor
    weights: Tensor

    @classmethod
    def named(cls, parts: Sequence[Tensor]) -> FrontState:
        days, rest = parts[:4], parts[4:]
        levels, points, means, local, center, variance, runs, *others = rest
        *shapes, values, weights = others
        return cls(
            days=Days(*days),
            levels=levels,
            points=points,
            means=means,
            local=LocalLevel(*local.chunk(4)),
            center=center,
            variance=variance,
            runs=runs,
            shapes=shapes,
            values=values,
            weights=weights,
        )

    def parts(self) -> list[Tensor]:
        local = torch.cat(self.local)
        head = [self.levels, self.points, self.means, local, self.center, self.variance]
        sketches = [self.values, self.weights]
        return [*self.days, *head, self.runs, *self.shapes, *sketches]


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
        ("local", 4),  # see LocalLevel
        ("center", 2),  # mean of the value and of the unexplained
        ("variance", 2),
        ("runs", RUNS),
        *((f"shapes-{i}", width) for i, width in enumerate(shapes)),
        ("values", channels * CENTROIDS),
        ("weights", channels * CENTROIDS),
    )
