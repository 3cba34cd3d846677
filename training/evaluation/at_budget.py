"""What a detector tells at a false-alarm budget: the daemon's own decisions over cases.

Theory of operation. A score that ranks well is of no use if no threshold keeps to the
budget, or if nothing reaches the threshold that does. So each candidate is calibrated
as a fit calibrates it, on the unmarked cases and the rows before them. The
daemon's decision table then runs over every case, at the threshold at which a stream
settles once it has had its share of alarms. An event is *told* if an incident begins
from a few points before it to a few after it. An incident that has gone on for long
tells of nothing. An incident on an unmarked case that meets no event is a *false
alarm*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import decide
from detector.alerting.policy import AlertPolicy, AlertTuning, alert_policy
from detector.events import F32, Phase
from detector.model.tail import TailFit
from detector.state.decisions import fresh_decisions
from detector.timestamps import WEEK
from training.evaluation.cases import Case, Cases
from training.history.labels import runs

#: From scores of streams, float32 [n_i] of each, and their ticks in seconds to the tail
#: that a bundle would hold.
FitTail = Callable[[Sequence[F32], Sequence[float]], TailFit]
Onsets = npt.NDArray[np.bool_]

# Points before and after an event in which an incident that begins tells of it.
_AROUND = 5
# A detector exceeds its budget if it raises this many times as many false alarms, and
# more of them than chance makes of the budget: three deviations.
_EXCEEDS = 2.0
_DEVIATIONS = 3.0
# Rows are calibrated on in stretches, side by side, because a long walk of few rows is
# slow. A stretch is several times the longest gap between two incidents, 144 ticks.
_STRETCH = 500
# Stretches that are calibrated on at most, evenly over all.
_STRETCHES = 192
# A score after a stream's last point.
_NOTHING = -1e6


@dataclass(frozen=True, slots=True)
class AtBudget:
    """What one candidate tells at the budget.

    Attributes:
        budget: false alarms a stream-week that were asked for.
        threshold: the fleet's, that the budget allows.
        told: [k], share of each judged case's events that are told.
        events, told_events: how many there are, and how many are told.
        false_alarms: in ``weeks`` stream-weeks of unmarked cases.
    """

    budget: float
    threshold: float
    told: tuple[float, ...]
    events: int
    told_events: int
    false_alarms: int
    weeks: float

    @property
    def false_alarms_per_week(self) -> float:
        """Realised, of a stream."""
        return self.false_alarms / self.weeks

    @property
    def exceeds(self) -> bool:
        """Whether it raises more false alarms than the budget and chance allow."""
        asked = self.budget * self.weeks
        by_chance = asked + _DEVIATIONS * np.sqrt(max(asked, 1.0))
        return self.false_alarms > max(_EXCEEDS * asked, float(by_chance))


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Scores of rows to calibrate on, float32 [n_i] of each stream, and its tick in
    seconds.
    """

    scores: Sequence[F32]
    ticks: Sequence[float]

    def stretches(self) -> HeldOutScores:
        """Cut into stretches, a bounded number of them."""
        scores = []
        ticks = []
        for own, tick in zip(self.scores, self.ticks, strict=True):
            for start in range(0, len(own), _STRETCH):
                scores.append(own[start : start + _STRETCH])
                ticks.append(tick)
        every = slice(None, None, -(-len(scores) // _STRETCHES))
        return HeldOutScores(scores[every], ticks[every])


def at_budget(
    cases: Cases,
    scores: Sequence[F32],
    earlier: HeldOutScores,
    fit_tail: FitTail,
    tuning: AlertTuning,
) -> AtBudget:
    """``scores``: of every case, float32 [n_i], from the candidate's graph.

    ``earlier``: of held-out rows before the cases, that calibrate with them.
    """
    unmarked = {id(case) for case in cases.unmarked}
    pairs = list(zip(cases.cases, scores, strict=True))
    usual = [own for case, own in pairs if id(case) in unmarked]
    calibrating = HeldOutScores(
        [*earlier.scores, *usual],
        [*earlier.ticks, *(case.rows.tick for case in cases.unmarked)],
    ).stretches()
    tail = fit_tail(calibrating.scores, calibrating.ticks)
    tick = float(np.median(calibrating.ticks))
    policy = _settled_policy(tuning, tail, tick)
    begun = _onsets(cases.cases, scores, policy)
    told = []
    false_alarms = 0
    for case, onsets in zip(cases.cases, begun, strict=True):
        if case.truth.any():
            told.append(_told(case, onsets))
        if id(case) in unmarked:
            false_alarms += int(_outside(case, onsets).sum())
    seconds = sum(len(case.rows) * case.rows.tick for case in cases.unmarked)
    return AtBudget(
        budget=tuning.false_alarms_per_week,
        threshold=float(policy.warning),
        told=tuple(float(events.mean()) for events in told),
        events=sum(map(len, told)),
        told_events=int(sum(events.sum() for events in told)),
        false_alarms=false_alarms,
        weeks=seconds / WEEK,
    )


def _settled_policy(tuning: AlertTuning, tail: TailFit, tick: float) -> AlertPolicy:
    """Of a stream that has raised as many incidents as its budget for weeks."""
    policy = alert_policy(tuning, tail, tick, warm_up=0)
    return replace(
        policy,
        warning=tail.threshold(tuning.false_alarms_per_week),
        alarm_penalty=0.0,
    )


def _onsets(
    cases: Sequence[Case], scores: Sequence[F32], policy: AlertPolicy
) -> list[Onsets]:
    """At which points of each case, bool [n_i], an incident begins to fire."""
    longest = max(map(len, scores))
    padded = np.full((longest, len(cases)), _NOTHING, np.float32)
    for column, own in enumerate(scores):
        padded[: len(own), column] = own
    since = np.array([case.rows.tick for case in cases])
    rows = fresh_decisions(len(cases), known=True)
    begun = np.zeros(padded.shape, np.bool_)
    was_firing = np.zeros(len(cases), np.bool_)
    for t in range(longest):
        decided = decide(
            rows,
            since * t,
            since,
            padded[t],
            policy,
        )
        rows = decided.rows
        is_firing = decided.phase == Phase.FIRING
        begun[t] = is_firing & ~was_firing
        was_firing = is_firing
    return [begun[: len(own), column] for column, own in enumerate(scores)]


def _told(case: Case, begun: Onsets) -> Onsets:
    """For each event of a case whether it is told."""
    told = []
    for first, last in zip(*runs(case.truth), strict=True):
        near = begun[max(0, first - _AROUND) : last + 1 + _AROUND]
        told.append(near.any())
    return np.array(told)


def _outside(case: Case, begun: Onsets) -> Onsets:
    """Of the incidents that begin, those that meet no event."""
    false = begun.copy()
    for first, last in zip(*runs(case.truth), strict=True):
        false[max(0, first - _AROUND) : last + 1 + _AROUND] = False
    return false
