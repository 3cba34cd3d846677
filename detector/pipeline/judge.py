"""What values and rules make of decisions that scores alone have made.

Only a few points of a wave begin, change or end an incident. For those the values speak
(:mod:`detector.alerting.resolution`), the cause is found
(:mod:`detector.pipeline.causes`), and what may not begin is refused
(:mod:`detector.pipeline.refusals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detector.alerting.decide import Decisions, decide
from detector.alerting.policy import AlertPolicy
from detector.alerting.resolution import Values, follow_values, record_and_judge
from detector.alerting.young_losses import go_on_as_losses
from detector.events import F32, F64, I64, TRANSITIONS, AnomalyKind, Reason
from detector.model.engine import StepOutput
from detector.pipeline.causes import CauseClassifier, StepInput
from detector.pipeline.refusals import Refusals
from detector.state.decisions import DecisionState

_IS_TRANSITION = np.isin(np.arange(len(Reason)), TRANSITIONS)
_IS_IN_DOUBT = np.isin(np.arange(len(Reason)), (Reason.RECOVERED, Reason.RETURNED))
_IS_BEGINNING = np.isin(np.arange(len(Reason)), (Reason.FIRED, Reason.RETURNED))


@dataclass(frozen=True, slots=True)
class ScoredPoints:
    """What is decided about, for each of B streams.

    Attributes:
        before: DECISION [B], the state before the point.
        times: float64 [B], event times in epoch seconds.
        since: float64 [B], seconds since the previous point.
        scores: float32 [B].
    """

    before: DecisionState
    times: F64
    since: F64
    scores: F32

    def decide(self, policy: AlertPolicy) -> Decisions:
        return decide(self.before, self.times, self.since, self.scores, policy)

    def decide_negligible(self, points: I64, policy: AlertPolicy) -> Decisions:
        """The same for some of them, which may not begin an incident."""
        negligible = np.ones(len(points), np.bool_)
        return decide(*self._of(points), policy, negligible)

    def decide_lost(self, points: I64, policy: AlertPolicy) -> Decisions:
        """The same for some of them, whose incident may not recover."""
        lost = np.ones(len(points), np.bool_)
        return decide(*self._of(points), policy, lost=lost)

    def _of(self, points: I64) -> tuple[DecisionState, F64, F64, F32]:
        return (
            self.before[points],
            self.times[points],
            self.since[points],
            self.scores[points],
        )


class IncidentJudge:
    """Judges the decisions of waves. One thread at a time."""

    def __init__(
        self, policy: AlertPolicy, causes: CauseClassifier, refusals: Refusals
    ) -> None:
        self._policy = policy
        self._causes = causes
        self._refusals = refusals

    def judge(
        self,
        slots: I64,
        given: StepInput,
        step: StepOutput,
        scored: ScoredPoints,
        decisions: Decisions,
    ) -> tuple[I64, Mapping[int, AnomalyKind]]:
        """Let the values speak: indices that raise an alert in the end, and causes."""
        values = Values(given.x, step.expected, step.contribution)
        self._keep_losses(given.x, scored, decisions)
        follow_values(decisions, scored.scores, values, self._policy)
        changed = np.flatnonzero(_IS_TRANSITION[decisions.reason])
        if not len(changed):
            return changed, {}
        began = changed[_IS_BEGINNING[decisions.reason[changed]]]
        kinds = self._causes.classify(given, step, decisions.threshold, began)
        self._drop_refused(slots, began, kinds, values, scored, decisions)
        record_and_judge(
            decisions,
            scored.before,
            scored.times,
            changed,
            kinds,
            values,
        )
        if self._policy.rules:
            metric = values.contribution[changed].argmax(axis=1)
            self._refusals.cap(slots, changed, decisions, metric)
        return changed[_IS_TRANSITION[decisions.reason[changed]]], kinds

    def _keep_losses(self, x: F32, scored: ScoredPoints, decisions: Decisions) -> None:
        """Decide again about incidents that would recover or return: those that are
        losses of young streams, and go on, do neither.
        """
        points = np.flatnonzero(_IS_IN_DOUBT[decisions.reason])
        if not len(points):
            return
        rows = scored.before[points]
        goes_on = go_on_as_losses(rows, scored.times[points], x[points])
        kept = points[goes_on]
        if len(kept):
            _replace(decisions, kept, scored.decide_lost(kept, self._policy))

    def _drop_refused(
        self,
        slots: I64,
        began: I64,
        kinds: Mapping[int, AnomalyKind],
        values: Values,
        scored: ScoredPoints,
        decisions: Decisions,
    ) -> None:
        """Decide again about incidents that are refused: none begins."""
        dropped = self._refusals.refused(slots, began, kinds, values)
        if len(dropped):
            again = scored.decide_negligible(dropped, self._policy)
            _replace(decisions, dropped, again)


def _replace(decisions: Decisions, points: I64, again: Decisions) -> None:
    """Take the decisions about these points from ``again``, in place."""
    decisions.phase[points] = again.phase
    decisions.reason[points] = again.reason
    decisions.rows[points] = again.rows
    decisions.has_grown[points] = again.has_grown
