"""Two detectors of one line, as a graph: what pretrained networks for time series did
not beat.

Theory of operation. *When Foundation Models are One-Liners* (ICLR 2026) compares five
families of pretrained networks with two plain scores, and finds no difference:

- ``variance``: the variance of the last points, a moving window.
- ``difference``: the squared difference from the point before.

A window would have to be kept. So mean and variance of the last points are
exponentially weighted (Finch 2009), with a span of :data:`WINDOW` points. Each metric
is divided by its own variance, or several could not be added up. That variance is the
one of the stream's fit rows and does not change, so within a stream the ranking of one
metric is that of the paper. A stream that training has not seen learns its own over its
first ``learning`` points. The mean over the metrics that are present is smoothed and
put on a logarithm as that of the other baselines (:mod:`training.models.baselines`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.layout import StateLayout

ONE_LINERS = ("variance", "difference")
# Points that the moving window spans, see docs/experiments/plain-detectors.md.
WINDOW = 20.0
# Points of the smoothed error, as in training.models.baselines.
_SMOOTHED = 5.0
# Values beyond are clipped to this: the difference of two is still finite in float32.
_LARGEST = 1e37
# The largest difference whose square is finite in float32.
_FINITE_SQUARE = 1e18
# Points of a metric that only teach.
_TEACHING = 10.0
# Deviations to which a metric's error is clipped.
_CAP = 30.0
# The least deviation, as a share of the mean.
_RESOLUTION = 1e-6


def state_layout(features: int) -> StateLayout:
    """The row of a stream of F features."""
    return StateLayout(
        features,
        (
            ("mean", features),
            ("variance", features),
            ("seen", features),  # points
            ("least", features),  # deviation
            ("recent_mean", features),
            ("recent_variance", features),
            ("error", 1),  # smoothed
        ),
    )


class OneLiner(nn.Module):
    """ONE step over a batch of streams.

    Args:
        kind: one of :data:`ONE_LINERS`.
        learning: points after which a metric's own variance no longer changes.
    """

    def __init__(self, kind: str, features: int, learning: float) -> None:
        super().__init__()
        self.layout = state_layout(features)
        self.kind = kind
        self.learning = learning
        # the mean of a window of one point is the point before
        self.recent_gain = 1.0 if kind == "difference" else 2 / (WINDOW + 1)

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        parts = torch.split(state, list(self.layout.widths), dim=1)
        mean, variance, seen, least, recent_mean, recent_variance, smoothed = parts
        missing = torch.isnan(x)
        present = (~missing).float()
        is_first = (seen < 1.0) & ~missing
        filled = torch.where(missing, recent_mean, x.clamp(-_LARGEST, _LARGEST))
        recent_mean = torch.where(is_first, filled, recent_mean)
        change = filled - recent_mean
        recent_gain = self.recent_gain * present
        grown = recent_variance + recent_gain * _squared(change)
        next_recent_variance = (1.0 - recent_gain) * grown
        is_variance = self.kind == "variance"
        spread = next_recent_variance if is_variance else _squared(change)
        own = torch.maximum(torch.sqrt(variance), least)
        deviation = torch.maximum(own, (_RESOLUTION * mean.abs()).clamp(min=1e-12))
        ratio = (torch.sqrt(spread) / deviation).clamp(max=_CAP)
        taught = present * (seen >= _TEACHING).float()
        error = taught * ratio**2
        count = present.sum(dim=1, keepdim=True)
        total = error.sum(dim=1, keepdim=True)
        step = total / count.clamp(min=1.0) - smoothed
        smoothed = smoothed + 2 / (_SMOOTHED + 1) * step * count.clamp(max=1.0)
        score = 2.0 * torch.log10(1.0 + 1000.0 * smoothed.sum(dim=1))
        row = [
            *self._learn(filled, present, mean, variance, seen),
            least,
            recent_mean + recent_gain * change,
            next_recent_variance,
            smoothed,
        ]
        contribution = error / total.clamp(min=1e-12)
        return score, recent_mean, contribution, torch.cat(row, dim=1)

    def _learn(
        self,
        filled: Tensor,
        present: Tensor,
        mean: Tensor,
        variance: Tensor,
        seen: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each metric's own mean, variance and points after these values, [B, F]."""
        learns = present * (seen < self.learning).float()
        gain = learns / (seen + 1.0)
        distance = filled - mean
        next_variance = variance + gain * ((1.0 - gain) * _squared(distance) - variance)
        return mean + gain * distance, next_variance, seen + present


def _squared(distance: Tensor) -> Tensor:
    return distance.clamp(-_FINITE_SQUARE, _FINITE_SQUARE) ** 2
