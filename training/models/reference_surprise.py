"""The front for single metrics in plain Python: the specification of its channels.

One metric, one point at a time, in float64, without missing values. A law holds the
graph's front to it (tests/laws/test_surprise.py). The constants are written again here,
on purpose: a change of one in :mod:`training.models.surprise` must be a change of the
specification.

A point becomes six channels (:class:`ChannelsReference`). Each channel becomes a
surprise: the decimal places of probability of its place in the tail of the channel's
own past (:func:`surprises`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detector.events import F64
from detector.timestamps import DAY

CHANNELS = 6
SETTLED = 20  # points before a sketch is used, and before updates are clipped
_TINY = 1e-30  # in place of a divisor of zero


# -- the past of one channel -----------------------------------------------------------


class SketchReference:
    """A distribution as at most twelve weighted centroids, finest in its tails.

    After Ben-Haim & Tom-Tov (2010) and Dunning & Ertl (2019), with a Pareto tail beyond
    the largest value (Pickands 1975).
    """

    MAX_CENTROIDS = 12
    MAX_SURPRISE = 9.0  # decimal places

    def __init__(self) -> None:
        self._centroids = list[tuple[float, float]]()  # (value, weight), rising

    def tail(self, q: float, sign: int) -> float:
        """-log10 of the share of the past at q or beyond.

        ``sign``: 1 for above, -1 for below.
        """
        centroids = sorted((sign * value, weight) for value, weight in self._centroids)
        q = sign * q
        total = sum(weight for _, weight in centroids)
        above = [i for i, (value, _) in enumerate(centroids) if value >= q]
        if not above:
            return self._beyond_all(q, centroids, total)
        reached = self._reached(
            q,
            centroids,
            above[0],
            total,
        )
        return -math.log10((reached + 0.5) / (total + 1))

    def _reached(
        self,
        q: float,
        centroids: Sequence[tuple[float, float]],
        i: int,
        total: float,
    ) -> float:
        """Weight at q or above. Centroid i is the first that is not below q."""
        value, weight = centroids[i]
        if value == q:
            return _middle(centroids, i) + weight / 2
        if i == 0:
            return total
        below = centroids[i - 1][0]
        share = (q - below) / (value - below)
        log_below = math.log(_middle(centroids, i - 1))
        log_above = math.log(_middle(centroids, i))
        return math.exp((1 - share) * log_below + share * log_above)

    def _beyond_all(
        self, q: float, centroids: Sequence[tuple[float, float]], total: float
    ) -> float:
        """A Pareto tail with exponent 2, as wide as the outer tenth of the past."""
        top = centroids[-1][0]
        outer_tenth = max(
            value
            for i, (value, weight) in enumerate(centroids)
            if _middle(centroids, i) + weight / 2 >= 0.1 * total
        )
        width = max(top - outer_tenth, 1e-3 * abs(top), _TINY)
        decay = 2 * math.log10(1 + (q - top) / width)
        return min(self.MAX_SURPRISE, math.log10(2 * (total + 1)) + decay)

    def share(self, q: float) -> float:
        """The share of the past that was exactly q."""
        total = sum(weight for _, weight in self._centroids)
        equal = sum(weight for value, weight in self._centroids if value == q)
        return equal / max(total, _TINY)

    def see(self, q: float, weight: float) -> None:
        """Add a value. Beyond twelve centroids, the cheapest neighbours merge."""
        weights = dict(self._centroids)
        weights[q] = weights.get(q, 0.0) + weight
        self._centroids = sorted(weights.items())
        if len(self._centroids) > self.MAX_CENTROIDS:
            i = self._cheapest_pair()
            (v, a), (u, b) = self._centroids[i : i + 2]
            merged = ((v * a + u * b) / (a + b), a + b)
            self._centroids[i : i + 2] = [merged]

    def _cheapest_pair(self) -> int:
        """The pair with the least weight for its distance from the nearer end.

        The outermost centroids never merge. Of equals the first one does.
        """
        weights = [weight for _, weight in self._centroids]
        masses = np.cumsum(weights)
        costs = {}
        for i in range(1, len(weights) - 2):
            pair = weights[i] + weights[i + 1]
            from_start = masses[i + 1]
            from_end = masses[-1] - masses[i] + weights[i]
            costs[i] = pair / min(from_start, from_end) + 1e-5 * i
        return min(costs, key=lambda i: costs[i])


def _middle(centroids: Sequence[tuple[float, float]], i: int) -> float:
    """Weight above the middle of centroid i."""
    return sum(weight for _, weight in centroids[i:]) - centroids[i][1] / 2


def surprises(channels: F64) -> tuple[F64, F64]:
    """Surprises [n, 6] of channels [n, 6]: one-sided, and signed for the network."""
    sketches = [SketchReference() for _ in range(CHANNELS)]
    one_sided = np.zeros_like(channels)
    signed = np.zeros_like(channels)
    for i, row in enumerate(channels.tolist()):
        # a value that nearly all the past had is not surprising, whatever came before
        usual = sketches[0].share(row[0])
        unusual = min(1.0, (1 - usual) / 0.02)
        for c, (q, sketch) in enumerate(zip(row, sketches, strict=True)):
            is_settled = i >= SETTLED
            up = sketch.tail(q, 1) if is_settled else 0.0
            down = sketch.tail(q, -1) if is_settled else 0.0
            # an anomaly is slow to become normal
            excess = max(0.0, up - 2.5, down - 2.5)
            sketch.see(q, 1 / (1 + excess))
            if c >= 4:  # novelties are only surprising if they are large
                down = 0.0
            one_sided[i, c] = unusual * max(up, down)
            signed[i, c] = np.clip(unusual * (up - down), -6, 6)
    return one_sided, signed


# -- the six channels ------------------------------------------------------------------


@dataclass(slots=True)
class ShapesReference:
    """How new the recent shape of a metric is, by competitive learning.

    Of every ``every`` standardised values the most extreme one is kept; the last
    ``length`` of those are a pattern. Its novelty is the distance to the nearest of
    twelve prototypes, which the pattern then pulls. A pattern that is far from all
    replaces the least used (Rumelhart & Zipser 1985).
    """

    every: int
    length: int
    novelty: float = 0.0
    _block: list[float] = field(default_factory=list)
    _extremes: list[float] = field(default_factory=list)
    _prototypes: list[F64] = field(default_factory=list)
    _used: list[float] = field(default_factory=list)

    def see(self, z: float) -> float:
        """The novelty after one more standardised value."""
        self._block.append(z)
        if len(self._block) == self.every:
            extreme = max(self._block, key=abs)
            self._block = []
            self._extremes.append(0.0 if abs(extreme) < 0.5 else extreme)
            if len(self._extremes) >= self.length:
                self._learn(np.array(self._extremes[-self.length :]))
        return self.novelty

    def _learn(self, pattern: F64) -> None:
        distances = [float(np.abs(p - pattern).mean()) for p in self._prototypes]
        self.novelty = min(distances, default=0.0)
        self._used = [0.999 * used for used in self._used]
        if distances and self.novelty <= 1:
            nearest = int(np.argmin(distances))
            pull = 0.1 * (pattern - self._prototypes[nearest])
            self._prototypes[nearest] = self._prototypes[nearest] + pull
            self._used[nearest] += 1
        elif len(self._prototypes) < 12:
            self._prototypes.append(pattern)
            self._used.append(1.0)
        else:
            least_used = int(np.argmin(self._used))
            self._prototypes[least_used] = pattern
            self._used[least_used] = 1.0


class DailyPattern:
    """What the hour explains, on working days and at weekends.

    A day has sixteen slots of 90 minutes. The explanation is a mean of this slot, its
    neighbours and the overall mean.
    """

    SLOTS = 16
    SATURDAY = 5
    MONDAY = 0

    def __init__(self, first: float, tick: float) -> None:
        self._profile = np.zeros((2, self.SLOTS))  # of working days, of weekends
        self._visits = np.zeros(self.SLOTS)
        self._mean = first
        self._drift = 0.0  # what a slot changes by from one ordinary day to the next
        # at each visit a slot keeps a fifth of what it held
        self._min_gain = 1 - 0.2 ** (tick * self.SLOTS / DAY)
        self._drift_gain = 1 - math.exp(-tick / (3 * DAY))
        self._points = 0

    def explained(self, time: float) -> float:
        """The value that the hour explains, before the point is learned."""
        _, slot, kind = self._place(time)
        total = 0.0
        weights = 0.0
        for neighbour, share in ((slot - 1, 0.5), (slot, 1.0), (slot + 1, 0.5)):
            k = neighbour % self.SLOTS
            weight = share * self._visits[k]
            total += weight * self._profile[kind, k]
            weights += weight
        return float((0.5 * self._mean + total) / (0.5 + weights))

    def learn(self, value: float, time: float) -> None:
        day, slot, kind = self._place(time)
        off = value - self._profile[kind, slot]
        gain = max(1 / (self._visits[slot] + 1), self._min_gain)
        # On the first day of its kind, half of what is new may belong to that kind
        # only.
        is_first_day = day in (self.SATURDAY, self.MONDAY)
        is_known = self._visits[slot] > 0
        own = 0.5 * (off - self._drift) if is_first_day and is_known else 0.0
        self._profile[kind, slot] += gain * off
        self._profile[1 - kind, slot] += gain * (off - own)
        if is_known and not is_first_day:
            self._drift += self._drift_gain * (off - self._drift)
        self._visits[slot] = min(self._visits[slot] + 1, 1 / self._min_gain)
        self._points += 1
        self._mean += max(1 / self._points, 0.002) * (value - self._mean)

    def _place(self, time: float) -> tuple[int, int, int]:
        """Day of the week (0 Monday), slot of the day, and kind of day (1 weekend)."""
        day = int(time // DAY + 3) % 7
        slot = int(time % DAY // (DAY / self.SLOTS))
        return day, slot, int(day >= self.SATURDAY)


class Standardiser:
    """How many deviations a number is from its own mean, clipped at 8."""

    def __init__(self, first: float) -> None:
        self._mean = first
        self._variance = 0.0
        self._points = 0

    def see(self, q: float) -> float:
        deviation = math.sqrt(self._variance)
        off = q - self._mean
        width = max(deviation + 1e-3 * abs(self._mean), _TINY)
        z = float(np.clip(off / width, -8, 8)) if self._points > 1 else 0.0
        if deviation > 0 and self._points >= SETTLED:
            off = float(np.clip(off, -5 * deviation, 5 * deviation))
        self._points += 1
        share = 1 / self._points
        self._mean += share * off
        self._variance = (1 - share) * (self._variance + off * off * share)
        return z


class RunningMean:
    """An exponential mean."""

    def __init__(self, first: float, span: float) -> None:
        """``span`` is in points; the gain is 2 / (span + 1), at first 1 / points."""
        self._mean = first
        self._gain = 2 / (span + 1)
        self._points = 0

    def see(self, q: float) -> float:
        self._points += 1
        self._mean += max(self._gain, 1 / self._points) * (q - self._mean)
        return self._mean


class ChannelsReference:
    """The channels of one metric with a point every ``tick`` seconds.

    They are: the value; its change; a fast running mean less a slow one; a slow mean of
    what the hour does not explain; and how new the recent shape is, of the value and of
    what the hour does not explain.
    """

    def __init__(self, first: float, tick: float) -> None:
        self._pattern = DailyPattern(first, tick)
        fast = float(np.clip(1500 / tick, 3, 8))
        slow = float(np.clip(6000 / tick, 8, 40))
        self._fast = RunningMean(first, fast)
        self._slow = RunningMean(first, slow)
        self._unexplained = RunningMean(0.0, slow)
        self._standardisers: tuple[Standardiser, Standardiser] | None = None
        self._shapes = (ShapesReference(6, 8), ShapesReference(2, 4))
        self._last = first

    def see(self, value: float, time: float) -> list[float]:
        """The six channels of the next point; ``time`` is local, in seconds."""
        residual = value - self._pattern.explained(time)
        self._pattern.learn(value, time)
        if self._standardisers is None:
            self._standardisers = (Standardiser(value), Standardiser(residual))
        of_value, of_residual = self._standardisers
        change = value - self._last
        self._last = value
        return [
            value,
            change,
            self._fast.see(value) - self._slow.see(value),
            self._unexplained.see(residual),
            self._shapes[0].see(of_value.see(value)),
            self._shapes[1].see(of_residual.see(residual)),
        ]


def channels(values: F64, times: F64, tick: float) -> F64:
    """The channels [n, 6] of one metric's ``values`` [n] at local ``times`` [n]."""
    metric = ChannelsReference(float(values[0]), tick)
    points = zip(values.tolist(), times.tolist(), strict=True)
    return np.array([metric.see(value, time) for value, time in points])
