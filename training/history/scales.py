"""Center and scale of each stream's metrics, from its fit rows.

Theory of operation. A scale comes from the stream's own rows and nothing else, because
streams of one fleet report one metric in different sizes, and even units. It is robust,
because training data is never clean: values are winsorised (Tukey 1962) at their 1st
and 99th percentiles, widened by five times their distance, before mean and deviation
are taken. So broken readings move neither far, while what a metric does now and then is
part of its scale. (Closer clipping makes rare but normal excursions loud.) A scale is
at least a tenth of the range after winsorising, for the same reason.

A metric that a stream never reports, or that never changes, tells no scale. It gets the
fleet's: the median of the other streams' scales, on a scale of logarithms. Of a metric
that is constant it is a tenth of that, because here it moves less than elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64

# Share of the largest value under which a range is rounding: float32 has seven digits.
_CONSTANT_RANGE = 1e-6
# Least scale, as a share of the range: docs/experiments/many-metrics.md.
_OF_RANGE = 0.1
# Scale of a metric that is constant here, as a share of the fleet's: the same page. If
# it is constant in the whole fleet, as a share of its value.
_CONSTANT = 0.1
# Percentiles at which values are winsorised, and how often their distance is added.
_PERCENTILES = (0.01, 0.99)
_ROOM = 5
# Scales are within float32, and so are their products with what is clipped.
_LEAST = 1e-30
_LARGEST = 1e36


@dataclass(frozen=True, slots=True)
class Scales:
    """Center and scale of N streams of F metrics, float32 [N, F] each."""

    center: F32
    scale: F32


def scales(heads: Sequence[F32]) -> Scales | None:
    """Of each stream's fit rows [n_i, F]; None if no metric of any stream varies."""
    pairs = [_own(values) for values in heads]
    centers = np.array([center for center, _ in pairs])
    scale = np.array([own for _, own in pairs])
    if not np.isfinite(scale).any():
        return None
    for j in range(scale.shape[1]):
        _complete(centers[:, j], scale[:, j])
    bounded = np.clip(scale, _LEAST, _LARGEST)
    return Scales(centers.astype(np.float32), bounded.astype(np.float32))


def _own(values: F32) -> tuple[F64, F64]:
    """Center and scale [F] of one stream.

    Both are NaN for a metric without a value, and the scale for one that is constant.
    """
    width = values.shape[1]
    center = np.full(width, np.nan)
    scale = np.full(width, np.nan)
    for j in range(width):
        column = values[:, j]
        x = column[np.isfinite(column)].astype(np.float64)
        if not len(x):
            continue
        low = x.min()
        high = x.max()
        center[j] = x.mean()
        if high - low <= _CONSTANT_RANGE * max(abs(low), abs(high)):
            continue
        if np.all((x == low) | (x == high)):
            scale[j] = high - low
        else:
            x = _winsorised(x)
            center[j] = x.mean()
            extent = np.ptp(x) or high - low
            scale[j] = max(x.std(), _OF_RANGE * extent)
    return center, scale


def _winsorised(x: F64) -> F64:
    low, high = np.quantile(x, _PERCENTILES)
    room = _ROOM * (high - low)
    return np.clip(x, low - room, high + room)


def _complete(center: F64, scale: F64) -> None:
    """Fill in what streams do not tell of one metric, [N] each, from those that do."""
    is_reported = np.isfinite(center)
    varies = np.isfinite(scale)
    is_constant = is_reported & ~varies
    usual = float(np.median(center[is_reported])) if is_reported.any() else 0.0
    center[~is_reported] = usual
    if varies.any():
        fleet = float(np.exp(np.median(np.log(scale[varies]))))
        scale[is_constant] = _CONSTANT * fleet
        scale[~is_reported] = fleet
        return
    size = np.abs(center)
    scale[:] = np.where(size > 0, _CONSTANT * size, 1.0)
