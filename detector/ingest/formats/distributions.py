"""Quantiles of histograms, as Prometheus estimates them.

Observations are taken as spread evenly within a bucket; in exponential buckets, evenly
on a logarithmic scale. A quantile in a bucket without a bound is the bound that it has.

Source: Prometheus' documentation of ``histogram_quantile``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# Which quantiles a histogram becomes: the usual case and the slow one. Each is scored
# as a metric of its own and costs its share of the false-alarm budget.
QUANTILES: Final = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Observations between two bounds; they are equal in a bucket of one value."""

    low: float
    high: float
    count: int
    logarithmic: bool = False


def explicit_buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[Bucket]:
    """Buckets with upper bounds [n] and counts [n + 1]; none if these don't match.

    The first begins at zero if its bound is positive. The last ends at its lower bound.
    """
    if not bounds or len(counts) != len(bounds) + 1:
        return []
    first = min(0.0, bounds[0])
    lows = [first, *bounds]
    highs = [*bounds, bounds[-1]]
    return list(map(Bucket, lows, highs, counts))


def exponential_buckets(
    scale: int,
    zero_count: int,
    positive: tuple[int, Sequence[int]],
    negative: tuple[int, Sequence[int]],
) -> list[Bucket]:
    """Buckets whose bounds are powers of ``2 ** 2 ** -scale``, from low to high.

    ``positive`` and ``negative`` are the first power's exponent and the counts. Bounds
    beyond a float's range are infinite or zero.
    """
    mirrored = [
        Bucket(-bucket.high, -bucket.low, bucket.count, logarithmic=True)
        for bucket in _powers(scale, *negative)
    ]
    zero = Bucket(0.0, 0.0, zero_count)
    return [*reversed(mirrored), zero, *_powers(scale, *positive)]


def quantile(buckets: Sequence[Bucket], share: float) -> float | None:
    """The value below which a share of the observations lies; None: there is none."""
    total = sum(bucket.count for bucket in buckets)
    if total <= 0:
        return None
    rank = share * total
    below = 0
    for bucket in buckets:
        if bucket.count > 0 and below + bucket.count >= rank:
            return _within(bucket, (rank - below) / bucket.count)
        below += bucket.count
    return None


def _within(bucket: Bucket, share: float) -> float:
    if not bucket.logarithmic:
        return bucket.low + (bucket.high - bucket.low) * share
    sign = math.copysign(1.0, bucket.low)
    low, high = abs(bucket.low), abs(bucket.high)
    if low == 0.0 or math.isinf(high) or high == 0.0 or math.isinf(low):
        return bucket.high
    return sign * low * math.pow(high / low, share)


def _powers(scale: int, offset: int, counts: Sequence[int]) -> Iterator[Bucket]:
    for index, count in enumerate(counts, offset):
        if count:
            low = _power(scale, index)
            high = _power(scale, index + 1)
            yield Bucket(low, high, count, logarithmic=True)


def _power(scale: int, index: int) -> float:
    """The base of the scale to this exponent."""
    try:
        return float(2.0 ** math.ldexp(index, -scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0
