"""The front for single metrics in plain Python: the specification of its channels.

One metric, one point at a time, in float64, without missing values, and outside of any
incident. A law holds the graph's front to it (tests/laws/test_surprise.py). The
constants are written again here, on purpose: a change of one in
:mod:`training.models.surprise` must be a change of the specification.

A point becomes seven channels (:class:`ChannelsReference`). Each channel becomes a
surprise: the decimal places of probability of its place in the tail of the channel's
own past (:func:`surprises`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from detector.events import F64
from detector.timestamps import DAY
from training.models.reference_sketch import SketchReference

CHANNELS = 7
OF_SHAPES = (4, 5)  # the channels that a lean front omits
SETTLED = 20  # points before a sketch is used, and before updates are clipped
_TINY = 1e-30  # in place of a divisor of zero


# -- the surprises of the channels -----------------------------------------------------


def surprises(channels: F64) -> tuple[F64, F64]:
    """Surprises [n, 7] of channels [n, 7]: one-sided, and signed."""
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
            if c in OF_SHAPES:  # novelties are only surprising if they are large
                down = 0.0
            one_sided[i, c] = unusual * max(up, down)
            signed[i, c] = np.clip(unusual * (up - down), -6, 6)
    return one_sided, signed


# -- the seven channels ----------------------------------------------------------------


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
        self.mean = first
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
        return float((0.5 * self.mean + total) / (0.5 + weights))

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
        self.mean += max(1 / self._points, 0.002) * (value - self.mean)

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


class LocalLevelReference:
    """The quick residual: how far a metric is from where it was some minutes ago.

    Both are taken of what the hour does not explain. A running mean, the level, moves
    by three of its own deviations at most (Huber 1964).
    """

    def __init__(self, tick: float) -> None:
        self._gain = 2 / (float(np.clip(1500 / tick, 3, 8)) + 1)
        self._level = 0.0
        self._spread = 0.0  # mean size of the distance to the level
        self._quick = 0.0
        self._points = 0

    def see(self, unexplained: float) -> float:
        """A mean of three distances to the level, with this one."""
        distance = unexplained - self._level
        deviation = 1.25 * self._spread
        self._points += 1
        share = 1 / self._points
        step = distance
        size = abs(distance)
        if self._points > 24:  # until then too little is known to limit a step
            step = float(np.clip(distance, -3 * deviation, 3 * deviation))
            size = min(size, 5 * deviation)
        self._quick += max(0.5, share) * (distance - self._quick)
        self._level += max(self._gain, share) * step
        self._spread += max(0.005, share) * (size - self._spread)
        return self._quick


def unexplained(value: float, expected: float, mean: float) -> float:
    """What the hour leaves of a value: a ratio's logarithm if the mean is positive."""
    if mean <= 0:
        return value - expected
    least = max(0.01 * mean, 1e-20)
    return math.log((max(value, 0.0) + least) / (max(expected, 0.0) + least))


class ChannelsReference:
    """The channels of one metric with a point every ``tick`` seconds.

    They are: the value; its change; a fast running mean less a slow one; a slow mean of
    what the hour does not explain; how new the recent shape is, of the value and of
    what the hour does not explain; and the quick residual.
    """

    def __init__(self, first: float, tick: float) -> None:
        self._pattern = DailyPattern(first, tick)
        fast = float(np.clip(1500 / tick, 3, 8))
        slow = float(np.clip(6000 / tick, 8, 40))
        self._fast = RunningMean(first, fast)
        self._slow = RunningMean(first, slow)
        self._unexplained = RunningMean(0.0, slow)
        self._local = LocalLevelReference(tick)
        self._standardisers: tuple[Standardiser, Standardiser] | None = None
        self._shapes = (ShapesReference(6, 8), ShapesReference(2, 4))
        self._last = first

    def see(self, value: float, time: float) -> list[float]:
        """The seven channels of the next point; ``time`` is local, in seconds."""
        mean = self._pattern.mean
        expected = self._pattern.explained(time)
        residual = value - expected
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
            self._local.see(unexplained(value, expected, mean)),
        ]


def channels(values: F64, times: F64, tick: float) -> F64:
    """The channels [n, 7] of one metric's ``values`` [n] at local ``times`` [n]."""
    metric = ChannelsReference(float(values[0]), tick)
    points = zip(values.tolist(), times.tolist(), strict=True)
    return np.array([metric.see(value, time) for value, time in points])
