"""Plain detectors with the step's signature: what a network must beat, and what one may
run in its place.

Theory of operation. All three keep each metric's mean and variance in the state row,
measure a point in deviations from that mean *before* it is learned from, and report the
mean square over the metrics that are present, smoothed over the same five points as the
network's finest scale and on the same logarithmic score, so that the network wins by
what it models and by nothing else.

- ``ewma``: mean and variance are exponentially weighted with a span of 100 points
(Roberts 1959; variance after Finch 2009): a z-score
  against the recent past. It adapts to anything within an hour or two, an anomaly
  included.
- ``gaussian``: the same with a span of 2,000 points, in place of a sliding window that
would have to be kept: under normal metrics that are
  independent, the mean square is the point's log-likelihood but for constants.
- ``pca``: mean and deviation are those of the stream's fit rows and stay; the fleet's
leading principal components are subtracted and the
  squared prediction error remains (the Q statistic of Jackson & Mudholkar 1979). With
  one metric there is nothing to project on: a plain z-score.

A stream's first ten points only teach. A stream that training has not seen starts
without a mean; for ``pca`` it learns its own over its first ``learning`` points. The
state row: mean, variance, points seen, least deviation [F each], smoothed error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History, split
from training.settings import FitSettings

BASELINES = ("ewma", "gaussian", "pca")
SPANS = {"ewma": 100.0, "gaussian": 2000.0}
SMOOTHED = 5.0
LARGEST = 1e37  # values beyond are taken for this: differences of two stay finite
_TEACHING = 10.0
_CAP = 30.0
_INNER_CAP = 10.0
# of the scale of the fit rows, and of the mean
_LEAST_DEVIATION = 0.1
_RESOLUTION = 1e-6
_ROWS = 50_000  # that components are taken from: more move them by nothing


@dataclass(frozen=True, slots=True)
class Fields:
    """Where each part of a baseline's state row [S] lies, for F features."""

    features: int

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.features,) * 4 + (1,)

    @property
    def size(self) -> int:
        return sum(self.widths)

    def slices(self) -> dict[str, slice]:
        edges = np.cumsum([0, *self.widths]).tolist()
        names = ("mean", "variance", "seen", "least", "error")
        return {
            name: slice(a, b)
            for name, a, b in zip(names, edges, edges[1:], strict=False)
        }


class Baseline(nn.Module):
    """ONE step over a batch of streams.

    Args:
        gain: least weight of a new point in mean and variance.
        learning: points after which mean and variance stay as they are.
        projection: [F, F] onto the leading components, or None.
    """

    def __init__(
        self, features: int, gain: float, learning: float, projection: F32 | None
    ) -> None:
        super().__init__()
        self.layout = Fields(features)
        self.gain = gain
        self.learning = learning
        self.projects = projection is not None
        self.register_buffer(
            "projection",
            torch.zeros(0, 0) if projection is None else torch.from_numpy(projection),
        )

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        mean, variance, seen, least, smoothed = torch.split(
            state, list(self.layout.widths), dim=1
        )
        missing = torch.isnan(x)
        present = (~missing).float()
        difference = torch.where(missing, mean, x.clamp(-LARGEST, LARGEST)) - mean
        deviation = torch.maximum(
            torch.maximum(torch.sqrt(variance), least),
            (_RESOLUTION * mean.abs()).clamp(min=1e-12),
        )
        z = (difference / deviation).clamp(-_CAP, _CAP)
        explained = (
            z.clamp(-_INNER_CAP, _INNER_CAP) @ self.get_buffer("projection")
            if self.projects
            else torch.zeros_like(z)
        )
        error = present * (seen >= _TEACHING).float() * (z - explained) ** 2
        count = present.sum(dim=1, keepdim=True)
        total = error.sum(dim=1, keepdim=True)
        smoothed = smoothed + 2 / (SMOOTHED + 1) * (
            total / count.clamp(min=1.0) - smoothed
        ) * count.clamp(max=1.0)
        score = 2.0 * torch.log10(1.0 + 1000.0 * smoothed.sum(dim=1))
        gain = (
            present
            * (seen < self.learning).float()
            * (1.0 / (seen + 1.0)).clamp(min=self.gain)
        )
        square = difference.clamp(-1e18, 1e18) ** 2
        updated = [
            mean + gain * difference,
            variance + gain * ((1.0 - gain) * square - variance),
            seen + present,
            least,
            smoothed,
        ]
        return (
            score,
            mean + deviation * explained,
            error / total.clamp(min=1e-12),
            torch.cat(updated, dim=1),
        )


def baseline(kind: str, history: History, settings: FitSettings) -> Baseline:
    """One of :data:`BASELINES`, fitted to the fit rows."""
    width = len(history.features)
    if kind == "pca":
        return Baseline(
            width, 0.0, float(settings.learning), components(history, settings)
        )
    return Baseline(width, 2 / (SPANS[kind] + 1), float("inf"), None)


def components(history: History, settings: FitSettings) -> F32 | None:
    """float32 [F, F]: projector on the leading min(8, F / 4) components of the fleet's
    scaled fit rows, at least one; None for one feature.
    """
    width = len(history.features)
    if width == 1:
        return None
    every = max(1, history.rows // _ROWS)
    thinned = [
        s.scaled()[
            : split(len(s), settings.fit_share, settings.validation_share).fit : every
        ]
        for s in history.series
    ]
    pooled = np.clip(np.concatenate(thinned), -_INNER_CAP, _INNER_CAP).astype(
        np.float64
    )
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    top = vectors[:, -min(8, max(1, width // 4)) :]
    return np.asarray(top @ top.T, np.float32)


def first_rows(step: Baseline, history: History) -> F32:
    """float32 [N, S]: each stream before its first point; where mean and variance are
    not followed, those of its fit rows.
    """
    at = step.layout.slices()
    rows = np.zeros((len(history.series), step.layout.size), np.float32)
    for row, series in zip(rows, history.series, strict=True):
        row[at["least"]] = _LEAST_DEVIATION * series.scale
        if np.isfinite(step.learning):
            row[at["mean"]] = series.center
            row[at["variance"]] = series.scale**2
            row[at["seen"]] = step.learning
    return rows


def initial_row(step: Baseline) -> F32:
    """float32 [S] of a stream that training has not seen: nothing known, not even a
    unit.
    """
    return np.zeros(step.layout.size, np.float32)
