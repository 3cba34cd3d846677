"""From errors of many metrics to energy and surprise in units of the stream's own past.

Theory of operation. A residual can be told in two ways. Its *energy* says how large it
is. Its *surprise* says how rare it is for this metric: how far the logarithm of its
square is beyond q90, in distances from there to q99. Both are averaged over the metrics
that are present and smoothed at two time scales. Then each is measured in units of the
stream's own past: 0 is its median, 1 its 99th percentile. The greater is the score. If
bursts are usual, the percentile of the energy is high and it says nothing. If metrics
are steady, it decides.

The energy counts in decades, because its tail is that of a power. The surprise counts
as a root mean square, because a surprise is the logarithm of a probability already. So
both tails are close to exponential, and a total outage is far beyond all bursts.

All quantiles are followed by stochastic approximation (Robbins & Monro 1951): a point
moves them by a bounded step, whatever its size.

All matrices are transposed: [F, B] for B streams of F metrics. The figures behind the
constants are in docs/experiments/many-metrics.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from training.models.latch import Latch
from training.models.residuals import recent_gain

# Time scales of the smoothed errors, in points.
SCALES = (5.0, 30.0)
# Gain of the followed quantiles of ln square: the first, in gains of what is recent,
# and the least.
_FIRST_TAIL_GAIN = 2.0
_TAIL_GAIN = 0.006
# Least ln square at q90 (a tenth of the metric's scale), and the least and the largest
# distance from there to q99.
_LEAST_Q90 = -4.6
_LEAST_WIDTH = 1.2
_MOST_WIDTH = 6.0
# Surprise of one metric at most, in distances of q99 from q90.
_CAP = 12.0
# Gain of the followed median and q99 of energy and surprise: _UNIT_RATE / n ^ 1.5, n in
# points from _UNITS_BEGUN on, and the least. It falls faster than that of a mean, so
# that a month of anomalies moves a year's unit little.
_UNIT_RATE = 30.0
_UNITS_BEGUN = 100.0
_UNIT_GAIN = 2e-6
# Step of the followed q99, in gains. It falls at a hundredth of it.
_STEP = 20.0
# Units from which on a level teaches little, and how little: what lasts, and is not far
# enough for a stream to be hot, must not become the unit within hours.
_FAR = 1.5
_FAR_SHARE = 0.1
# Least distance of q99 from the median, in decades and in units of surprise.
LEAST_UNIT = 0.15
# Least weight of the surprise of a metric that rests by habit, such as a flag.
FLAG_WEIGHT = 0.5
# Worth of the surprise beside the energy, both in units of the stream's own past.
_WORTH = 0.7
# Added before a logarithm is taken, and least sum that is divided by.
TINY = 1e-3
_TINY_SQUARE = 1e-9
_LEAST_SUM = 1e-12


class Tails(NamedTuple):
    """q90 of ln square, and the distance from there to q99, [F, B] each."""

    q90: Tensor
    width: Tensor


class Units(NamedTuple):
    """Median of the levels of energy and surprise, and the distance to q99: [2, B]."""

    median: Tensor
    width: Tensor


class Point(NamedTuple):
    """A point's errors.

    Attributes:
        error: [F, B], the energy of each metric.
        rare: [F, B], the square of its surprise.
        rank: [F, B], its place in the metric's own tail.
        means: [2, B], of energy and surprise over the metrics that are present.
        is_seen: [1, B], 1 if any is present.
    """

    error: Tensor
    rare: Tensor
    rank: Tensor
    means: Tensor
    is_seen: Tensor


def rank(square: Tensor, tails: Tails) -> Tensor:
    """How far ln ``square`` [F, B] is in its tail: 0 at q90, 1 at q99."""
    return (torch.log(square + _TINY_SQUARE) - tails.q90) / tails.width


def weigh(
    error: Tensor,
    ranks: Tensor,
    weight: Tensor,
    rests: Tensor,
    present: Tensor,
) -> Point:
    """A point of ``error`` and ``ranks``; all [F, B].

    ``weight`` is that of the surprise, ``rests`` the surprise of metrics that rest.
    """
    depth = ranks.clamp(0.0, _CAP)
    rare = depth * depth * weight + rests
    count = present.sum(dim=0, keepdim=True)
    totals = [error.sum(dim=0, keepdim=True), rare.sum(dim=0, keepdim=True)]
    means = torch.cat(totals, dim=0) / count.clamp(min=1.0)
    return Point(
        error,
        rare,
        ranks,
        means,
        count.clamp(max=1.0),
    )


def sums(errors: Tensor) -> tuple[Tensor, Tensor]:
    """Energy and surprise [1, B] over the time scales of ``errors`` [4, B]."""
    energy, surprise = torch.split(errors, len(SCALES), dim=0)
    return energy.sum(dim=0, keepdim=True), surprise.sum(dim=0, keepdim=True)


def levels(energy: Tensor, surprise: Tensor) -> Tensor:
    """Energy in decades and surprise as a root, [2, B] of [1, B] each."""
    return torch.cat([torch.log10(energy + TINY), torch.sqrt(surprise)], dim=0)


def in_own_units(level: Tensor, units: Units) -> tuple[Tensor, Tensor]:
    """Energy and surprise [1, B] of a level [2, B], in units of the stream's past."""
    own = (level - units.median) / units.width
    energy, surprise = torch.split(own, 1, dim=0)
    return energy, _WORTH * surprise


def usual_errors(units: Units) -> tuple[Tensor, Tensor]:
    """Energy and surprise [1, B] whose levels are the medians."""
    decades, root = torch.split(units.median, 1, dim=0)
    energy = torch.exp(decades * math.log(10.0)) - TINY
    return energy.clamp(min=0.0), root * root


def shares(point: Point, energy: Tensor, surprise: Tensor) -> Tensor:
    """Contributions [F, B] to energy or surprise, whichever speaks ([1, B] each)."""
    rare = point.rare.sum(dim=0, keepdim=True)
    error = point.error.sum(dim=0, keepdim=True)
    is_rare = (surprise > energy).float() * (rare > 0.0).float()
    by_energy = point.error * ((1.0 - is_rare) / error.clamp(min=_LEAST_SUM))
    return by_energy + point.rare * (is_rare / rare.clamp(min=_LEAST_SUM))


def follow_tails(ranks: Tensor, learns: Tensor, latch: Latch, tails: Tails) -> Tails:
    """q90 and width after a point; ``learns`` [F, B] is 0 where nothing is learned."""
    gain = learns * (_FIRST_TAIL_GAIN * recent_gain(latch)).clamp(min=_TAIL_GAIN)
    over90 = gain * ((ranks > 0.0).float() - 0.1)
    over99 = gain * (3.0 * (ranks > 1.0).float() - 0.03)
    q90 = (tails.q90 + over90).clamp(min=_LEAST_Q90)
    width = tails.width + over99 - over90
    return Tails(q90, width.clamp(_LEAST_WIDTH, _MOST_WIDTH))


def follow_units(level: Tensor, learns: Tensor, latch: Latch, units: Units) -> Units:
    """Median and width [2, B] after a point; ``learns`` [1, B] as for the tails."""
    begun = latch.fresh.clamp(min=0.0) + _UNITS_BEGUN
    rate = _UNIT_RATE / (begun * torch.sqrt(begun))
    above = level - units.median
    far = (above > _FAR * units.width).float().amax(dim=0, keepdim=True)
    slowed = 1.0 - (1.0 - _FAR_SHARE) * far
    gain = learns * slowed * rate.clamp(min=_UNIT_GAIN)
    over50 = gain * ((above > 0.0).float() - 0.5)
    over99 = gain * (_STEP * (above > units.width).float() - 0.01 * _STEP)
    width = units.width + over99 - over50
    return Units(units.median + over50, width.clamp(min=LEAST_UNIT))
