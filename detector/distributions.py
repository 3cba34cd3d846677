"""Means and quantiles of histograms, as Prometheus estimates them.

Observations are taken as spread evenly within a bucket; in exponential buckets, evenly
on a logarithmic scale. A quantile in a bucket without a bound is the bound that it has.

A cumulative histogram holds all observations since its process began. What is scored is
the mean, or a quantile, of those that came since the point before: the growth of the
sum by that of the count, and the quantile of the growth of the buckets.

Source: Prometheus' documentation of ``histogram_quantile``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

# Which quantiles a histogram becomes: the usual case and the slow one. Each is scored
# as a metric of its own and costs its share of the false-alarm budget.
QUANTILES: Final = (0.5, 0.95)

#: Buckets of a cumulative histogram, empty ones aside, of which quantiles are told. By
#: judgement: exporters of exponential histograms make 160 by default.
MOST_BUCKETS: Final = 200

# Seconds by which a start time may move without a restart: some producers compute it
# from an uptime, rounded.
_START_MOVES: Final = 1.0

# What float32 holds at most: values are scored in it.
_F32_MOST: Final = float.fromhex("0x1.fffffep127")

_ALL: Final = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Observations between two bounds; they are equal in a bucket of one value."""

    low: float
    high: float
    count: float
    logarithmic: bool = False


class Totals(msgspec.Struct, frozen=True, array_like=True):
    """What a cumulative histogram says, as far as one metric of it needs it.

    Pages hold it, so new fields come last and have a default.

    Attributes:
        counts: observations in each bucket; of a mean, all of them in one.
        total: the sum of the observations; 0 if the metric is a quantile.
        share: of the observations that are at most the metric; None: it is the mean.
        lows, highs: the bounds of the buckets; empty if the metric is the mean.
        logarithmic: whether the buckets are, as :class:`Bucket` says.
        start: epoch seconds at which it began; 0: unknown.
    """

    counts: tuple[float, ...]
    total: float
    share: float | None = None
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    logarithmic: bool = False
    start: float = 0.0

    def metric(self) -> float:
        """The metric of all observations; NaN if there is none."""
        if self.share is None:
            (count,) = self.counts
            return self.total / count if count > 0 else math.nan
        columns = zip(self.lows, self.highs, self.counts, strict=True)
        buckets = [Bucket(*column, self.logarithmic) for column in columns]
        found = quantile(buckets, self.share)
        return math.nan if found is None else found

    def metric_since(self, before: Totals) -> float:
        """The metric of the observations since a point before.

        NaN if there is none, if it can't be told, or if float32 does not hold it. It
        may hold the mean of all observations, and not that of the last ones.
        """
        grown = self.since(before)
        value = math.nan if grown is None else grown.metric()
        return value if abs(value) <= _F32_MOST else math.nan

    def since(self, before: Totals) -> Totals | None:
        """The observations since a point before.

        After a restart they are all that there are. None: its buckets are others, or
        some of them fell although it did not begin again.
        """
        if self.has_restarted(before):
            return self
        then = dict(zip(before._bounds(), before.counts, strict=True))
        counts = tuple(
            count - then.pop(bounds, 0.0)
            for bounds, count in zip(self._bounds(), self.counts, strict=True)
        )
        if any(then.values()) or min(counts, default=0.0) < 0:
            return None
        return msgspec.structs.replace(
            self, counts=counts, total=self.total - before.total
        )

    def _bounds(self) -> list[tuple[float, float]]:
        """Of each bucket that is not empty."""
        if self.share is None:
            return [_ALL]
        return list(zip(self.lows, self.highs, strict=True))

    def has_restarted(self, before: Totals) -> bool:
        """Whether its process began again since a point before."""
        if self.start and before.start and self.start > before.start + _START_MOVES:
            return True
        return sum(self.counts) < sum(before.counts)


def mean_totals(total: float, count: float, start: float) -> Totals:
    return Totals((float(count),), float(total), start=start)


def quantile_totals(
    buckets: Sequence[Bucket], share: float, start: float
) -> Totals | None:
    """The totals of a quantile; None if there are more buckets than pages hold."""
    filled = [bucket for bucket in buckets if bucket.count > 0]
    if len(filled) > MOST_BUCKETS:
        return None
    return Totals(
        counts=tuple(float(bucket.count) for bucket in filled),
        total=0.0,
        share=share,
        lows=tuple(bucket.low for bucket in filled),
        highs=tuple(bucket.high for bucket in filled),
        logarithmic=any(bucket.logarithmic for bucket in filled),
        start=start,
    )


def explicit_buckets(bounds: Sequence[float], counts: Sequence[float]) -> list[Bucket]:
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


def native_buckets(
    scale: int,
    zero_count: float,
    positive: Sequence[tuple[int, Sequence[float]]],
    negative: Sequence[tuple[int, Sequence[float]]],
) -> list[Bucket]:
    """The same of Prometheus' native histograms, whose buckets are numbered by their
    upper bounds: for each of their spans, the first number and the counts.
    """
    mirrored = [
        Bucket(-bucket.high, -bucket.low, bucket.count, logarithmic=True)
        for first, counts in negative
        for bucket in _powers(scale, first - 1, counts)
    ]
    zero = Bucket(0.0, 0.0, zero_count)
    others = [
        bucket
        for first, counts in positive
        for bucket in _powers(scale, first - 1, counts)
    ]
    return [*reversed(mirrored), zero, *others]


def percentile(share: float) -> str:
    """``p50``, ``p99.9``."""
    return f"p{100 * share:.6g}"


def quantile(buckets: Sequence[Bucket], share: float) -> float | None:
    """The value below which a share of the observations lies; None: there is none."""
    total = sum(bucket.count for bucket in buckets)
    if total <= 0:
        return None
    rank = share * total
    below = 0.0
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


def _powers(scale: int, offset: int, counts: Sequence[float]) -> Iterator[Bucket]:
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
