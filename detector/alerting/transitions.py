"""Which incidents begin, end and get worse: the state machine of a stream.

Its rules are stated in :mod:`detector.alerting.decide`, which steps it for those
streams of a wave that are near their threshold or in an incident.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import Bools, false_alarm_weight
from detector.events import F32, F64, U8, Phase, Reason, Severity
from detector.state.decisions import DECISION, DecisionState, opaque
from detector.timestamps import HOUR, WEEK

U16 = npt.NDArray[np.uint16]

# Seconds in which the peak of an incident follows a lower score. By judgement: long
# enough to be the plateau, short enough that one outlier is not.
_PEAK_MEMORY = HOUR

# Ticks. The shortest time to expiry, so that streams with slow ticks can recover.
_MIN_INCIDENT_TICKS = 24

# Ticks from the last score over the clearing threshold to the end of an incident. By
# judgement: a score that is smoothed over some points may dip for as long.
_CALM_TICKS = 6

# A stream flaps if this many incidents each began at most _CLOSE_TICKS after the end of
# the one before. Its incident then stays open for _FLAPPING_CALM_TICKS of calm. By
# judgement: three repeats within hours are no coincidence, and an hour of calm is an
# end.
_FLAPPING = 4
_CLOSE_TICKS = 60
_FLAPPING_CALM_TICKS = 60

# Seconds after a critical incident in which a far score is critical again. By
# judgement: what returns within a week is the same fault, and no less grave.
_GRAVE_MEMORY = WEEK

# Value that the streaks saturate at.
_MAX_STREAK = np.iinfo(np.uint16).max

# Members as numpy scalars: looking up a member of an enum on each wave is slow.
WARMING, OK, PENDING, FIRING = (
    np.uint8(phase) for phase in (Phase.WARMING, Phase.OK, Phase.PENDING, Phase.FIRING)
)
_IS_BELOW = np.uint8(Reason.BELOW_THRESHOLD)


@dataclass(frozen=True, slots=True)
class Points:
    """One point of each of B streams.

    Attributes:
        before: DECISION [B], the state before the point.
        times: float64 [B], event times in epoch seconds.
        since: float64 [B], seconds since the previous point.
        scores: float32 [B], those of the graph.
        tick: float64 [B], seconds, with this point.
        threshold: float32 [B], what the score is compared to.
        is_above: bool [B], the score is at or over the clearing threshold.
        is_warming: bool [B], the stream may not alert yet.
        is_negligible: bool [B], the values differ too little for an incident.
    """

    before: DecisionState
    times: F64
    since: F64
    scores: F32
    tick: F64
    threshold: F32
    is_above: Bools
    is_warming: Bools
    is_negligible: Bools

    def at(self, places: npt.NDArray[np.intp]) -> Points:
        """Copies of some of them."""
        return Points(
            before=opaque(self.before)[places].view(DECISION),
            times=self.times[places],
            since=self.since[places],
            scores=self.scores[places],
            tick=self.tick[places],
            threshold=self.threshold[places],
            is_above=self.is_above[places],
            is_warming=self.is_warming[places],
            is_negligible=self.is_negligible[places],
        )


@dataclass(frozen=True, slots=True)
class _Scored:
    """How the score of each of B streams compares, bool [B] each.

    Attributes:
        was_firing: an incident was open before the point.
        is_breach: the score is at or over the threshold.
        is_far: it is far over the threshold, or as far as the last incident was.
        is_clearing: in an incident, the score is under the clearing threshold.
        is_confirmed: it has been at or over the threshold for long enough to fire.
        is_critical: it has been at or over the critical threshold for as long.
        is_calm: it has been under the clearing threshold for long enough to recover.
    """

    was_firing: Bools
    is_breach: Bools
    is_far: Bools
    is_clearing: Bools
    is_confirmed: Bools
    is_critical: Bools
    is_calm: Bools


@dataclass(frozen=True, slots=True)
class _Transitions:
    """What happens to the incident of each of B streams, bool [B] each.

    Attributes:
        is_held_back: a breach too soon after the last incident.
        is_negligible: an incident would begin, but the values hardly differ.
        begins: an incident is pending from here on, or fires.
        fires: the breach has lasted long enough.
        returns: the open incident was calm and is far over the threshold again.
        recovers: the score has been clear long enough.
        is_expired: it lasted so long that it is no longer reported.
        ends: it recovers or expires.
        is_firing: an incident is open after the point.
        becomes_critical: the incident that begins or goes on is critical from here on.
    """

    is_held_back: Bools
    is_negligible: Bools
    begins: Bools
    fires: Bools
    returns: Bools
    recovers: Bools
    is_expired: Bools
    ends: Bools
    is_firing: Bools
    becomes_critical: Bools


def step_incidents(
    after: DecisionState, points: Points, gap: F64, policy: AlertPolicy
) -> tuple[U8, Bools]:
    """Step the state machine: reasons uint8 [B], and which incidents expire.

    ``after`` (DECISION [B]) has the new tick and penalty already; the rest is stored in
    it. ``gap`` [B] is the seconds from the end of an incident to the next one.
    """
    scored = _count_streaks(after, points, policy)
    moves = _transitions(after, points, scored, gap, policy)
    _store(after, points, moves)
    _count_repeats(after, points, scored, moves)
    if moves.ends.any():
        _close(after, points, moves, policy)
    is_open = moves.fires | scored.was_firing
    if is_open.any():
        _follow_peaks(after, points, is_open, moves.fires)
    return _reasons(points, scored, moves), moves.is_expired


def _count_streaks(
    after: DecisionState, points: Points, policy: AlertPolicy
) -> _Scored:
    """Count the points in a row over and under each threshold."""
    before = points.before
    is_warm = ~points.is_warming
    critical = points.threshold + np.float32(policy.critical_above)
    is_breach = (points.scores >= points.threshold) & is_warm
    is_critical = (points.scores >= critical) & is_warm
    was_firing = before["phase"] == FIRING
    is_clearing = was_firing & ~points.is_above & is_warm

    breach_streak = run_length(before["breach_streak"], is_breach)
    critical_streak = run_length(before["critical_streak"], is_critical)
    clear_streak = run_length(before["clear_streak"], is_clearing)
    after["breach_streak"] = breach_streak
    after["critical_streak"] = critical_streak
    after["clear_streak"] = clear_streak
    after["last_above"] = np.where(points.is_above, points.times, before["last_above"])
    return _Scored(
        was_firing=was_firing,
        is_breach=is_breach,
        is_far=is_breach & _is_far(points, policy),
        is_clearing=is_clearing,
        is_confirmed=breach_streak >= policy.breach_steps,
        is_critical=critical_streak >= policy.breach_steps,
        is_calm=clear_streak >= policy.clear_steps,
    )


def _is_far(points: Points, policy: AlertPolicy) -> Bools:
    """Whether a breach is more than chance, or as extreme as what was told before.

    A policy without a critical threshold has no such scores: calibration counts the
    incidents that chance makes.
    """
    before = points.before
    if not math.isfinite(policy.critical_above):
        return np.zeros(len(before), np.bool_)
    margin = points.scores - points.threshold
    has_told = before["incidents"] > 0
    is_as_extreme = has_told & (margin >= before["peak_margin"])
    is_far: Bools = margin >= policy.far_above
    return is_far | is_as_extreme


def _transitions(
    after: DecisionState,
    points: Points,
    scored: _Scored,
    gap: F64,
    policy: AlertPolicy,
) -> _Transitions:
    """Decide what begins, returns, ends and gets worse."""
    before = points.before
    was_firing = scored.was_firing
    may_tell = ~points.is_negligible

    # The same small disturbance often returns soon, so the next incident waits.
    pause = np.maximum(policy.cooldown_ticks * after["tick"], gap)
    is_cooling = ~scored.is_far & (points.times < before["ended"] + pause)
    is_new_breach = scored.is_breach & ~was_firing
    is_due = is_new_breach & ~is_cooling
    begins = is_due & may_tell
    fires = begins & scored.is_confirmed

    # Peaks that follow each other closely are one incident, so its end waits.
    is_flapping = before["repeats"] >= _FLAPPING
    calm_ticks = np.where(is_flapping, _FLAPPING_CALM_TICKS, _CALM_TICKS)
    recovers = was_firing & _has_calmed(after, points, scored, calm_ticks)
    has_returned = scored.is_far & scored.is_confirmed & (before["has_calmed"] > 0)

    # No stream fires for ever, but slow ticks get the points to recover in.
    longest = np.maximum(policy.max_incident, _MIN_INCIDENT_TICKS * after["tick"])
    is_overdue = points.times - before["onset"] >= longest
    is_expired = was_firing & ~recovers & is_overdue
    ends = recovers | is_expired

    # Only what is no critical incident yet can get worse, so it escalates once.
    goes_on = was_firing & ~ends
    can_worsen = fires | (goes_on & (before["severity"] == Severity.WARNING))
    return _Transitions(
        is_held_back=is_new_breach & is_cooling,
        is_negligible=is_due & ~may_tell,
        begins=begins,
        fires=fires,
        returns=goes_on & has_returned & may_tell,
        recovers=recovers,
        is_expired=is_expired,
        ends=ends,
        is_firing=goes_on | fires,
        becomes_critical=can_worsen & (scored.is_critical | _is_grave(points, scored)),
    )


def _has_calmed(
    after: DecisionState,
    points: Points,
    scored: _Scored,
    ticks: int | npt.NDArray[np.intp],
) -> Bools:
    """Whether the score has been clear for enough points, and for ``ticks`` [B]."""
    calm_ends = after["last_above"] + ticks * after["tick"]
    return np.asarray(scored.is_calm & (points.times >= calm_ends))


def _is_grave(points: Points, scored: _Scored) -> Bools:
    """Whether a far score follows a critical incident: it is no less grave."""
    before = points.before
    was_critical = before["last_severity"] == Severity.CRITICAL
    is_recent = points.times - before["ended"] <= _GRAVE_MEMORY
    return np.asarray(scored.is_far & scored.is_confirmed & was_critical & is_recent)


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
    after: DecisionState, points: Points, scored: _Scored, moves: _Transitions
) -> None:
    """Count the incidents and returns that follow each other closely."""
    before = points.before
    is_told = moves.fires | moves.returns
    is_calm = _has_calmed(after, points, scored, _CALM_TICKS)
    has_calmed = (before["has_calmed"] > 0) | is_calm
    after["has_calmed"] = moves.is_firing & has_calmed & ~is_told
    if not is_told.any():
        return
    latest = before["ended"] + _CLOSE_TICKS * after["tick"]
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


def _reasons(points: Points, scored: _Scored, moves: _Transitions) -> U8:
    """The reason of each decision, uint8 [B]: the last line that applies."""
    table = (
        (points.is_warming, Reason.WARMING),
        (moves.is_held_back, Reason.COOLDOWN),
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


def run_length(before: U16, is_true: Bools) -> U16:
    """Length of the run of True that ends at this point, uint16 [B]; it saturates."""
    return np.where(is_true, one_more(before), 0).astype(np.uint16)


def one_more(count: U16) -> U16:
    """``count`` + 1, uint16 [B]; it saturates."""
    return np.minimum(count, _MAX_STREAK - 1) + np.uint16(1)
