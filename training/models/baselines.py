"""Plain detectors with the step's signature: what a network must beat, and what one may
run in its place.

Theory of operation. The first three keep each metric's mean and variance in the state.
They measure a point in deviations from that mean *before* they learn from it, and
report the mean square over the metrics that are present. It is smoothed over the same
five points as the network's finest scale, on the same logarithmic score. So the network
wins by what it models and by nothing else.

- ``ewma``: mean and variance are exponentially weighted with a span of 100 points
  (Roberts 1959; variance after Finch 2009): a z-score against the recent past. It
  adapts to anything within an hour or two of minutes, to an anomaly as well.
- ``gaussian``: the same with a span of 2,000 points, in place of a sliding window that
  would have to be kept. For metrics that are normal and independent, the mean square is
  the point's log-likelihood but for constants.
- ``pca``: mean and deviation are those of the stream's fit rows and do not change. The
  fleet's leading principal components are subtracted and the squared prediction error
  remains (the Q statistic of Jackson & Mudholkar 1979). With one metric there is
  nothing to project on: it is a plain z-score.
- ``variance``, ``difference``: how much the last points vary, and the difference from
  the point before (:mod:`training.models.one_liners`).

A stream's first ten points only teach. A stream that training has not seen starts
without a mean; for ``pca`` and the one-liners it learns its own over its first
``learning`` points.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History, split
from training.models.layout import StateLayout
from training.models.one_liners import ONE_LINERS, OneLiner
from training.settings import FitSettings

BASELINES = ("ewma", "gaussian", "pca", *ONE_LINERS)
# Points that the running means span.
SPANS = {"ewma": 100.0, "gaussian": 2000.0}
SMOOTHED = 5.0
# Values beyond are clipped to this: the difference of two is still finite in float32.
LARGEST = 1e37
# The largest deviation whose square is finite in float32.
_FINITE_SQUARE = 1e18
# Points of a stream that only teach.
_TEACHING = 10.0
# Deviations to which a point is clipped, in the error and in the projection.
_CAP = 30.0
_INNER_CAP = 10.0
# The least deviation, as a share of the scale of the fit rows, and of the mean.
_LEAST_DEVIATION = 0.1
_RESOLUTION = 1e-6
# Rows from which components are taken: more rows change nothing.
_ROWS = 50_000


def state_layout(features: int) -> StateLayout:
    """The row of a stream of F features."""
    return StateLayout(
        features,
        (
            ("mean", features),
            ("variance", features),
            ("seen", features),  # points
            ("least", features),  # deviation
            ("error", 1),  # smoothed
        ),
    )


class Baseline(nn.Module):
    """ONE step over a batch of streams.

    Args:
        gain: least weight of a new point in mean and variance.
        learning: points after which mean and variance no longer change.
        projection: float32 [F, F] onto the leading components, or None.
    """

    def __init__(
        self,
        features: int,
        gain: float,
        learning: float,
        projection: F32 | None,
    ) -> None:
        super().__init__()
        self.layout = state_layout(features)
        self.gain = gain
        self.learning = learning
        self.projects = projection is not None
        none = torch.zeros(0, 0)
        kept = none if projection is None else torch.from_numpy(projection)
        self.register_buffer("projection", kept)

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        parts = torch.split(state, list(self.layout.widths), dim=1)
        mean, variance, seen, least, smoothed = parts
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, mean, x.clamp(-LARGEST, LARGEST))
        difference = filled - mean
        own = torch.maximum(torch.sqrt(variance), least)
        deviation = torch.maximum(own, (_RESOLUTION * mean.abs()).clamp(min=1e-12))
        z = (difference / deviation).clamp(-_CAP, _CAP)
        explained = self._explain(z)
        taught = present * (seen >= _TEACHING).float()
        error = taught * (z - explained) ** 2
        count = present.sum(dim=1, keepdim=True)
        total = error.sum(dim=1, keepdim=True)
        change = total / count.clamp(min=1.0) - smoothed
        smoothed = smoothed + 2 / (SMOOTHED + 1) * change * count.clamp(max=1.0)
        score = 2.0 * torch.log10(1.0 + 1000.0 * smoothed.sum(dim=1))
        learns = present * (seen < self.learning).float()
        gain = learns * (1.0 / (seen + 1.0)).clamp(min=self.gain)
        square = difference.clamp(-_FINITE_SQUARE, _FINITE_SQUARE) ** 2
        next_mean = mean + gain * difference
        next_variance = variance + gain * ((1.0 - gain) * square - variance)
        row = [next_mean, next_variance, seen + present, least, smoothed]
        expected = mean + deviation * explained
        contribution = error / total.clamp(min=1e-12)
        return score, expected, contribution, torch.cat(row, dim=1)

    def _explain(self, z: Tensor) -> Tensor:
        """What the leading components say of z [B, F]."""
        if not self.projects:
            return torch.zeros_like(z)
        return z.clamp(-_INNER_CAP, _INNER_CAP) @ self.get_buffer("projection")


AnyBaseline = Baseline | OneLiner


def baseline(kind: str, history: History, settings: FitSettings) -> AnyBaseline:
    """One of :data:`BASELINES`, fitted to the fit rows."""
    width = len(history.features)
    if kind in ONE_LINERS:
        return OneLiner(kind, width, float(settings.learning))
    if kind != "pca":
        return Baseline(
            width,
            2 / (SPANS[kind] + 1),
            float("inf"),
            None,
        )
    learning = float(settings.learning)
    return Baseline(width, 0.0, learning, components(history, settings))


def components(history: History, settings: FitSettings) -> F32 | None:
    """float32 [F, F]: projector on the fleet's leading components; None if F is 1.

    There are min(8, F / 4) components of the scaled fit rows, at least one.
    """
    width = len(history.features)
    if width == 1:
        return None
    every = max(1, history.rows // _ROWS)
    thinned = []
    for series in history.series:
        part = split(len(series), settings.fit_share, settings.validation_share)
        thinned.append(series.scaled()[: part.fit : every])
    rows = np.concatenate(thinned)
    pooled = np.clip(rows, -_INNER_CAP, _INNER_CAP).astype(np.float64)
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    top = vectors[:, -min(8, max(1, width // 4)) :]
    return np.asarray(top @ top.T, np.float32)


def first_rows(step: AnyBaseline, history: History) -> F32:
    """float32 [N, S]: each stream before its first point.

    If mean and variance do not follow the stream, they are those of its fit rows.
    """
    at = step.layout.slices()
    rows = np.zeros((len(history.series), step.layout.size), np.float32)
    for row, series in zip(rows, history.series, strict=True):
        row[at["least"]] = _LEAST_DEVIATION * series.scale
        if np.isfinite(step.learning):
            row[at["mean"]] = series.center
            row[at["variance"]] = series.scale**2
            row[at["seen"]] = step.learning
        if isinstance(step, OneLiner):
            row[at["recent_mean"]] = series.center
            row[at["recent_variance"]] = series.scale**2
    return rows


def new_stream_row(step: AnyBaseline) -> F32:
    """float32 [S] of a stream that training has not seen: nothing is known, not even a
    unit.
    """
    return np.zeros(step.layout.size, np.float32)
