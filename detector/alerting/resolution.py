"""What the values say of a decision: how grave an incident is, and how it ended.

Theory of operation. The state machine decides by scores alone
(:mod:`detector.alerting.decide`). This module looks at the values of those few streams
that begin, change or end an incident. The decision row keeps two values of the metric
that contributed most when the incident fired: what was observed and what was expected.

*Severity.* A total loss is critical at once, and a slight deviation never is
(:mod:`detector.alerting.deviations`). The score also spikes on the way back. A point
that has recovered at least half-way never escalates an incident, so nobody is paged as
an outage ends.

*Returns.* A metric that was back for some points and left again has returned, also if
its score was high all the time.

*Ends.* The score of a lasting shift falls once the graph has accepted the new state. So
when the score has fallen, the metric tells what happened:

- it *stayed* if two thirds of the distance from the expected to the observed value are
  left, and it did for hours: the incident ends as accepted;
- it *came back* if at most a third is left, or if it was near what is expected while
  the score was still high: the incident ends as recovered;
- else nobody can tell, and the incident merely ended.

Neither value knows how a daily pattern went on in the meantime. What is expected now
does, but it is on its way to the metric. So the metric also stayed if it is beyond what
is expected now by a third of the original distance, on the same side. Flatlines and
trends have no value to come back from, and if several metrics lead, one of them can't
speak for all. Such an incident merely ended too, as does one whose metric is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detector.alerting.decide import Decisions
from detector.alerting.deviations import (
    are_first_counts,
    are_lost,
    are_slight,
    is_lost,
    leading,
)
from detector.alerting.points import one_more, run_length
from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import Bools
from detector.events import F32, F64, I64, AnomalyKind, Phase, Reason, Severity
from detector.state.decisions import DecisionState
from detector.timestamps import HOUR

# Part of the distance between observed and expected at the start. By judgement: nearer
# than a third, the metric has almost arrived.
_THIRD = 1 / 3

# Seconds and ticks that a metric stays before its state can be the new normal. By
# judgement: what ends sooner is no state but a score that wore off.
_SHORTEST_STATE = 2 * HOUR
_SHORTEST_STATE_TICKS = 24

# Least share of what was expected at first that must still be expected for a total
# loss: what rests at night is no outage.
_STILL_EXPECTED = 0.5

# Points in a row at which a metric is back before it can return. By judgement, the
# ticks after which an incident ends whose score is calm.
_BACK_STEPS = 6

# Share of the distance under which what was expected is next to nothing. By judgement.
_SMALL_SHARE = 0.1

_BEGINS = (Reason.FIRED, Reason.RETURNED)


@dataclass(frozen=True, slots=True)
class Values:
    """What was observed at each of B points, and what the graph made of it.

    Attributes:
        x: float32 [B, F], NaN where missing.
        expected: float32 [B, F].
        contribution: float32 [B, F].
    """

    x: F32
    expected: F32
    contribution: F32

    def at(self, points: I64) -> Values:
        """Copies of some of them."""
        return Values(self.x[points], self.expected[points], self.contribution[points])


def follow_values(
    decided: Decisions, scores: F32, values: Values, policy: AlertPolicy
) -> None:
    """Find total losses and returns among the incidents that go on.

    Changes ``decided`` in place. ``scores`` are float32 [B].
    """
    goes_on = decided.phase == Phase.FIRING
    if not goes_on.any():
        return
    points = np.flatnonzero(goes_on)
    metric = decided.rows["metric"][points]
    x = values.x[points, metric]
    expected = values.expected[points, metric]
    is_told = decided.reason[points] != Reason.STILL_FIRING
    margin = scores[points] - decided.threshold[points]
    is_far = (margin >= policy.far_above) & ~is_told
    _escalate_losses(decided, points[~is_told], x[~is_told], expected[~is_told])
    _find_returns(decided, points, is_far, x, expected)


def _escalate_losses(decided: Decisions, points: I64, x: F32, expected: F32) -> None:
    """Make warnings critical that go on as a total loss of their metric.

    The metric must have fallen when the incident fired, so the way back from a burst is
    no loss.
    """
    rows = decided.rows
    expected_then = rows["expected"][points]
    is_warning = rows["severity"][points] == Severity.WARNING
    has_fallen = np.abs(rows["observed"][points]) < np.abs(expected_then)
    is_expected = np.abs(expected) >= _STILL_EXPECTED * np.abs(expected_then)
    is_loss = are_lost(x, expected) & are_lost(x, expected_then)
    lost = points[is_warning & is_loss & has_fallen & is_expected]
    decided.reason[lost] = Reason.ESCALATED
    rows["severity"][lost] = Severity.CRITICAL


def _find_returns(
    decided: Decisions, points: I64, is_far: Bools, x: F32, expected: F32
) -> None:
    """Tell that metrics left again which had come back while their score was high.

    A score may come down slowly, and the next outage may begin before it did. The
    values show it: the metric was near what is expected for some points, and is not.
    """
    rows = decided.rows
    before = rows["back_streak"][points]
    observed = rows["observed"][points]
    distance = np.abs(observed - rows["expected"][points])
    off = np.abs(x - expected)
    can_return = rows["shifted"][points] > 0
    # what is expected may also have come to the metric, where the incident found it
    has_moved = np.abs(x - observed) > _THIRD * distance
    is_back = can_return & has_moved & (off <= _THIRD * distance)
    was_back = before >= _BACK_STEPS
    has_left = was_back & (off >= distance / 2)
    rows["back_streak"][points] = run_length(before, was_back | is_back)
    returned = points[has_left & is_far]
    decided.reason[returned] = Reason.RETURNED
    rows["repeats"][returned] = one_more(rows["repeats"][returned])
    rows["has_calmed"][returned] = 0


def record_and_judge(
    decided: Decisions,
    before: DecisionState,
    times: F64,
    points: I64,
    causes: Mapping[int, AnomalyKind],
    values: Values,
) -> None:
    """Record what fired; judge how grave incidents are and how they end.

    Changes ``decided`` in place, for its ``points`` [k] of a wave of B. ``before``
    (DECISION [B]) is the state before the wave, and ``times`` [B] are event times.
    ``causes`` maps points whose value is normal to what is not.
    """
    rows = decided.rows
    reasons = decided.reason
    chosen = values.at(points)
    parts = (chosen.x, chosen.expected, chosen.contribution)
    began = np.isin(reasons[points], _BEGINS)
    is_new = began | _is_young(before, times, points)
    is_slight = are_slight(*parts) | (are_first_counts(*parts) & is_new)
    for i, slight in zip(points.tolist(), is_slight.tolist(), strict=True):
        reason = reasons[i]
        if reason in _BEGINS:
            rows["departed"][i] = times[i]
            kind = causes.get(i, AnomalyKind.VALUE)
            _record(rows, i, kind, values)
            _judge_beginning(rows, before, i, kind, slight)
        elif reason == Reason.ESCALATED:
            reasons[i] = _judge_escalation(rows, before, i, values, slight)
        elif reason == Reason.RECOVERED:
            reasons[i] = _end(rows, i, values)


def _judge_beginning(
    rows: DecisionState, before: DecisionState, i: int, kind: AnomalyKind, slight: bool
) -> None:
    """How grave an incident is that begins or returns."""
    if kind is not AnomalyKind.TREND and _Shift.of(rows, i).is_loss:
        rows["severity"][i] = Severity.CRITICAL
    elif slight:
        _keep_warning(rows, before, i)


def _judge_escalation(
    rows: DecisionState, before: DecisionState, i: int, values: Values, slight: bool
) -> Reason:
    """Whether an incident that is critical by its score becomes so."""
    shift = _Shift.of(rows, i)
    value = float(values.x[i, shift.metric])
    if slight or shift.is_returning(value):
        _keep_warning(rows, before, i)
        return Reason.STILL_FIRING
    if _is_further(rows, i, values):
        _record(rows, i, AnomalyKind.VALUE, values)
    return Reason.ESCALATED


def _is_young(before: DecisionState, times: F64, points: I64) -> Bools:
    """Whether the metric left only some ticks ago, bool [k]."""
    rows = before[points]
    lasted = times[points] - rows["departed"]
    is_young: Bools = lasted < _BACK_STEPS * rows["tick"]
    return is_young


def _record(rows: DecisionState, i: int, kind: AnomalyKind, values: Values) -> None:
    """Where the metric that contributed most went, and from where."""
    contribution = values.contribution[i]
    metric = int(np.argmax(contribution))
    is_flatline = kind is AnomalyKind.FLATLINE
    leaders = int(leading(contribution[None]).sum())
    rows["metric"][i] = metric
    rows["expected"][i] = values.expected[i, metric]
    rows["observed"][i] = np.nan if is_flatline else values.x[i, metric]
    rows["shifted"][i] = min(leaders, 2) if kind is AnomalyKind.VALUE else 0
    rows["back_streak"][i] = 0


def _is_further(rows: DecisionState, i: int, values: Values) -> bool:
    """Whether the metric is further away than when the incident fired.

    The first point of an outage, or a small incident before it, may be nearer.
    """
    shift = _Shift.of(rows, i)
    off = abs(float(values.x[i, shift.metric] - values.expected[i, shift.metric]))
    return bool(rows["shifted"][i]) and off > shift.distance


def _keep_warning(rows: DecisionState, before: DecisionState, i: int) -> None:
    """An incident that is critical already stays so."""
    rows["severity"][i] = Severity.WARNING
    if before["phase"][i] == Phase.FIRING:
        rows["severity"][i] = before["severity"][i]


def _end(rows: DecisionState, i: int, values: Values) -> Reason:
    """Why an incident whose score has fallen ended."""
    shift = _Shift.of(rows, i)
    value = float(values.x[i, shift.metric])
    if rows["shifted"][i] != 1 or math.isnan(value):
        return Reason.ENDED
    if rows["back_streak"][i] >= _BACK_STEPS:
        return Reason.RECOVERED
    if shift.has_stayed(value, float(values.expected[i, shift.metric])):
        return Reason.ACCEPTED if _is_state(rows, i) else Reason.ENDED
    return Reason.RECOVERED if shift.has_come_back(value) else Reason.ENDED


def _is_state(rows: DecisionState, i: int) -> bool:
    """Whether the metric has stayed as long as a state does, as the incident ends."""
    row = rows[i]
    shortest = max(_SHORTEST_STATE, _SHORTEST_STATE_TICKS * float(row["tick"]))
    return float(row["ended"] - row["departed"]) >= shortest


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

    @property
    def is_loss(self) -> bool:
        """Whether the metric fell to nothing when the incident fired."""
        return is_lost(self.observed, self.expected)

    def has_stayed(self, value: float, expected_now: float) -> bool:
        """Whether the metric, now at ``value``, did not come back."""
        side = math.copysign(1.0, self.observed - self.expected)
        left = side * (value - self.expected)
        beyond = side * (value - expected_now)
        is_there = left >= 2 * _THIRD * self.distance
        return is_there or beyond > _THIRD * self.distance

    def has_come_back(self, value: float) -> bool:
        """Whether the metric, now at ``value``, is where it came from, or beyond."""
        side = math.copysign(1.0, self.observed - self.expected)
        return side * (value - self.expected) <= _THIRD * self.distance

    def is_returning(self, value: float) -> bool:
        """Whether the metric, now at ``value``, has come back at least half-way.

        What falls to nothing after a burst has not, unless it was next to nothing.
        """
        is_small = abs(self.expected) < _SMALL_SHARE * self.distance
        is_loss = is_lost(value, self.expected) and not is_small
        return abs(value - self.expected) <= self.distance / 2 and not is_loss
