"""A stream's own center and scale, learned while it runs; no I/O.

Theory of operation. A stream that training has not seen starts from the fleet's center
and scale. Its center is a weighted mean with weights 1, 2, 3, ... (gain 2 / (n + 2)),
so that the first points, and the prior most of all, fade quadratically. Its scale is an
M-estimate in logarithms (Huber 1981): a point at t scales from the center moves ln
scale by a gain times (min(t^2, c^2) - 1) / 2. So a point has a bounded influence, and a
prior that is wrong by a factor of a thousand is left behind within a few hundred
points. A value that does not change tells no scale: a metric that mostly rests is
scaled by its bursts. A week of points completes both, if there are enough of them.

All matrices are transposed: [F, B] for B streams of F metrics.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from detector.timestamps import DAY

# Values beyond are clipped to this: the difference of two is still finite in float32.
LARGEST = 1e37
# Scales at which a point's influence on center and scale ends. Ten, so that what a
# metric does at a hundredth of its points is part of its scale.
_CAP = 10.0
# Gain of ln scale: _GAIN / (n + _PRIOR), n in points; by judgement. The prior weighs as
# much as about eight points.
_GAIN = 3.0
_PRIOR = 8.0
# Largest change of ln scale by one point.
_MOST = 1.0
# The least scale as a share of the center, because float32 has seven digits.
_RESOLUTION = 1e-6
_LEAST = 1e-30
# Seconds in which a stream shows its weekly pattern, and the points that they must hold
# to count.
_WATCHED = 7 * DAY
_FEWEST = 300.0


class Scaling(NamedTuple):
    """A stream's own scaling [F, B]: center, scale, and the points that it rests on."""

    center: Tensor
    scale: Tensor
    seen: Tensor


def learning_points(tick: Tensor, learning: float) -> Tensor:
    """Points [1, B] that complete a scaling, at a tick of that many seconds [1, B]."""
    return (_WATCHED / tick.clamp(min=1.0)).clamp(min(_FEWEST, learning), learning)


def learn_scaling(x: Tensor, learns: Tensor, moves: Tensor, before: Scaling) -> Scaling:
    """The scaling after a point x [F, B]; ``learns`` [F, B] is 1 where it counts.

    A value that is still the last one, where ``moves`` [F, B] is 0, tells no scale.
    """
    center, scale, seen = before
    difference = x - center
    deviation = (difference / scale).clamp(-_CAP, _CAP)
    bounded = deviation * scale
    is_first = (seen < 1.0).float()
    step = bounded + is_first * (difference - bounded)
    center = center + 2.0 * learns / (seen + 2.0) * step
    excess = 0.5 * deviation * deviation - 0.5
    gain = learns * moves / (seen + _PRIOR)
    change = (_GAIN * gain * excess).clamp(max=_MOST)
    floor = (_RESOLUTION * center.abs()).clamp(min=_LEAST)
    learned = torch.maximum(scale * torch.exp(change), floor)
    return Scaling(center, learned.clamp(max=LARGEST), seen + learns)
