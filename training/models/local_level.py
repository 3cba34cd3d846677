"""How far a metric is from where it just was: what the last minutes do not explain.

Theory of operation. The hour of the day explains a metric within the width of a slot.
What is left drifts slowly, and a fault is a jump in it. So a *level* follows what the
hour leaves: a running mean of some minutes, whose steps are limited to three of its own
deviations (a Huber location, Huber 1964). The *innovation* is the distance to that
level. A running mean of three innovations, the *quick residual*, is a channel of its
own: a fault of a point or two is in it at once, at any hour.

A metric that is never negative is compared in logarithms. An outage to half or to
double then looks alike at night and at noon, and a burst looks short. Nothing, in a
metric that never was nothing, is many deviations away.

While a stream is in an incident the level stays where it was, so the innovation shows
how far the metric still is from there. The *anchor* is where it went: a slow mean of
the quick residual since the incident began. A state holds still there; a leak leaves it
behind.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.models.surprise_state import LocalLevel, Point

# Share of the running mean that is added to a value before its logarithm: a hundredth
# of the usual is as little as nothing.
_LEAST_SHARE = 0.01
# Keeps a logarithm finite where the mean is 0.
_LEAST = 1e-20
# Relative difference under which it is its own logarithm, to five digits.
_SMALL = 0.02
# Keeps the logarithm of a ratio finite where a tiny metric becomes a huge one.
_LARGEST_RATIO = 1e37
# Gain of the quick residual: three points.
_QUICK_GAIN = 0.5
# Span of the level: seconds, and the fewest and most points.
_LEVEL_SPAN = (1500.0, 3.0, 8.0)
# Deviations to which a step of the level, and an update of the deviation, is limited.
_LEVEL_STEP = 3.0
_SPREAD_STEP = 5.0
# Least gain of the mean size of an innovation: a memory of 200 points; and the
# deviation of a normal distribution whose mean size is 1.
_SPREAD_GAIN = 0.005
_DEVIATION = 1.25
# Gain from which on too little is known to limit a step: the first 25 points.
_KNOWS_LITTLE = 0.04
_NO_LIMIT = 1e30
# Gain of slow means once the metric is back, and the deviations that it is back within.
BACK_GAIN = 0.3
_BACK = 2.0
# Seconds that the anchor remembers, and the share of the distance, and deviations,
# within which a metric holds still at it.
_ANCHOR_MEMORY = 10_800.0
_STILL_SHARE = 0.25


class Located(NamedTuple):
    """A point beside the level before it, each [1, N].

    Attributes:
        quick: the quick residual, with this point.
        is_back: 1 in an incident whose metric is within two deviations again.
        is_still: 1 where the metric holds still at its anchor.
        after: the level after it.
    """

    quick: Tensor
    is_back: Tensor
    is_still: Tensor
    after: LocalLevel


def unexplained(x: Tensor, residual: Tensor, mean: Tensor) -> Tensor:
    """What the hour leaves of x [1, N], in logarithms where the running mean is
    positive.
    """
    usual = x - residual
    least = (_LEAST_SHARE * mean.abs()).clamp(min=_LEAST)
    above = x.clamp(min=0.0) + least
    below = usual.clamp(min=0.0) + least
    # the logarithm of a ratio that is nearly 1 has no digits left
    relative = (above - below) / (0.5 * (above + below))
    is_small = (relative.abs() < _SMALL).float()
    ratio = (above / below).clamp(min=1.0 / _LARGEST_RATIO, max=_LARGEST_RATIO)
    logarithm = torch.log(ratio)
    difference = is_small * relative + (1.0 - is_small) * logarithm
    positive = (mean > 0).float()
    differs = (residual.abs() > 0).float()
    return differs * (positive * difference + (1.0 - positive) * residual)


def locate(point: Point, left: Tensor, before: LocalLevel, gain: Tensor) -> Located:
    """A point whose hour leaves ``left`` [1, N] unexplained.

    ``gain`` [1, N] is 1 over the points so far, 0 where x is missing.
    """
    frozen = point.is_hot * point.is_shut
    innovation = left - before.level
    deviation = _DEVIATION * before.spread
    quick_gain = torch.maximum(_QUICK_GAIN * point.present, gain)
    quick = before.quick + quick_gain * (innovation - before.quick)
    is_near = (quick.abs() < _BACK * deviation).float()
    is_back = point.is_hot * is_near * point.present
    is_accepted = point.is_hot * (1.0 - point.is_shut)
    unlimited = torch.maximum((gain > _KNOWS_LITTLE).float(), is_accepted)
    limit = _LEVEL_STEP * deviation + _NO_LIMIT * unlimited
    step = torch.minimum(torch.maximum(innovation, -limit), limit)
    seconds, fewest, most = _LEVEL_SPAN
    points = (seconds / point.tick.clamp(min=1e-3)).clamp(fewest, most)
    level_gain = torch.maximum(point.present * (2.0 / (points + 1.0)), gain)
    level_gain = torch.maximum(level_gain, BACK_GAIN * is_back)
    learns = torch.maximum(1.0 - frozen, is_back)
    level = before.level + learns * level_gain * step
    capped = torch.minimum(
        innovation.abs(), _SPREAD_STEP * deviation + _NO_LIMIT * unlimited
    )
    spread_gain = torch.maximum(gain, _SPREAD_GAIN * point.present)
    spread = before.spread + (1.0 - frozen) * spread_gain * (capped - before.spread)
    anchor_gain = (point.tick * (1.0 / _ANCHOR_MEMORY)).clamp(max=1.0)
    anchor_gain = point.is_hot * anchor_gain + (1.0 - point.is_hot)
    anchor = before.anchor + point.present * anchor_gain * (quick - before.anchor)
    moved = (quick - anchor).abs()
    is_still = (moved <= _STILL_SHARE * quick.abs() + deviation).float()
    return Located(quick, is_back, is_still, LocalLevel(quick, level, spread, anchor))
