"""tail."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from detector.events import F64


class TailFit(msgspec.Struct, frozen=True):
    """Incidents a stream-week at each level, counted on held-out scores, and how the
    rate goes on where evidence ends.

    Attributes:
        levels: rising scores, K of them (K >= 1).
        rates: incidents per stream-week at those levels, falling, all > 0.
        slope: change of ln(rate) per unit of score beyond the last level, < 0: an
            exponential tail, the generalised Pareto distribution with shape 0 on this
            logarithmic score (Pickands 1975).
        stream_weeks: how much held-out time the counts rest on.
        usual: the score that :data:`detector.alerting.thresholds.SHARE` of the fleet's
            points pass, which streams are compared by; None in bundles that do not know
            it: their streams have no levels of their own.
        young: points a stream has had, and what its level stands higher then, at rising
            ages; nothing beyond the last.
    """

    thresholds: tuple[float, ...] = msgspec.field(name="levels")
    rates: tuple[float, ...]
    slope: float
    stream_weeks: float
    reference_score: float | None = msgspec.field(default=None, name="usual")
    cold_start_offsets: tuple[tuple[float, float], ...] = msgspec.field(
        default=(), name="young"
    )

    @property
    def score_scale(self) -> float:
        """The score that makes incidents e times as rare, in the upper tail."""
        return -1.0 / self.slope

    def threshold(self, per_week: float) -> float:
        """The score at which a stream raises ``per_week`` incidents a week, log-linear
        between the counted levels.

        Below the lowest counted level the answer is that level: a budget larger than
        the scores can spend is not extrapolated. Raises ValueError unless ``per_week``
        is positive and finite.
        """
        if not (per_week > 0 and math.isfinite(per_week)):
            raise ValueError(
                f"a false-alarm budget is a positive number per week, not {per_week}"
            )
        wanted = math.log(per_week)
        logs = np.log(self.rates)
        if wanted < logs[-1]:
            return float(self.thresholds[-1] + (wanted - logs[-1]) / self.slope)
        return float(np.interp(-wanted, -logs, self.thresholds))

    def rates_at(self, levels: F64) -> F64:
        """Incidents a stream-week at ``levels`` [K]: :meth:`level` the other way round;
        below the lowest counted level its rate.
        """
        logs = np.interp(levels, self.thresholds, np.log(self.rates))
        return np.exp(logs + self.slope * np.maximum(levels - self.thresholds[-1], 0.0))

    def rate(self, level: float) -> float:
        """At one of them."""
        return float(self.rates_at(np.array([level]))[0])
