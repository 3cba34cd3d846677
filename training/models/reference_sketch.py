"""A channel's past in plain Python: the specification of its sketch.

In float64, without missing values. The constants are written again here, on purpose: a
change of one in :mod:`training.models.sketch` must be a change of the specification.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_TINY = 1e-30  # in place of a divisor of zero


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
        decay = 2 * math.log10(1 + (q - top) / _width(centroids))
        return min(self.MAX_SURPRISE, math.log10(2 * (total + 1)) + decay)

    def bounded(self, q: float) -> float:
        """q, no farther beyond the past than one value of a guarded stream moves it: a
        quarter of the tail's width.
        """
        for sign in (1, -1):
            centroids = sorted((sign * v, weight) for v, weight in self._centroids)
            farthest = centroids[-1][0] + 0.25 * _width(centroids)
            q = sign * min(sign * q, farthest)
        return q

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


def _width(centroids: Sequence[tuple[float, float]]) -> float:
    """From the largest value to where the outer tenth of the past begins."""
    total = sum(weight for _, weight in centroids)
    top = centroids[-1][0]
    outer_tenth = max(
        value
        for i, (value, weight) in enumerate(centroids)
        if _middle(centroids, i) + weight / 2 >= 0.1 * total
    )
    return max(top - outer_tenth, 1e-3 * abs(top), _TINY)


def _middle(centroids: Sequence[tuple[float, float]], i: int) -> float:
    """Weight above the middle of centroid i."""
    return sum(weight for _, weight in centroids[i:]) - centroids[i][1] / 2
