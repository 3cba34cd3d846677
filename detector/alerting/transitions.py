"""Which incidents begin, end and get worse: the state machine of a stream.

Its rules are stated in :mod:`detector.alerting.decide`, which steps it for those
streams of a wave that are near their threshold or in an incident.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import Bools, false_alarm_weight
from detector.events import F32, F64, U8, Phase, Reason, Severity
from detector.state.decisions import DECISION, DecisionState, opaque
from detector.timestamps import HOUR

U16 = npt.NDArray[np.uint16]

# Seconds in which the peak of an incident follows a lower score. By judgement: long
# enough to be the plateau, short enough that one outlier is not.
_PEAK_MEMORY = HOUR

# Ticks. The shortest time to acceptance, so that streams with slow ticks can recover.
_MIN_INCIDENT_TICKS = 24

# Share of the minimum gap in which peaks belong to one incident.
_BURST_SHARE = 1 / 4

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
    """

    before: DecisionState
    times: F64
    since: F64
    scores: F32
    tick: F64
    threshold: F32
    is_above: Bools
    is_warming: Bools

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
        )


@dataclass(frozen=True, slots=True)
class _Scored:
    """How the score of each of B streams compares, bool [B] each.

    Attributes:
        was_firing: an incident was open before the point.
        is_breach: the score is at or over the threshold.
        is_clearing: in an incident, the score is under the clearing threshold.
        is_confirmed: it has been at or over the threshold for long enough to fire.
        is_critical: it has been at or over the critical threshold for as long.
        is_calm: it has been under the clearing threshold for long enough to recover.
    """

    was_firing: Bools
    is_breach: Bools
    is_clearing: Bools
    is_confirmed: Bools
    is_critical: Bools
    is_calm: Bools


@dataclass(frozen=True, slots=True)
class _Transitions:
    """What happens to the incident of each of B streams, bool [B] each.

    Attributes:
        is_held_back: a breach too soon after the last incident.
        begins: an incident is pending from here on, or fires.
        fires: the breach has lasted long enough.
        recovers: the score has been clear long enough.
        is_accepted: it lasted so long that it is the new normal.
        ends: it recovers or is accepted.
        is_firing: an incident is open after the point.
        escalates: a warning becomes critical.
    """

    is_held_back: Bools
    begins: Bools
    fires: Bools
    recovers: Bools
    is_accepted: Bools
    ends: Bools
    is_firing: Bools
    escalates: Bools


def step_incidents(
    after: DecisionState, points: Points, gap: F64, policy: AlertPolicy
) -> tuple[U8, Bools]:
    """Step the state machine: reasons uint8 [B], and which incidents are accepted.

    ``after`` (DECISION [B]) has the new tick and penalty already; the rest is stored in
    it. ``gap`` [B] is the seconds from the end of an incident to the next one.
    """
    scored = _count_streaks(after, points, policy)
    moves = _transitions(after, points, scored, gap, policy)
    _store(after, points, scored, moves)
    if moves.ends.any():
        _close(after, points, moves, policy)
    is_open = moves.fires | scored.was_firing
    if is_open.any():
        _follow_peaks(after, points, is_open, moves.fires)
    return _reasons(points, scored, moves), moves.is_accepted


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
        is_clearing=is_clearing,
        is_confirmed=breach_streak >= policy.breach_steps,
        is_critical=critical_streak >= policy.breach_steps,
        is_calm=clear_streak >= policy.clear_steps,
    )


def _transitions(
    after: DecisionState,
    points: Points,
    scored: _Scored,
    gap: F64,
    policy: AlertPolicy,
) -> _Transitions:
    """Decide what begins, ends and gets worse."""
    before = points.before
    was_firing = scored.was_firing

    # The same disturbance often returns soon, so the next incident waits.
    is_cooling = points.times < _earliest_next(after, points, gap, policy)
    is_new_breach = scored.is_breach & ~was_firing
    begins = is_new_breach & ~is_cooling
    fires = begins & scored.is_confirmed

    # Peaks that follow each other closely are one incident, so its end waits.
    burst_ends = after["last_above"] + gap * _BURST_SHARE
    recovers = was_firing & scored.is_calm & (points.times >= burst_ends)

    # No stream fires for ever, but slow ticks get the points to recover in.
    longest = np.maximum(policy.max_incident, _MIN_INCIDENT_TICKS * after["tick"])
    is_overdue = points.times - before["onset"] >= longest
    is_accepted = was_firing & ~recovers & is_overdue
    ends = recovers | is_accepted

    # Only an open warning can get worse, so an incident escalates once.
    goes_on = was_firing & ~ends
    is_warning = goes_on & (before["severity"] == Severity.WARNING)
    return _Transitions(
        is_held_back=is_new_breach & is_cooling,
        begins=begins,
        fires=fires,
        recovers=recovers,
        is_accepted=is_accepted,
        ends=ends,
        is_firing=goes_on | fires,
        escalates=is_warning & scored.is_critical,
    )


def _earliest_next(
    after: DecisionState, points: Points, gap: F64, policy: AlertPolicy
) -> F64:
    """Event time before which no incident begins, float64 [B].

    A critical score that is worse than the last incident need not wait for the gap.
    """
    before = points.before
    last_margin = before["peak_margin"] + policy.hysteresis
    margin = points.scores - points.threshold
    is_worse = margin >= np.maximum(policy.critical_above, last_margin)
    cooldown = policy.cooldown_ticks * after["tick"]
    pause = np.maximum(cooldown, np.where(is_worse, 0.0, gap))
    return np.asarray(before["ended"] + pause)


def _store(
    after: DecisionState, points: Points, scored: _Scored, moves: _Transitions
) -> None:
    """Phase, severity, onset and number of incidents."""
    before = points.before
    otherwise = np.where(points.is_warming, WARMING, OK)
    calm_or_pending = np.where(moves.begins, PENDING, otherwise)
    after["phase"] = np.where(moves.is_firing, FIRING, calm_or_pending)

    at_least_warning = np.maximum(before["severity"], Severity.WARNING)
    after["severity"] = np.where(moves.is_firing, at_least_warning, Severity.NONE)
    fires_critical = moves.fires & scored.is_critical
    after["severity"][moves.escalates | fires_critical] = Severity.CRITICAL

    is_first_breach = moves.begins & (before["phase"] != PENDING)
    after["onset"] = np.where(is_first_breach, points.times, before["onset"])
    after["incidents"] += moves.fires


def _close(
    after: DecisionState, points: Points, moves: _Transitions, policy: AlertPolicy
) -> None:
    """Note when incidents ended, and raise the thresholds of their streams."""
    before = points.before
    after["ended"] = np.where(moves.ends, points.times, before["ended"])
    weight = false_alarm_weight(before["peak_margin"], policy.score_scale)
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
        (moves.begins, Reason.UNCONFIRMED),
        (scored.was_firing, Reason.STILL_FIRING),
        (scored.is_clearing, Reason.CLEARING),
        (moves.fires, Reason.FIRED),
        (moves.escalates, Reason.ESCALATED),
        (moves.recovers, Reason.RECOVERED),
        (moves.is_accepted, Reason.ACCEPTED),
    )
    reasons = np.full(len(points.times), _IS_BELOW)
    for applies, reason in table:
        reasons[applies] = reason
    return reasons


def run_length(before: U16, is_true: Bools) -> U16:
    """Length of the run of True that ends at this point, uint16 [B]; it saturates."""
    longer = np.minimum(before, _MAX_STREAK - 1) + 1
    return np.where(is_true, longer, 0).astype(np.uint16)
