"""Which incidents begin, end and get worse: the state machine of a stream.

Its rules are stated in :mod:`detector.alerting.decide`, which steps it for those
streams of a wave that are near their threshold or in an incident.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.alerting.points import (
    FIRING,
    OK,
    PENDING,
    WARMING,
    Points,
    Scored,
    one_more,
    run_length,
)
from detector.alerting.policy import AlertPolicy
from detector.alerting.quiet_times import QuietTimes
from detector.alerting.repeats import (
    has_calmed,
    has_grown,
    has_returned,
    is_far,
    is_grave,
    is_habitual,
    is_large,
)
from detector.alerting.thresholds import Bools, false_alarm_weight
from detector.events import U8, Reason, Severity
from detector.state.decisions import DecisionState
from detector.timestamps import HOUR

_IS_BELOW = np.uint8(Reason.BELOW_THRESHOLD)

# Seconds in which the peak of an incident follows a lower score. By judgement: long
# enough to be the plateau, short enough that one outlier is not.
_PEAK_MEMORY = HOUR

# Ticks. The shortest time to expiry, so that streams with slow ticks can recover.
_MIN_INCIDENT_TICKS = 24

# A stream flaps if this many incidents each began soon after the end of the one before.
# By judgement: three repeats within hours are no coincidence.
_FLAPPING = 4


@dataclass(frozen=True, slots=True)
class _Transitions:
    """What happens to the incident of each of B streams, bool [B] each.

    Attributes:
        is_held_back: a breach too soon after the last incident.
        is_habit: a breach at the time of day of the last one.
        is_negligible: an incident would begin, but the values hardly differ.
        begins: an incident is pending from here on, or fires.
        fires: the breach has lasted long enough.
        returns: the open incident was calm, or small, and is far over the threshold.
        recovers: the score has been clear long enough.
        is_expired: it lasted so long that it is no longer reported.
        ends: it recovers or expires.
        is_firing: an incident is open after the point.
        becomes_critical: the incident that begins or goes on is critical from here on.
        grows: it goes on, and is far over the threshold after it was small.
    """

    is_held_back: Bools
    is_habit: Bools
    is_negligible: Bools
    begins: Bools
    fires: Bools
    returns: Bools
    recovers: Bools
    is_expired: Bools
    ends: Bools
    is_firing: Bools
    becomes_critical: Bools
    grows: Bools


def step_incidents(
    after: DecisionState, points: Points, quiet: QuietTimes, policy: AlertPolicy
) -> tuple[U8, Bools, Bools]:
    """Step the state machine: reasons uint8 [B], which incidents expire, which grow.

    ``after`` (DECISION [B]) has the new tick and penalty already; the rest is stored in
    it.
    """
    scored = _count_streaks(after, points, quiet, policy)
    moves = _transitions(after, points, scored, quiet, policy)
    _store(after, points, moves)
    _count_repeats(after, points, scored, moves, quiet)
    if moves.ends.any():
        _close(after, points, moves, policy)
    is_open = moves.fires | scored.was_firing
    if is_open.any():
        _follow_peaks(after, points, is_open, moves.fires)
    return _reasons(points, scored, moves), moves.is_expired, moves.grows


def _count_streaks(
    after: DecisionState, points: Points, quiet: QuietTimes, policy: AlertPolicy
) -> Scored:
    """Count the points in a row over and under each threshold."""
    before = points.before
    is_warm = ~points.is_warming
    critical = points.threshold + np.float32(policy.critical_above)
    is_breach = (points.scores >= points.threshold) & is_warm
    is_critical = (points.scores >= critical) & is_warm
    was_firing = before["phase"] == FIRING
    is_over = ~points.is_above & ~points.is_lost
    is_clearing = was_firing & is_over & is_warm

    breach_streak = run_length(before["breach_streak"], is_breach)
    critical_streak = run_length(before["critical_streak"], is_critical)
    clear_streak = run_length(before["clear_streak"], is_clearing)
    after["breach_streak"] = breach_streak
    after["critical_streak"] = critical_streak
    after["clear_streak"] = clear_streak
    after["last_above"] = np.where(points.is_above, points.times, before["last_above"])
    return Scored(
        was_firing=was_firing,
        is_breach=is_breach,
        is_far=is_breach & is_far(points, policy),
        is_large=is_breach & is_large(points, policy),
        is_clearing=is_clearing,
        is_confirmed=breach_streak >= policy.breach_steps,
        is_critical=critical_streak >= policy.breach_steps,
        is_calm=clear_streak >= quiet.clear_steps,
    )


def _transitions(
    after: DecisionState,
    points: Points,
    scored: Scored,
    quiet: QuietTimes,
    policy: AlertPolicy,
) -> _Transitions:
    """Decide what begins, returns, ends and gets worse."""
    before = points.before
    was_firing = scored.was_firing
    may_tell = ~points.is_negligible

    is_cooling = ~scored.is_large & (points.times < before["ended"] + quiet.pause)
    is_new_breach = scored.is_breach & ~was_firing
    is_habit = is_new_breach & ~is_cooling & ~scored.is_far & is_habitual(points)
    is_due = is_new_breach & ~is_cooling & ~is_habit
    begins = is_due & may_tell
    fires = begins & scored.is_confirmed

    recovers, is_expired = _ends(after, points, scored, quiet, policy)
    ends = recovers | is_expired

    # Only what is no critical incident yet can get worse, so it escalates once.
    goes_on = was_firing & ~ends
    can_worsen = fires | (goes_on & (before["severity"] == Severity.WARNING))
    becomes_critical = can_worsen & (scored.is_critical | is_grave(points, scored))
    may_return = goes_on & may_tell & ~points.is_lost
    grows = may_return & has_grown(after, points, scored, policy)
    comes_back = may_return & has_returned(points, scored)
    return _Transitions(
        is_held_back=is_new_breach & is_cooling,
        is_habit=is_habit,
        is_negligible=is_due & ~may_tell,
        begins=begins,
        fires=fires,
        returns=comes_back | (grows & ~becomes_critical),
        recovers=recovers,
        is_expired=is_expired,
        ends=ends,
        is_firing=goes_on | fires,
        becomes_critical=becomes_critical,
        grows=grows,
    )


def _ends(
    after: DecisionState,
    points: Points,
    scored: Scored,
    quiet: QuietTimes,
    policy: AlertPolicy,
) -> tuple[Bools, Bools]:
    """Which open incidents recover, and which expire."""
    before = points.before

    # Peaks that follow each other closely are one incident, so its end waits.
    is_flapping = before["repeats"] >= _FLAPPING
    calm = np.where(is_flapping, quiet.flapping, quiet.calm)
    is_calm = has_calmed(after, points, scored, calm)
    recovers = scored.was_firing & is_calm

    # No stream fires for ever, but slow ticks get the points to recover in.
    longest = np.maximum(policy.max_incident, _MIN_INCIDENT_TICKS * after["tick"])
    is_overdue = points.times - before["onset"] >= longest
    return recovers, scored.was_firing & ~recovers & is_overdue


def _store(after: DecisionState, points: Points, moves: _Transitions) -> None:
    """Phase, severity, onset and number of incidents."""
    before = points.before
    otherwise = np.where(points.is_warming, WARMING, OK)
    calm_or_pending = np.where(moves.begins, PENDING, otherwise)
    after["phase"] = np.where(moves.is_firing, FIRING, calm_or_pending)

    at_least_warning = np.maximum(before["severity"], Severity.WARNING)
    after["severity"] = np.where(moves.is_firing, at_least_warning, Severity.NONE)
    after["severity"][moves.becomes_critical] = Severity.CRITICAL

    is_first_breach = moves.begins & (before["phase"] != PENDING)
    after["onset"] = np.where(is_first_breach, points.times, before["onset"])
    after["incidents"] += moves.fires


def _count_repeats(
    after: DecisionState,
    points: Points,
    scored: Scored,
    moves: _Transitions,
    quiet: QuietTimes,
) -> None:
    """Count the incidents and returns that follow each other closely."""
    before = points.before
    is_told = moves.fires | moves.returns
    is_calm = has_calmed(after, points, scored, quiet.calm)
    was_calm = (before["has_calmed"] > 0) | is_calm
    after["has_calmed"] = moves.is_firing & was_calm & ~is_told
    if not is_told.any():
        return
    latest = before["ended"] + quiet.flapping
    is_first = moves.fires & (after["onset"] > latest)
    counted = np.where(is_told, one_more(before["repeats"]), before["repeats"])
    after["repeats"] = np.where(is_first, 1, counted)
    first = np.where(is_first, after["onset"], before["repeats_since"])
    after["repeats_since"] = first


def _close(
    after: DecisionState, points: Points, moves: _Transitions, policy: AlertPolicy
) -> None:
    """Note when incidents ended, and raise the thresholds of their streams."""
    before = points.before
    after["ended"] = np.where(moves.ends, points.times, before["ended"])
    last_severity = np.where(moves.ends, before["severity"], before["last_severity"])
    after["last_severity"] = last_severity
    margin = before["peak_margin"]
    weight = false_alarm_weight(margin, policy.score_scale, policy.far_above)
    penalty = np.float32(policy.alarm_penalty) * weight
    after["alarm_penalty"] += np.where(moves.ends, penalty, np.float32(0))


def _follow_peaks(
    after: DecisionState, points: Points, is_open: Bools, fires: Bools
) -> None:
    """The score that an open incident has reached, and its largest margin.

    The peak follows a lower score slowly, so that one outlier does not set the plateau.
    """
    before = points.before
    scores = points.scores
    share = (1 - np.exp(-points.since / _PEAK_MEMORY)).astype(np.float32)
    lowered = before["peak"] + share * (scores - before["peak"])
    followed = np.where(scores >= before["peak"], scores, lowered)
    peak = np.where(is_open, followed, before["peak"])
    after["peak"] = np.where(fires, scores, peak)

    margin = scores - points.threshold
    largest = np.maximum(before["peak_margin"], margin)
    kept = np.where(is_open, largest, before["peak_margin"])
    after["peak_margin"] = np.where(fires, margin, kept)


def _reasons(points: Points, scored: Scored, moves: _Transitions) -> U8:
    """The reason of each decision, uint8 [B]: the last line that applies."""
    table = (
        (points.is_warming, Reason.WARMING),
        (moves.is_held_back, Reason.COOLDOWN),
        (moves.is_habit, Reason.HABITUAL),
        (moves.is_negligible, Reason.NEGLIGIBLE),
        (moves.begins, Reason.UNCONFIRMED),
        (scored.was_firing, Reason.STILL_FIRING),
        (scored.is_clearing, Reason.CLEARING),
        (moves.becomes_critical, Reason.ESCALATED),
        (moves.fires, Reason.FIRED),
        (moves.returns, Reason.RETURNED),
        (moves.recovers, Reason.RECOVERED),
        (moves.is_expired, Reason.EXPIRED),
    )
    reasons = np.full(len(points.times), _IS_BELOW)
    for applies, reason in table:
        reasons[applies] = reason
    return reasons
