"""When a stream may learn: not from an incident, until it is a state.

Theory of operation. A stream is *hot* once its own combined evidence is rarer than
:data:`HOT` decimal places of its past, until it is commoner than :data:`COOL` places (a
Schmitt trigger). While it is hot the gate is shut: sketches, profiles, prototypes and
means learn nothing, from the first point on. So the tenth outage is as surprising as
the first. Before its :data:`_KNOWN` th point a stream knows too little to doubt, and
its gate is always open.

A change that lasts is accepted by evidence that it is a state. Time counts while the
metric holds still there, and less while it moves on, as a leak does, or while the
metric is lost: its value is a fiftieth of what it usually is, or less. After enough of
it the gate opens, and all is learned at full speed until the stream is calm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Decimal places of surprise at which a stream becomes hot, and is so no longer. With 3
# or 3.5 a metric that wanders is never learned (docs/experiments/learning-gate.md).
HOT = 4.0
COOL = 2.0
# Points before which the gate is always open.
_KNOWN = 1000.0
# Time for which a state holds still before it is accepted: seconds, ticks, and the most
# of it as a share of the stream's age.
STATE_SECONDS = 21_600.0
STATE_TICKS = 24.0
_STATE_SHARE = 0.1
# What a second counts for while the metric moves on, and while it is lost: the first is
# accepted after two days, the second after three. A leak is taken for still sooner,
# since it flattens in logarithms (docs/limits.md).
_MOVING = 0.125
_LOST = 1 / 12
# Seconds in which the time that counted fades once the stream is calm.
_FADES = 1800.0


class Gate(NamedTuple):
    """Of B streams, each [1, B].

    Attributes:
        is_hot: 1 while the stream is in an incident.
        held: seconds that counted towards acceptance.
    """

    is_hot: Tensor
    held: Tensor


def is_shut(before: Gate, tick: Tensor, age: Tensor) -> Tensor:
    """1 where a hot stream may not learn [1, B]; ``age`` is in points."""
    enough = torch.clamp(STATE_TICKS * tick, min=STATE_SECONDS)
    enough = torch.minimum(enough, _STATE_SHARE * age * tick)
    is_state = (before.held >= enough).float()
    knows_enough = (age > _KNOWN - 0.5).float()
    return knows_enough * (1.0 - is_state)


def after_point(
    before: Gate,
    rank: Tensor,
    some: Tensor,
    is_still: Tensor,
    is_lost: Tensor,
    tick: Tensor,
) -> Gate:
    """The gate after a point whose evidence has this rank, all [1, B].

    ``some`` is 1 where any value is there; where none is, the gate stays as it is.
    """
    becomes = (rank >= HOT).float()
    stays = before.is_hot * (rank >= COOL).float()
    is_hot = torch.maximum(becomes, stays)
    is_hot = some * is_hot + (1.0 - some) * before.is_hot
    counts = is_still + (1.0 - is_still) * _MOVING
    counts = torch.minimum(counts, 1.0 - (1.0 - _LOST) * is_lost)
    faded = before.held * torch.exp(tick * (-1.0 / _FADES))
    faded = faded * (faded > 1.0).float()
    held = is_hot * (before.held + counts * some * tick) + (1.0 - is_hot) * faded
    return Gate(is_hot, held)
