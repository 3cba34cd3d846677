"""How sure a mean difference between two detectors is: an interval over streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.events import F64, I64

#: Share of resamples whose mean is in the interval.
LEVEL = 0.95
# The normal quantile at both ends of it.
_NORMAL_QUANTILE = 1.959964
# Resamples: the ends of the interval then move by about a thirtieth of its length from
# seed to seed.
_RESAMPLES = 2000
# Streams from which on they are resampled whole. A resample of fewer is too often one
# stream alone.
_LEAST_STREAMS = 5


class Interval(NamedTuple):
    """The mean of differences, and where it is with :data:`LEVEL` confidence.

    Attributes:
        over: what was resampled, ``streams`` or ``kinds of fault``; empty for a single
            case, of which nothing can be said.
    """

    mean: float
    low: float
    high: float
    over: str

    @property
    def is_above(self) -> bool:
        """Whether all of it is above zero."""
        return self.low > 0

    @property
    def is_below(self) -> bool:
        """Whether all of it is below zero."""
        return self.high < 0


def mean_interval(
    differences: F64,
    streams: I64,
    kinds: Sequence[str],
    seed: int,
) -> Interval:
    """The mean of ``differences`` [n], each in [-1, 1], of the streams and kinds [n].

    The bootstrap (Efron 1979) resamples whole streams, because the cases of a stream
    are alike: each stream counts once, with the mean of its cases. Of fewer than five
    streams it resamples the kinds of each, whose sizes are alike as well. The
    percentiles are expanded (Hesterberg 2015), or the interval of a few would be too
    short: docs/experiments/gate.md.
    """
    over = "streams"
    units = _means_by(streams, differences)
    mean = float(units.mean())
    if len(units) < _LEAST_STREAMS and len(set(kinds)) > 1:
        over = "kinds of fault"
        _, number = np.unique(np.array(kinds), return_inverse=True)
        units = _means_by(streams * len(kinds) + number, differences)
    count = len(units)
    if count < 2:
        return Interval(mean, -1.0, 1.0, "")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, count, (_RESAMPLES, count))
    means = units[chosen].mean(axis=1) - units.mean()
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail)) * _expansion(count)
    return Interval(mean, mean + float(low), mean + float(high), over)


def _expansion(count: int) -> float:
    """By how much an interval of ``count`` values, at least 2, is too short.

    The bootstrap takes the deviation with n in place of n - 1, and the normal quantile
    in place of Student's, which is expanded in powers of 1 / (n - 1) (Fisher 1926).
    """
    z = _NORMAL_QUANTILE
    degrees = count - 1
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    student = z + first / degrees + second / degrees**2 + third / degrees**3
    return float(np.sqrt(count / degrees) * student / z)


def _means_by(group: I64, differences: F64) -> F64:
    """One mean for each group, float64 [N]."""
    _, number = np.unique(group, return_inverse=True)
    return np.bincount(number, differences) / np.bincount(number)
