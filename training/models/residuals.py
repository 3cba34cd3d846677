"""What network and linear branch fail to reconstruct, and how loud that is; no I/O.

Theory of operation. Each branch's residual is taken past its running offset, and
weighed by the root of its running energy. So a metric that is usually reconstructed
well is loud when it is not. The branches' errors are added. All matrices are
transposed: [F, B] for B streams of F metrics, the two branches one below the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.autoencoder import (
    BIAS_GAIN,
    ENERGY_CAP,
    ENERGY_FLOOR,
    ENERGY_GAIN,
    LINEAR_CLIP,
    LINEAR_WEIGHT,
    RESIDUAL_CAP,
    power_of,
)
from training.models.latch import RESTART, Latch

# Scales by which a residual counts at most in its running offset.
_BIAS_CAP = 1.0
# Share of the energy's gain with which the offset of a young stream follows.
_BIAS_SHARE = 0.25
# Points that the gains of a new stream begin with.
BEGUN = 8.0


class Residual(NamedTuple):
    """[branches F, B] each: residuals, the same past the running offset, the squares of
    these, and 1 if present.
    """

    plain: Tensor
    offset: Tensor
    square: Tensor
    mask: Tensor


class Followed(NamedTuple):
    """[branches F, B] each: running offset and energy of the residuals."""

    bias: Tensor
    energy: Tensor


class Residuals(nn.Module):
    """The branches' residuals and what they add up to.

    Args:
        power: exponent of a residual in the error.
        projection: float32 [F, F], the linear branch; empty if there is none.
    """

    def __init__(self, features: int, power: float, projection: Tensor) -> None:
        super().__init__()
        self.features = features
        self.power = power
        self.branches = 2 if projection.numel() else 1
        self.register_buffer("projection", projection.detach().clone())

    def forward(
        self,
        z: Tensor,
        reconstruction: Tensor,
        present: Tensor,
        before: Followed,
    ) -> Residual:
        """Of a scaled point z [F, B]; a missing value has no square."""
        plain = z - reconstruction
        mask = present
        if self.branches == 2:
            inner = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
            projected = self.get_buffer("projection").T @ inner
            plain = torch.cat([plain, z - projected], dim=0)
            mask = torch.cat([present, present], dim=0)
        offset = mask * (plain - before.bias)
        return Residual(plain, offset, offset * offset, mask)

    def error(self, residual: Residual, before: Followed) -> Tensor:
        """The energy of each metric's residuals, [F, B]."""
        size = residual.offset.abs().clamp(max=RESIDUAL_CAP)
        # one root of both costs less than a root of each
        doubled = power_of(size, 2 * self.power)
        return self.together(torch.sqrt(doubled / (before.energy + ENERGY_FLOOR)))

    def together(self, parts: Tensor) -> Tensor:
        """The weighted sum [F, B] of the branches [branches F, B]."""
        if self.branches == 1:
            return parts
        own, linear = torch.split(parts, self.features, dim=0)
        return own + LINEAR_WEIGHT * linear


def follow(
    residual: Residual, before: Followed, latch: Latch, calm: Tensor
) -> Followed:
    """Offset and energy after a point; nothing follows where ``calm`` [1, B] is 0.

    In a state that was just accepted, the offset is the mean of its points.
    """
    recent = recent_gain(latch)
    usual = (_BIAS_SHARE * recent).clamp(min=BIAS_GAIN) * calm
    restarts = (latch.fresh < 0.0).float()
    at_once = restarts / (latch.fresh + RESTART + 1.0).clamp(min=1.0)
    gain = residual.mask * torch.maximum(usual, at_once)
    bounded = residual.plain.clamp(-_BIAS_CAP, _BIAS_CAP)
    bias = before.bias + gain * (bounded - before.bias)
    gain = residual.mask * (recent.clamp(min=ENERGY_GAIN) * calm)
    limited = residual.square.clamp(max=ENERGY_CAP**2)
    return Followed(bias, before.energy + gain * (limited - before.energy))


def recent_gain(latch: Latch) -> Tensor:
    """1 over the points [1, B] that what is followed rests on."""
    return 1.0 / (latch.fresh.clamp(min=0.0) + BEGUN)
