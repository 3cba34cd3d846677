"""The slow trend of a metric in plain Python: the specification of its total.

One metric, one point at a time, in float64, without missing values, and outside of any
incident of another kind. A test holds :mod:`training.models.slow_trend` to it. The
constants are written again here, on purpose. Weekends are left out: all days are
ordinary ones.
"""

from __future__ import annotations

import math

import numpy as np

from detector.timestamps import DAY, HOUR

_SLOTS = 16
_SLOT = DAY / _SLOTS  # seconds


class TrendReference:
    """How long and far a metric is from its yesterday, with a point every ``tick``.

    The profile of the day is the caller's: what each slot holds now.
    """

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._slot = 0
        self._visited = 0.0  # what this slot held before this day
        self._previous = 0.0  # and the one before it
        self._mean = 0.0
        self._slow = 0.0
        self._square = 0.0  # of the mean's usual size
        self._seconds = 0.0  # that the square rests on
        self._points = 0
        self.total = 0.0
        self.moves = False

    def see(
        self,
        value: float,
        time: float,
        slots: list[float],
        recent: float,
        deviation: float,
        level: float,
    ) -> float:
        """The total after a point, 0 where the metric does not leak.

        ``slots`` are the contents of the profile before the point, ``recent`` a mean of
        some minutes, ``deviation`` that of the residual, ``level`` the metric's size.
        """
        baseline = self._baseline(time, slots)
        is_known = self._points * self._tick > 27 * HOUR
        self._points += 1
        if not is_known:
            return 0.0
        nearby = recent - baseline
        leaked = self.total >= 7
        width = self._width(0.001 * level)
        is_back = self._is_back(nearby, deviation)
        was = self._mean
        limit = 5 * (deviation + 0.001 * level)
        residual = value - baseline
        # while it leaks, the stream is in an incident, and a burst may be the leak
        residual = residual if leaked else float(np.clip(residual, -limit, limit))
        self._mean += self._gain(HOUR) * (residual - self._mean)
        self._slow += self._gain(6 * HOUR) * (residual - self._slow)
        if is_back and abs(was) > width:
            self._mean += 0.3 * (nearby - self._mean)
            self._slow += 0.3 * (nearby - self._slow)
        self._add(abs(self._mean) / width, is_back)
        ahead = math.copysign(1, self._mean) * (self._mean - self._slow)
        is_ahead = ahead > max(0.5 * width, 0.05 * abs(self._mean))
        # a leak that comes back often becomes a habit
        habit = 0.012 * was**2 if leaked and is_back else 0.0
        self._learn_width(leaked)
        self._square += habit
        self.moves = self.total >= 7 and is_ahead
        return self.total if self.total >= 7 else 0.0

    def _baseline(self, time: float, slots: list[float]) -> float:
        slot = int(time % DAY // _SLOT)
        if slot != self._slot:
            follows = (slot - 1) % _SLOTS == self._slot
            self._previous = self._visited if follows else slots[slot - 1]
            self._visited = slots[slot]
            self._slot = slot
        # late points of a slot weigh more, so its mean is that of a later time
        place = time % _SLOT / _SLOT - 0.63
        beside = self._previous if place < 0 else slots[(slot + 1) % _SLOTS]
        return self._visited + abs(place) * (beside - self._visited)

    def _width(self, least: float) -> float:
        days = max(self._seconds / DAY, 0.1)
        return max(math.sqrt(self._square) * (1 + 1.5 / days), least, 1e-30)

    def _is_back(self, nearby: float, deviation: float) -> bool:
        size = abs(self._mean)
        left = float(np.sign(self._mean)) * nearby
        is_clear = size - left > 2 * deviation
        return self.total > 0 and left <= size / 3 and is_clear

    def _gain(self, memory: float) -> float:
        return min(self._tick / memory, 0.25)

    def _add(self, widths: float, is_back: bool) -> None:
        drive = (min(widths, 6.0) - 2.25) * self._tick / HOUR
        is_trusted = self._seconds > 2 * DAY
        leaked = self.total >= 7
        added = max(drive, 0.0) * is_trusted + min(drive, 0.0)
        self.total = float(np.clip(self.total + added, 0.0, 18.0))
        if self.total >= 7 and not leaked:
            self.total += 4.0
        if is_back or widths <= 1:
            self.total *= 1 - min(self._tick / 900, 0.3)

    def _learn_width(self, leaked: bool) -> None:
        self._seconds += self._tick
        if leaked:
            return
        square = self._mean**2
        if self._seconds >= DAY:
            square = min(square, 9 * self._square)
        gain = self._tick * max(1 / self._seconds, 1 / (14 * DAY))
        self._square += min(gain, 1.0) * (square - self._square)
