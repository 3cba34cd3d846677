"""Which scores alert although an incident of their stream is recent or open.

Theory of operation: :mod:`detector.alerting.decide`. What bounds repeats is the budget
of false alarms, and scores far over the threshold are seldom chance.
"""

from __future__ import annotations

import math

import numpy as np

from detector.alerting.points import Points, Scored
from detector.alerting.policy import AlertPolicy
from detector.alerting.quiet_times import CALM_TICKS
from detector.alerting.thresholds import Bools
from detector.events import F64, Severity
from detector.state.decisions import DecisionState
from detector.timestamps import DAY, HOUR, MINUTE, WEEK

# Seconds after a critical incident in which a far score is critical again. By
# judgement: what returns within a week is the same fault, and no less grave.
_GRAVE_MEMORY = WEEK

# What comes at the same time of day as the last incident: seconds and ticks on either
# side, and days since. By judgement: to people this is the same time, and monthly jobs
# are no habit. What it costs is in docs/experiments/daily-jobs.md.
_HABIT_SECONDS = 30 * MINUTE
_HABIT_TICKS = 0.5
_HABIT_DAYS = 28
# Seconds. Of a longer incident only this much is a habit.
_LONGEST_HABIT = HOUR


def is_far(points: Points, policy: AlertPolicy) -> Bools:
    """Whether a breach is more than chance."""
    margin = points.scores - points.threshold
    return np.asarray(margin >= policy.far_above)


def is_large(points: Points, policy: AlertPolicy) -> Bools:
    """Whether a breach is far, or as extreme as what was told before.

    A policy without a critical threshold has no such scores: calibration counts the
    incidents that chance makes.
    """
    before = points.before
    if not math.isfinite(policy.critical_above):
        return np.zeros(len(before), np.bool_)
    margin = points.scores - points.threshold
    has_told = before["incidents"] > 0
    is_as_extreme = has_told & (margin >= before["peak_margin"])
    return is_as_extreme | is_far(points, policy)


def is_habitual(points: Points) -> Bools:
    """Whether it is the time of day at which the last incident was, on a later day.

    Jobs run by the clock. A single metric's profile of the day is too coarse for one of
    some minutes, so its score stays near the threshold each day.
    """
    before = points.before
    has_ended = np.isfinite(before["ended"])
    onset = np.where(has_ended, before["onset"], points.times)
    lasted = np.where(has_ended, before["ended"] - onset, 0.0)
    near = np.maximum(_HABIT_SECONDS, _HABIT_TICKS * points.tick)
    since = points.times - onset + near
    days = np.floor(since / DAY)
    into_day = since - days * DAY
    is_later = (days >= 1) & (days <= _HABIT_DAYS)
    return np.asarray(
        is_later & (into_day <= np.minimum(lasted, _LONGEST_HABIT) + 2 * near)
    )


def has_calmed(
    after: DecisionState, points: Points, scored: Scored, seconds: F64
) -> Bools:
    """Whether the score has been clear for enough points, and for ``seconds`` [B]."""
    calm_ends = after["last_above"] + seconds
    return np.asarray(scored.is_calm & (points.times >= calm_ends))


def has_returned(points: Points, scored: Scored) -> Bools:
    """Whether an incident that was calm is far over the threshold again."""
    was_calm = points.before["has_calmed"] > 0
    return np.asarray(scored.is_large & scored.is_confirmed & was_calm)


def has_grown(
    after: DecisionState, points: Points, scored: Scored, policy: AlertPolicy
) -> Bools:
    """Whether an incident is far over the threshold that was small so far.

    That is news once it has lasted for some ticks, or the score was clear in between:
    an incident must not hide an outage that begins while it is open. So is a score that
    was clear, and is higher than the peak by as much.
    """
    before = points.before
    peak = before["peak_margin"]
    margin = points.scores - points.threshold
    was_small = peak < policy.far_above
    was_clear = before["clear_streak"] > 0
    is_older = points.times - before["onset"] >= CALM_TICKS * after["tick"]
    is_larger = was_clear & (margin >= peak + policy.far_above)
    is_first = was_small & (was_clear | is_older)
    is_told = scored.is_far & scored.is_confirmed
    return np.asarray(is_told & (is_first | is_larger))


def is_grave(points: Points, scored: Scored) -> Bools:
    """Whether a far score follows a critical incident: it is no less grave."""
    before = points.before
    was_critical = before["last_severity"] == Severity.CRITICAL
    is_recent = points.times - before["ended"] <= _GRAVE_MEMORY
    return np.asarray(scored.is_far & scored.is_confirmed & was_critical & is_recent)
