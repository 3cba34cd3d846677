"""Whether a stream is in an incident, so that nothing is learned from it; no I/O.

Theory of operation. A stream is *hot* from a score of :data:`HOT` until its score is
under :data:`COOL`. While it is hot, all that follows the stream stands still. So the
tenth outage scores like the first.

A lasting change must become normal some time. While a stream is hot, its *patience*
runs out: a state that holds still is accepted after six hours or 24 ticks, whichever is
longer. A state that moves takes four times as long. One that shows a loss, metrics at
nothing or frozen, takes twelve times as long. Then the stream starts *afresh*: its
offsets follow the new state at once, and its quantiles learn as fast as those of a new
stream. It cannot become hot while they do. So a state in which metrics vary more than
before is accepted once, and not time and again.

All matrices are transposed: [1, B] for B streams.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from detector.timestamps import HOUR
from training.models.running_scale import Scaling

# Scores, in units of the stream's own past, at which a stream becomes hot and cools
# down: 1 is passed by a hundredth of the points; see docs/experiments/many-metrics.md.
HOT = 3.0
COOL = 1.0
# Age in points before which nothing is hot: a new stream learns its units first.
_FREE = 2000.0
# Seconds and ticks, whichever is longer, after which a still state is accepted.
ACCEPT_AFTER = 6 * HOUR
ACCEPT_TICKS = 24.0
# Pace of the patience in a state that moves, and in one that shows a loss.
_MOVING = 1 / 4
_LOSS = 1 / 12
# A metric is at nothing within this share of its center, if that is this many scales
# from zero.
_NOTHING = 0.05
_ABOVE_NOTHING = 2.0
# Share of the evidence, from metrics at nothing or frozen, that makes a loss.
_LOSS_SHARE = 0.3
# Ratio of the smoothed energies of the two time scales within which a state is still,
# and an energy that is as good as none.
_STILL = 1.4
_QUIET = 1e-3
# Points over which a stream that starts afresh takes its offsets from the new state.
RESTART = 30.0


class Latch(NamedTuple):
    """[1, B] each: 1 while hot, share of the patience that is gone, and points since
    the stream started afresh, negative while its offsets follow.
    """

    hot: Tensor
    gone: Tensor
    fresh: Tensor


class Evidence(NamedTuple):
    """What the latch goes by, [1, B] each.

    Attributes:
        score: in units of the stream's own past.
        tick: seconds that the point adds, 0 if it holds no value.
        is_still: 1 where the state holds still.
        is_loss: 1 where it is metrics at nothing or frozen ones that stand out.
    """

    score: Tensor
    tick: Tensor
    is_still: Tensor
    is_loss: Tensor


def turn(found: Evidence, age: Tensor, before: Latch) -> tuple[Latch, Tensor]:
    """The latch after a point, and 1 where [1, B] its state is accepted as a whole.

    ``age`` [1, B] is in points.
    """
    # what follows an accepted state is learned, however far it is
    is_free = (age > _FREE).float() * (before.fresh >= 0.0).float()
    rises = (found.score > HOT).float() * is_free
    stays = before.hot * (found.score > COOL).float()
    hot = torch.maximum(rises, stays)
    pace = _MOVING + (1.0 - _MOVING) * found.is_still
    pace = torch.minimum(pace, 1.0 - found.is_loss * (1.0 - _LOSS))
    share = (found.tick / ACCEPT_AFTER).clamp(max=1.0 / ACCEPT_TICKS)
    gone = hot * (before.gone + pace * share)
    accepted = (gone >= 1.0).float()
    kept = 1.0 - accepted
    fresh = kept * (before.fresh + 1.0) - accepted * RESTART
    return Latch(kept * hot, kept * gone, fresh), accepted


def is_still(errors: Tensor) -> Tensor:
    """1 where [1, B] the energy is as high as it was for a while.

    ``errors`` [4, B] are the smoothed ones, the quick energy first, then the slow one.
    """
    ratio = (errors[:1] + _QUIET) / (errors[1:2] + _QUIET)
    return (ratio < _STILL).float() * (ratio > 1.0 / _STILL).float()


def is_loss(x: Tensor, scaling: Scaling, rests: Tensor, share: Tensor) -> Tensor:
    """1 where [1, B] metrics at nothing or frozen ones are much of the evidence.

    All [F, B]: values, scaling, the surprise of rests, and contributions.
    """
    beyond = scaling.center.abs() - _ABOVE_NOTHING * scaling.scale
    at_nothing = x.abs() < _NOTHING * beyond
    is_lost = torch.logical_or(at_nothing, rests > 0.0)
    lost = (share * is_lost.float()).sum(dim=0, keepdim=True)
    return (lost > _LOSS_SHARE).float()
