"""The baselines in plain numpy: the specification of their graph.

One stream, one point at a time, in float64. A law holds the exported graph to it
(tests/laws/test_baselines.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import F64


@dataclass(frozen=True, slots=True)
class BaselineReference:
    """EWMA and Gaussian, or principal components.

    Attributes:
        gain: of mean and variance; at first 1 / points.
        learning: points of a metric after which its mean and variance are fixed.
        projection: float64 [F, F], onto the principal components; zeros for none.
        least: float, the smallest deviation.
    """

    gain: float
    learning: float
    projection: F64
    least: float

    def walk(self, x: F64) -> tuple[F64, F64]:
        """Scores [T] and contributions [T, F] of a new stream with values [T, F].

        NaN is a missing value: it changes nothing of its metric.
        """
        ticks, features = x.shape
        mean = np.zeros(features)
        variance = np.zeros(features)
        seen = np.zeros(features)
        smoothed = 0.0
        scores = np.zeros(ticks)
        contributions = np.zeros((ticks, features))
        for t, row in enumerate(x):
            is_present = np.isfinite(row)
            error = self._error(row, mean, variance, seen)
            if is_present.any():
                mean_error = error.sum() / is_present.sum()
                smoothed += (mean_error - smoothed) / 3
                contributions[t] = error / max(error.sum(), 1e-12)
            scores[t] = 2 * np.log10(1 + 1000 * smoothed)
            for j in np.flatnonzero(is_present & (seen < self.learning)):
                gain = max(1 / (seen[j] + 1), self.gain)
                off = row[j] - mean[j]
                mean[j] += gain * off
                variance[j] = (1 - gain) * (variance[j] + gain * off**2)
            seen += is_present
        return scores, contributions

    def _error(
        self,
        row: F64,
        mean: F64,
        variance: F64,
        seen: F64,
    ) -> F64:
        """Squared distance [F] of the standardised values from their projection.

        0 where a value is missing, or the metric has had fewer than ten points.
        """
        is_present = np.isfinite(row)
        relative = np.maximum(1e-6 * np.abs(mean), 1e-12)
        deviation = np.maximum(np.maximum(np.sqrt(variance), self.least), relative)
        z = np.where(is_present, np.clip((row - mean) / deviation, -30, 30), 0.0)
        reconstruction = np.clip(z, -10, 10) @ self.projection
        is_known = is_present & (seen >= 10)
        return np.where(is_known, (z - reconstruction) ** 2, 0.0)


@dataclass(frozen=True, slots=True)
class OneLinerReference:
    """The variance of the last points, or the squared difference from the one before.

    Attributes:
        recent_gain: of the mean and variance of the last points; 1 for the difference.
        learning: points of a metric after which its own variance is fixed.
        least: float, the smallest deviation.
    """

    recent_gain: float
    learning: float
    least: float

    def walk(self, x: F64) -> tuple[F64, F64]:
        """Scores [T] and contributions [T, F] of a new stream with values [T, F].

        NaN is a missing value: it changes nothing of its metric.
        """
        ticks, features = x.shape
        metrics = [_OneMetric(self) for _ in range(features)]
        smoothed = 0.0
        scores = np.zeros(ticks)
        contributions = np.zeros((ticks, features))
        for t, row in enumerate(x):
            present = [j for j in range(features) if np.isfinite(row[j])]
            error = np.zeros(features)
            for j in present:
                error[j] = metrics[j].step(float(row[j]))
            if present:
                smoothed += (error.sum() / len(present) - smoothed) / 3
                contributions[t] = error / max(error.sum(), 1e-12)
            scores[t] = 2 * np.log10(1 + 1000 * smoothed)
        return scores, contributions


class _OneMetric:
    """What a one-liner remembers of one metric."""

    def __init__(self, of: OneLinerReference) -> None:
        self.of = of
        self.seen = 0
        self.mean = 0.0
        self.variance = 0.0
        self.recent_mean = 0.0
        self.recent_variance = 0.0

    def step(self, value: float) -> float:
        """The error of one value, before the metric learns from it."""
        deviation = max(
            np.sqrt(self.variance), self.of.least, 1e-6 * abs(self.mean), 1e-12
        )
        spread = self._spread(value)
        error = min(np.sqrt(spread) / deviation, 30) ** 2
        if self.seen < 10:
            error = 0.0
        if self.seen < self.of.learning:
            gain = 1 / (self.seen + 1)
            off = value - self.mean
            self.mean += gain * off
            self.variance = (1 - gain) * (self.variance + gain * off**2)
        self.seen += 1
        return float(error)

    def _spread(self, value: float) -> float:
        """The squared difference, or the variance of the last values with this one."""
        if self.seen == 0:
            self.recent_mean = value
        gain = self.of.recent_gain
        change = value - self.recent_mean
        self.recent_mean += gain * change
        if gain == 1:
            return change**2
        self.recent_variance = (1 - gain) * (self.recent_variance + gain * change**2)
        return self.recent_variance
