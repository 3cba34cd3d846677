"""Whether an incident ends because its metric came back, or because it stayed.

Theory of operation. The score of a lasting shift falls by itself once the stream's own
past holds the new values. That is long before
:attr:`~detector.alerting.policy.AlertPolicy.max_incident` accepts it. To tell the two
apart, the decision row keeps two values of the metric that contributed most when the
incident fired: what was observed and what was expected. The metric *stayed* if it is
nearer to the observed value when the score has fallen; the incident then ends as
accepted.

Neither value knows how a daily pattern went on in the meantime. What is expected now
does, but it is on its way to the metric. So the metric also stayed if it is beyond what
is expected now by a third of the original distance, on the same side.

The score also spikes on the way back. A point that has recovered at least half-way
never escalates an incident, so nobody is paged as an outage ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detector.alerting.decide import Decisions
from detector.events import F32, I64, AnomalyKind, Reason, Severity
from detector.state.decisions import DecisionState

# Part of the distance between observed and expected at the start. By judgement: nearer
# than a third, what is expected now has almost arrived at the metric.
_THIRD = 3


def record_and_judge(
    decided: Decisions,
    points: I64,
    causes: Mapping[int, AnomalyKind],
    x: F32,
    expected: F32,
    contribution: F32,
) -> None:
    """Record what fired; judge how incidents end and whether they get worse.

    Changes ``decided`` in place, for its ``points`` [k] of a wave of B. ``causes`` maps
    points whose value is normal to what is not. ``x``, ``expected`` and
    ``contribution`` [B, F] are those of the graph.

    A metric that is missing has not stayed, nor has one that fired as a flatline.
    """
    rows = decided.rows
    reasons = decided.reason
    for i in points.tolist():
        reason = reasons[i]
        if reason == Reason.FIRED:
            metric = int(np.argmax(contribution[i]))
            is_flatline = causes.get(i) is AnomalyKind.FLATLINE
            rows["metric"][i] = metric
            rows["expected"][i] = expected[i, metric]
            rows["observed"][i] = np.nan if is_flatline else x[i, metric]
        elif reason == Reason.RECOVERED:
            shift = _Shift.of(rows, i)
            if shift.has_stayed(x[i, shift.metric], expected[i, shift.metric]):
                reasons[i] = Reason.ACCEPTED
        elif reason == Reason.ESCALATED:
            shift = _Shift.of(rows, i)
            if shift.is_returning(x[i, shift.metric]):
                reasons[i] = Reason.STILL_FIRING
                rows["severity"][i] = Severity.WARNING


@dataclass(frozen=True, slots=True)
class _Shift:
    """Where the metric of an incident went when it fired, and from where.

    NaN in ``observed`` makes every comparison below False.
    """

    metric: int
    observed: float
    expected: float

    @classmethod
    def of(cls, rows: DecisionState, i: int) -> _Shift:
        row = rows[i]
        return cls(int(row["metric"]), float(row["observed"]), float(row["expected"]))

    @property
    def distance(self) -> float:
        return abs(self.observed - self.expected)

    def has_stayed(self, value: float, expected_now: float) -> bool:
        """Whether the metric, now at ``value``, did not come back."""
        value = float(value)
        to_observed = abs(value - self.observed)
        to_expected = abs(value - self.expected)
        side = math.copysign(1.0, self.observed - self.expected)
        beyond = side * (value - float(expected_now))
        return to_observed < to_expected or beyond > self.distance / _THIRD

    def is_returning(self, value: float) -> bool:
        """Whether the metric, now at ``value``, has come back at least half-way."""
        return abs(float(value) - self.expected) <= self.distance / 2
