"""From the operator's numbers and a bundle's tail fit to the policy that decides.

A bundle says how often its fleet reaches each score (:class:`TailFit`). The operator
says how many false alarms a stream may raise (:class:`AlertTuning`). The functions here
turn both into an :class:`AlertPolicy`: plain numbers that :func:`decide` applies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detector.alerting.rules import NO_RULES, Rules
from detector.alerting.thresholds import (
    FIRST_DAY,
    INITIAL_PENALTY,
    SETTLED_SHARE,
    effective_budget,
    max_gap,
    penalty_per_incident,
)
from detector.events import F64
from detector.model.tail import TailFit
from detector.timestamps import DAY, HOUR

#: Share of the budget whose threshold is the critical one. A convention: a warning is
#: what the budget allows, a critical alert ten times as rare.
CRITICAL_SHARE = 0.1


# Scales from the reference score down to the floor. There, a point in seven is over the
# threshold, and a week of hours has the most incidents: under it, few calms are long
# enough to end one (docs/experiments/slow-ticks.md).
FLOOR_BELOW = 1.0

#: Share of the step up to the critical threshold from which a score is far over its
#: own. What bounds repeats is the budget of false alarms, and chance seldom gets that
#: far: at half the step, incidents are sqrt(10) times as rare as the budget. What it
#: costs is in docs/experiments/repeated-outages.md.
FAR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class AlertTuning:
    """What the operator chooses; the defaults are those of the daemon and of the fit.

    Attributes:
        false_alarms_per_week: budget of each stream, > 0.
        hysteresis: score, from the threshold down to the clearing threshold.
        breach_steps: points in a row over the threshold before an incident fires. One,
            because the score is smoothed over a few points already.
        clear_steps: points in a row under the clearing threshold before it resolves.
        cooldown_ticks: ticks after an incident in which no small new one begins.
        min_gap: seconds from the end of an incident to the stream's next one.
        max_incident: seconds after which an incident is no longer reported.
        min_relative_deviation: share of the value; what deviates by less begins no
            incident. By judgement: nobody gets up for a 500th.
        rules: what else an incident needs to begin, by stream and metric.
    """

    false_alarms_per_week: float = 1.0
    hysteresis: float = 0.3
    breach_steps: int = 1
    clear_steps: int = 5
    cooldown_ticks: float = 12.0
    min_gap: float = 12 * HOUR
    max_incident: float = 14 * DAY
    min_relative_deviation: float = 0.002
    rules: Rules = NO_RULES


@dataclass(frozen=True, slots=True)
class FleetThresholds:
    """The scores at which a stream fires, turns critical, and clears, if it has no
    evidence of its own and no recent incident.
    """

    warning: float
    critical: float
    clear: float


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Thresholds, counts and times of the state machine; scores are those of the graph.

    Attributes:
        warning: the fleet's threshold. Calibration tries many: one for each row [B].
        critical_above: score, from the threshold up to the critical one.
        hysteresis: score, from the threshold down to the clearing one.
        breach_steps: points in a row over the threshold before an incident fires.
        clear_steps: points in a row under the clearing one before it recovers.
        cooldown_ticks: ticks after an incident in which no new one begins.
        warm_up: points of a new stream before it may alert.
        min_gap: seconds between two incidents, as the operator asks for. Neither the
            gap nor the cooldown holds back a score far over the threshold.
        max_gap: seconds between two incidents, as the budget allows at most; [B] in
            calibration (:func:`~detector.alerting.thresholds.min_gap`).
        max_incident: seconds after which an incident is no longer reported.
        min_relative_deviation: what deviates by less begins no incident; 0: anything
            may (:mod:`detector.alerting.deviations`).
        rules: what else an incident needs to begin (:mod:`detector.alerting.rules`).
        alarm_penalty: score that one false alarm adds to its stream's threshold.
        initial_penalty: score that a new stream's threshold starts with.
        known_penalty: score that the threshold of a stream of the bundle starts with.
        first_day_offset: score that not having seen a whole day adds
            (:func:`~detector.alerting.thresholds.offset_for_tick_and_day`).
        tick: interval in seconds that the fleet's threshold holds for; 0: for any.
        floor: score under which no tick and no budget lower the fleet's threshold; a
            penalty fills the gap up to it first.
        cold_start_ages: rising ages, in points, of ``cold_start_offsets``.
        cold_start_offsets: score that a short past adds at these ages
            (:func:`~detector.alerting.thresholds.offset_for_age`).
        reference_score: the score that a known share of the fleet's points pass; NaN:
            streams have no offset of their own.
        score_scale: the score that makes incidents e times as rare.
    """

    warning: float | F64
    critical_above: float
    hysteresis: float
    breach_steps: int
    clear_steps: int
    cooldown_ticks: float
    warm_up: int
    min_gap: float = 0.0
    max_gap: float | F64 = np.inf
    max_incident: float = np.inf
    min_relative_deviation: float = 0.0
    rules: Rules = NO_RULES
    alarm_penalty: float = 0.0
    initial_penalty: float = 0.0
    known_penalty: float = 0.0
    first_day_offset: float = 0.0
    tick: float = 0.0
    floor: float = -np.inf
    cold_start_ages: tuple[float, ...] = ()
    cold_start_offsets: tuple[float, ...] = ()
    reference_score: float = np.nan
    score_scale: float = 1.0

    @property
    def far_above(self) -> float:
        """Score, from the threshold up to where a score is far over it.

        At the largest budgets, both thresholds are the lowest that was counted; the
        step then counts as one scale.
        """
        return FAR_SHARE * max(self.critical_above, self.score_scale)


def fleet_thresholds(tuning: AlertTuning, tail: TailFit) -> FleetThresholds:
    """The thresholds that the budget allows under this tail fit.

    Raises ValueError unless the budget is positive and finite.
    """
    budget = effective_budget(tuning.false_alarms_per_week)
    warning = tail.threshold(budget)
    return FleetThresholds(
        warning=warning,
        critical=tail.threshold(budget * CRITICAL_SHARE),
        clear=warning - tuning.hysteresis,
    )


def alert_policy(
    tuning: AlertTuning, tail: TailFit, tick_interval: float, warm_up: int
) -> AlertPolicy:
    """The policy of a daemon that runs a bundle.

    ``tick_interval`` (seconds) and ``warm_up`` (points) come from its manifest. Raises
    ValueError unless the budget is positive and finite.
    """
    budget = tuning.false_alarms_per_week
    thresholds = fleet_thresholds(tuning, tail)
    reference = tail.reference_score
    settled_above = tail.threshold(budget) - thresholds.warning
    return replace(
        candidate_policy(tuning, thresholds.warning, max_gap(budget), warm_up),
        critical_above=thresholds.critical - thresholds.warning,
        rules=tuning.rules,
        alarm_penalty=penalty_per_incident(budget, settled_above),
        initial_penalty=INITIAL_PENALTY * tail.score_scale,
        known_penalty=SETTLED_SHARE * settled_above,
        first_day_offset=FIRST_DAY * tail.score_scale,
        tick=tick_interval,
        floor=_floor(tail),
        cold_start_ages=tuple(age for age, _ in tail.cold_start_offsets),
        cold_start_offsets=tuple(offset for _, offset in tail.cold_start_offsets),
        reference_score=np.nan if reference is None else reference,
        score_scale=tail.score_scale,
    )


def _floor(tail: TailFit) -> float:
    """The score under which no threshold is."""
    if tail.reference_score is None:
        return tail.thresholds[0]
    return tail.reference_score - FLOOR_BELOW * tail.score_scale


def candidate_policy(
    tuning: AlertTuning, warning: float | F64, max_gap: float | F64, warm_up: int
) -> AlertPolicy:
    """The policy at a given threshold, before a tail fit is known.

    Calibration counts incidents with it. ``warning`` and ``max_gap`` (seconds) are one
    number, or one for each row [B]. No incident turns critical or adds a penalty, and
    no score is far over the threshold: calibration counts what chance makes.
    """
    return AlertPolicy(
        warning=warning,
        critical_above=np.inf,
        hysteresis=tuning.hysteresis,
        breach_steps=tuning.breach_steps,
        clear_steps=tuning.clear_steps,
        cooldown_ticks=tuning.cooldown_ticks,
        warm_up=warm_up,
        min_gap=tuning.min_gap,
        max_gap=max_gap,
        max_incident=tuning.max_incident,
        min_relative_deviation=tuning.min_relative_deviation,
    )
