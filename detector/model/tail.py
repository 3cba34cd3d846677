"""How often a fleet reaches each score: the tail of the score's distribution."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from detector.events import F64


class TailFit(msgspec.Struct, frozen=True):
    """Incidents a stream-week at each threshold, counted on held-out scores.

    Where evidence ends, the rate goes on as an exponential tail. That is the
    generalised Pareto distribution with shape 0 (Pickands 1975), on a score that is
    logarithmic. The manifest has older keys, which are named beside the fields.

    Attributes:
        thresholds: rising scores, K of them (K >= 1); ``levels``.
        rates: incidents a stream-week at these thresholds, falling, all > 0.
        slope: change of ln(rate) per unit of score beyond the last threshold, < 0.
        stream_weeks: held-out time that the counts rest on.
        reference_score: the score that
            :data:`~detector.alerting.thresholds.REFERENCE_SHARE` of the fleet's points
            pass; ``usual``. None in bundles without it: their streams get no offset.
        prior_weeks: stream-weeks that a prior counted as beside them.
        cold_start_offsets: (points a stream has had, score that its threshold is higher
            then), at rising ages; none beyond the last; ``young``.
    """

    thresholds: tuple[float, ...] = msgspec.field(name="levels")
    rates: tuple[float, ...]
    slope: float
    stream_weeks: float
    reference_score: float | None = msgspec.field(default=None, name="usual")
    cold_start_offsets: tuple[tuple[float, float], ...] = msgspec.field(
        default=(), name="young"
    )

    prior_weeks: float = 0.0

    @property
    def evidence_weeks(self) -> float:
        """Stream-weeks that the rates rest on. What comes less than once in them is
        extrapolated.
        """
        return self.stream_weeks + self.prior_weeks

    @property
    def score_scale(self) -> float:
        """The score that makes incidents e times as rare, in the upper tail."""
        return -1.0 / self.slope

    def threshold(self, per_week: float) -> float:
        """The score at which a stream raises ``per_week`` incidents a week.

        Log-linear between the counted thresholds. Never below the lowest of them: a
        budget larger than the scores can spend is not extrapolated. Raises ValueError
        unless ``per_week`` is positive and finite.
        """
        if not (per_week > 0 and math.isfinite(per_week)):
            raise ValueError(
                f"a false-alarm budget is a positive number per week, not {per_week}"
            )
        wanted = math.log(per_week)
        log_rates = np.log(self.rates)
        if wanted < log_rates[-1]:
            beyond = (wanted - log_rates[-1]) / self.slope
            return float(self.thresholds[-1] + beyond)
        return float(np.interp(-wanted, -log_rates, self.thresholds))

    def rates_at(self, scores: F64) -> F64:
        """Incidents a stream-week at ``scores`` [K]: the inverse of :meth:`threshold`.

        Below the lowest counted threshold it is the rate there.
        """
        counted = np.interp(scores, self.thresholds, np.log(self.rates))
        beyond = np.maximum(scores - self.thresholds[-1], 0.0)
        return np.exp(counted + self.slope * beyond)

    def rate(self, score: float) -> float:
        """:meth:`rates_at` one score."""
        return float(self.rates_at(np.array([score]))[0])
