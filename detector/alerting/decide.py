"""From a score to a decision, for whole waves at once.

Theory of operation. Each stream goes from ok to pending to firing and back to ok. The
threshold of each is that of :mod:`detector.alerting.thresholds`; the numbers below are
those of :class:`~detector.alerting.policy.AlertPolicy`.

- *Pending*: the score is at or over the threshold, and no incident may be too recent.
- *Firing*: it was so for ``breach_steps`` points in a row. The incident starts at the
  event time of the first of them.
- *Far*: the score exceeds the threshold by at least half the step to the critical one,
  or by as much as the last incident did. Chance seldom gets that far, so a far score
  begins an incident at once, whatever came before.
- *Cooldown*: other scores wait until ``cooldown_ticks`` and the minimum gap after the
  last incident ended. What follows sooner is most often the same small disturbance.
- *Habit*: other scores begin nothing at the time of day of the last incident, on one of
  the days after it. Jobs run by the clock.
- *Recovered*: the score was under the clearing threshold for ``clear_steps`` points in
  a row, and for six ticks. The clearing threshold is ``hysteresis`` lower, so a score
  that hovers does not flap. :mod:`detector.alerting.resolution` says what the end
  means.
- *Flapping*: four incidents, each at most 60 ticks after the end of the one before. The
  incident then ends after 60 ticks of calm. No such time is longer than a quarter of
  the budget's mean interval (:mod:`detector.alerting.quiet_times`). Each far score
  after a calm, meanwhile, is told as a *return*: the same incident once more, with a
  count. So is the first far score of a small incident that began before: it must not
  hide an outage.
- *Severity*: a warning at the threshold, critical at the threshold of a tenth of the
  budget. Within a week of a critical incident, a far score is critical too. An incident
  escalates at most once and never de-escalates.
- *Negligible*: a breach of values that hardly differ begins no incident.
- *Expired*: no stream fires for ever. After ``max_incident`` seconds an incident is no
  longer reported. The threshold then stays above the *plateau* that the score reached,
  until the score falls.

Ticks are a stream's own: a running mean of the intervals between its points.

Calibration uses the same table. It runs :func:`decide` over held-out scores at many
thresholds and counts the incidents, so a threshold means what the daemon will do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.points import FIRING, OK, WARMING, Points
from detector.alerting.policy import AlertPolicy
from detector.alerting.quiet_times import quiet_times
from detector.alerting.thresholds import (
    PENALTY_MEMORY,
    Bools,
    clip,
    decay,
    learn_offset,
    offset_for_age,
    offset_for_tick_and_day,
    prior_points,
    slow_tick_caution,
)
from detector.alerting.transitions import step_incidents
from detector.events import F32, F64, U8, Reason
from detector.state.decisions import DECISION, DecisionState, opaque
from detector.timestamps import DAY

U32 = npt.NDArray[np.uint32]

# Seconds in which a plateau follows a score that fell. By judgement: a daily
# pattern returns within a day.
_PLATEAU_MEMORY = DAY

# The least share of an interval that moves the tick: a mean over the last fifty. The
# graph tracks its tick with the same constant (training/models/univariate.py).
_TICK_GAIN = 0.02

# Ticks. Of a longer silence only this much counts as observed.
_LONGEST_GAP = 10

# Value that the number of points saturates at.
_MAX_STEPS = np.iinfo(np.uint32).max

# Members as numpy scalars: looking up a member of an enum on each wave is slow.
_IS_WARMING = np.uint8(Reason.WARMING)
_IS_BELOW = np.uint8(Reason.BELOW_THRESHOLD)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The outcome of one wave of B streams.

    Attributes:
        phase: uint8 [B], :class:`Phase` after the point.
        reason: uint8 [B], :class:`Reason` of the decision.
        threshold: float32 [B], what the score was compared to.
        rows: DECISION [B], the state to store.
        has_grown: bool [B], whether the open incident is far over the threshold after
            it was small. That is news even where it may not become critical.
    """

    phase: U8
    reason: U8
    threshold: F32
    rows: DecisionState
    has_grown: Bools


def decide(
    rows: DecisionState,
    times: F64,
    since: F64,
    scores: F32,
    policy: AlertPolicy,
    negligible: Bools | None = None,
    lost: Bools | None = None,
) -> Decisions:
    """One point of each of B streams.

    Pure: ``rows`` (DECISION [B]) is the state before the point and does not change.
    ``times`` [B] are event times, ``since`` [B] the seconds since the previous point,
    and ``scores`` [B] those of the graph. Points that are ``negligible`` [B] begin no
    incident. At those that are ``lost`` [B] none recovers or returns. By default none
    is either.
    """
    steps = np.ascontiguousarray(rows["steps"])
    tick = track_interval(rows["tick"], steps, since)
    penalty = _faded_penalty(rows, steps, since, policy)
    caution = slow_tick_caution(rows["stream_offset"], policy.score_scale)
    offset = base_offset(steps, tick, policy, caution)
    of_fleet = np.maximum(policy.warning + penalty + offset, policy.floor)
    base_threshold = of_fleet + rows["stream_offset"]
    highest = np.maximum(base_threshold, rows["plateau"])
    threshold = highest.astype(np.float32)
    points = Points(
        before=rows,
        times=times,
        since=since,
        scores=scores,
        tick=tick,
        threshold=threshold,
        is_above=scores >= threshold - np.float32(policy.hysteresis),
        is_warming=steps < policy.warm_up,
        is_negligible=_none(steps) if negligible is None else negligible,
        is_lost=_none(steps) if lost is None else lost,
    )
    after = _quiet_rows(points, steps, penalty)
    _learn(after, points, policy)
    phase, reason, is_expired, has_grown = _step_active(after, points, policy)
    _follow_plateaus(after, points, is_expired, base_threshold, policy)
    return Decisions(phase, reason, threshold, after, has_grown)


def _none(steps: U32) -> Bools:
    return np.zeros(len(steps), np.bool_)


def _quiet_rows(points: Points, steps: U32, penalty: F32) -> DecisionState:
    """The rows after the point as if all streams were quiet, DECISION [B]."""
    after = opaque(points.before).copy().view(DECISION)
    after["steps"] = np.minimum(steps, _MAX_STEPS - 1) + 1
    after["tick"] = points.tick
    after["alarm_penalty"] = penalty
    observed = np.minimum(points.since, _LONGEST_GAP * points.tick)
    after["observed_seconds"] += np.where(points.is_warming, 0.0, observed)
    after["breach_streak"] = 0
    after["critical_streak"] = 0
    after["clear_streak"] = 0
    return after


def _step_active(
    after: DecisionState,
    points: Points,
    policy: AlertPolicy,
) -> tuple[U8, U8, Bools, Bools]:
    """Step those streams that are near their threshold or in an incident.

    Nearly all streams are quiet at nearly every point and need no more than their
    phase. Gives phases and reasons, uint8 [B], which incidents expire, and which grow.
    """
    phase = np.where(points.is_warming, WARMING, OK)
    reason = np.where(points.is_warming, _IS_WARMING, _IS_BELOW)
    is_expired = np.zeros(len(phase), np.bool_)
    has_grown = np.zeros(len(phase), np.bool_)
    is_open = points.before["phase"] > OK
    active = np.flatnonzero(points.is_above | is_open)
    if len(active):
        limit = policy.max_gap
        if isinstance(limit, np.ndarray):  # calibration has one for each row
            limit = limit[active]
        chosen = points.at(active)
        quiet = quiet_times(chosen.tick, limit, policy)
        moved = opaque(after)[active].view(DECISION)
        reasons, expired, grown = step_incidents(moved, chosen, quiet, policy)
        reason[active] = reasons
        is_expired[active] = expired
        has_grown[active] = grown
        opaque(after)[active] = opaque(moved)
        phase[active] = moved["phase"]
    after["phase"] = phase
    return phase, reason, is_expired, has_grown


def base_offset(
    steps: U32, tick: F64, policy: AlertPolicy, caution: F64 | float = 0.0
) -> F64:
    """What tick, first day and age add to the fleet's threshold, float64 [B].

    ``steps`` [B] are the points that a stream has had, ``tick`` [B] is in seconds.
    Without ``caution`` (:func:`~detector.alerting.thresholds.slow_tick_caution`) it is
    by how much more often a stream reaches a score than the fleet does.
    """
    offset = offset_for_tick_and_day(
        tick,
        policy.tick,
        steps * tick,
        policy.first_day_offset,
        policy.score_scale,
        caution,
    )
    ages = policy.cold_start_ages
    if ages and (steps < ages[-1]).any():
        offset = offset + offset_for_age(
            steps.astype(np.float64),
            np.array(ages),
            np.array(policy.cold_start_offsets),
        )
    return offset


def track_interval(tick: F32, steps: U32, since: F64) -> F64:
    """Each stream's tick in seconds after one more point, float64 [B].

    A running mean in which an interval counts as half to twice the tick, so a gap moves
    it little. The first interval is a placeholder, so the second replaces it.
    """
    bounded = clip(since, 0.5 * tick, 2.0 * tick)
    gain = np.maximum(1.0 / (steps + 1.0), _TICK_GAIN)
    has_no_tick = (tick == 0) | (steps <= 1)
    return np.where(has_no_tick, since, tick + gain * (bounded - tick))


# -- the threshold's moving parts ------------------------------------------------------


def _faded_penalty(
    rows: DecisionState, steps: U32, since: F64, policy: AlertPolicy
) -> F32:
    """The alarm penalty at this point; a stream's first point sets the initial one."""
    faded = decay(rows["alarm_penalty"], since, PENALTY_MEMORY)
    return np.where(steps == 0, np.float32(policy.initial_penalty), faded)


def _learn(after: DecisionState, points: Points, policy: AlertPolicy) -> None:
    """Move the stream's own offset, by points that chance may have made."""
    if math.isnan(policy.reference_score):
        return
    before = points.before
    # an incident that got far teaches nothing; chance makes small ones
    is_chance = before["peak_margin"] < policy.far_above
    is_quiet = (before["phase"] != FIRING) | is_chance
    after["stream_offset"], after["evidence"] = learn_offset(
        before["stream_offset"],
        before["evidence"],
        points.scores,
        ~points.is_warming & is_quiet,
        points.scores < points.threshold - np.float32(policy.hysteresis),
        prior_points(points.tick),
        policy.reference_score,
        policy.score_scale,
    )


def _follow_plateaus(
    after: DecisionState,
    points: Points,
    is_expired: Bools,
    base_threshold: F64,
    policy: AlertPolicy,
) -> None:
    """Set the plateau of an incident that expires; lower it once the score falls.

    It vanishes when the base threshold is at least as high.
    """
    before = points.before["plateau"]
    scores = points.scores
    has_plateau = np.isfinite(before)
    if not (has_plateau.any() or is_expired.any()):
        return
    held = np.where(has_plateau, before, scores)
    lower = scores + decay(held - scores, points.since, _PLATEAU_MEMORY)
    has_fallen = scores < base_threshold - policy.hysteresis
    followed = np.where(has_fallen, lower, held)
    # above the peak by more than the hysteresis, so that the plateau itself is quiet
    above_peak = after["peak"] + np.float32(2 * policy.hysteresis)
    plateau = np.where(is_expired, above_peak, followed)
    is_in_force = (has_plateau | is_expired) & (plateau > base_threshold)
    after["plateau"] = np.where(is_in_force, plateau, -np.inf)
