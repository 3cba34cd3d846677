"""From a score to a decision: whole waves at once, no Python object until something
changes.

Theory of operation. Each stream walks ok -> pending -> firing -> ok. It is *pending*
from the first score at or over its level (:mod:`detector.alerting.thresholds`),
*firing* once ``breaches`` steps in a row were, and recovers when ``calms`` steps in a
row were under the clearing level, which lies ``hysteresis`` below the level so that a
score that hovers does not flap, and a quarter of the spacing passed since it was last
over it, so that what comes in bursts is one incident. A new one begins ``cooldown``
ticks of event time and the spacing after the last one ended at the earliest: what
follows so soon is most often the same thing met again, such as a shift that the hours
of the day have yet to learn. But what is worse than the last incident, and critical, is
told within the spacing, too: a small incident must not hide the outage after it. An
incident starts at the event time of its first breach. It is a warning at the level of
the operator's budget and critical at the level of a tenth of it; it escalates at most
once and never de-escalates. Ticks are the stream's own, followed in its row.

No stream fires for ever: an incident that lasts for ``accept_after`` seconds is over,
the state it is in accepted as the new normal. The stream's level then stands above the
plateau that the score reached, until the score comes down.

The same table is used where the levels are learned: calibration runs :func:`decide`
over held-out scores at many levels and counts the incidents it opens, so that a level
means what the daemon will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import (
    PENALTY_MEMORY,
    decay,
    false_alarm_weight,
    learn_offset,
    min_gap,
    offset_for_age,
    offset_for_tick_and_day,
)
from detector.events import F32, F64, U8, Phase, Reason, Severity
from detector.state.decisions import DECISION, DecisionState
from detector.timestamps import DAY

_OPAQUE = np.dtype(("V", DECISION.itemsize))
_WARMING, _OK, _PENDING, _FIRING = (
    np.uint8(p) for p in (Phase.WARMING, Phase.OK, Phase.PENDING, Phase.FIRING)
)
# of numpy: an enum's member is looked up each time
_IS_WARMING = np.uint8(Reason.WARMING)
_IS_BELOW = np.uint8(Reason.BELOW_THRESHOLD)
Bools = npt.NDArray[np.bool_]
_SATURATED = np.iinfo(np.uint16).max
_MOST_STEPS = np.iinfo(np.uint32).max
_PEAK_FADES = 3600.0  # seconds: one outlier in an incident is not its plateau
# seconds in which an accepted plateau comes down to a score that came down
_PLATEAU_FADES = DAY
_TICK_GAIN = 0.02
_LONGEST_GAP = 10  # ticks: a stream that fell silent for longer was not watched
# ticks that an incident lasts at least before it is accepted, where they are long
_SHORTEST_INCIDENT = 24


@dataclass(frozen=True, slots=True)
class Decisions:
    """One wave's outcome: phase uint8 [B] and reason uint8 [B] after the step, the
    level float32 [B] that the score was held against, and the decision rows [B] to
    store.
    """

    phase: U8
    reason: U8
    threshold: F32
    rows: DecisionState


def decide(
    rows: DecisionState, times: F64, since: F64, scores: F32, rules: AlertPolicy
) -> Decisions:
    """One step for B streams: ``rows`` [B] before it, event ``times`` [B], seconds
    ``since`` the previous point [B], ``scores`` [B].

    Pure: returns new rows.
    """
    # numpy copies a structured row field by field, twenty times as slow
    out = rows.view(_OPAQUE).copy().view(DECISION)
    steps = np.ascontiguousarray(rows["steps"])
    warming = steps < rules.warm_up
    tick = track_interval(rows["tick"], steps, since)
    lift = np.where(
        steps == 0,
        np.float32(rules.initial_penalty),
        decay(rows["alarm_penalty"], since, PENALTY_MEMORY),
    )
    usually = (
        rules.warning + rows["stream_offset"] + lift + base_offset(steps, tick, rules)
    )
    level = np.maximum(usually, rows["plateau"]).astype(np.float32)
    over = scores >= level - np.float32(rules.hysteresis)

    out["steps"] = np.minimum(steps, _MOST_STEPS - 1) + 1
    out["tick"] = tick
    out["alarm_penalty"] = lift
    out["observed_seconds"] += np.where(
        warming, 0.0, np.minimum(since, _LONGEST_GAP * tick)
    )
    out["breach_streak"] = out["critical_streak"] = out["clear_streak"] = 0
    _learn(out, rows, scores, usually, rules)

    phase = np.where(warming, _WARMING, _OK)
    reason = np.where(warming, _IS_WARMING, _IS_BELOW)
    accepted = np.zeros(len(rows), np.bool_)
    busy = np.flatnonzero(over | (rows["phase"] > _OK))
    # nearly all streams are quiet at nearly every step, and then all is said
    if len(busy):
        most = (
            rules.max_gap
            if np.ndim(rules.max_gap) == 0
            else np.asarray(rules.max_gap)[busy]
        )
        apart = min_gap(rules.min_gap, tick[busy], most)
        before = rows.view(_OPAQUE)[busy].view(DECISION)
        moved = out.view(_OPAQUE)[busy].view(DECISION)
        reason[busy], accepted[busy] = _incidents(
            moved,
            before,
            apart,
            times[busy],
            since[busy],
            scores[busy],
            level[busy],
            over[busy],
            warming[busy],
            rules,
        )
        out.view(_OPAQUE)[busy] = moved.view(_OPAQUE)
        phase[busy] = moved["phase"]
    out["phase"] = phase
    _follow_plateaus(out, rows, scores, since, accepted, usually, rules)
    return Decisions(phase, reason, level, out)


def _incidents(
    out: DecisionState,
    rows: DecisionState,
    apart: F64,
    times: F64,
    since: F64,
    scores: F32,
    level: F32,
    over: Bools,
    warming: Bools,
    rules: AlertPolicy,
) -> tuple[U8, Bools]:
    """Of streams that are near their level or in an incident, which ``out`` has the
    ticks of already: reasons, and whose incident was accepted.
    """
    was_firing = rows["phase"] == _FIRING
    breach = (scores >= level) & ~warming
    calm = ~over & ~warming

    breaches = run_length(rows["breach_streak"], breach)
    critical = run_length(
        rows["critical_streak"],
        (scores >= level + np.float32(rules.critical_above)) & ~warming,
    )
    calms = run_length(rows["clear_streak"], calm & was_firing)
    crossed = np.where(over, times, rows["last_above"])

    worse = scores - level >= np.maximum(
        rules.critical_above, rows["peak_margin"] + rules.hysteresis
    )
    cooling = times < rows["ended"] + np.maximum(
        rules.cooldown_ticks * out["tick"], np.where(worse, 0.0, apart)
    )
    begins = breach & ~was_firing & ~cooling
    out["onset"] = np.where(begins & (rows["phase"] != _PENDING), times, rows["onset"])
    fired = begins & (breaches >= rules.breach_steps)
    recovered = (
        was_firing & (calms >= rules.clear_steps) & (times >= crossed + apart / 4)
    )
    longest = np.maximum(rules.max_incident, _SHORTEST_INCIDENT * out["tick"])
    accepted = was_firing & ~recovered & (times - rows["onset"] >= longest)
    ends = recovered | accepted
    escalated = (
        was_firing
        & ~ends
        & (rows["severity"] == Severity.WARNING)
        & (critical >= rules.breach_steps)
    )
    firing = (was_firing & ~ends) | fired

    out["phase"] = np.where(
        firing, _FIRING, np.where(begins, _PENDING, np.where(warming, _WARMING, _OK))
    )
    reason = np.full(len(rows), _IS_BELOW)
    for where, why in (
        (warming, Reason.WARMING),
        (breach & ~was_firing & cooling, Reason.COOLDOWN),
        (begins, Reason.UNCONFIRMED),
        (was_firing, Reason.STILL_FIRING),
        (was_firing & calm, Reason.CLEARING),
        (fired, Reason.FIRED),
        (escalated, Reason.ESCALATED),
        (recovered, Reason.RECOVERED),
        (accepted, Reason.ACCEPTED),
    ):
        reason[where] = why

    out["severity"] = np.where(
        firing, np.maximum(rows["severity"], Severity.WARNING), Severity.NONE
    )
    out["severity"][escalated | (fired & (critical >= rules.breach_steps))] = (
        Severity.CRITICAL
    )
    out["breach_streak"] = breaches
    out["critical_streak"] = critical
    out["clear_streak"] = calms
    out["last_above"] = crossed
    out["incidents"] += fired
    if ends.any():
        out["ended"] = np.where(ends, times, rows["ended"])
        out["alarm_penalty"] += np.where(
            ends,
            np.float32(rules.alarm_penalty)
            * false_alarm_weight(rows["peak_margin"], rules.score_scale),
            np.float32(0),
        )
    _follow_peaks(out, rows, scores, since, fired, level)
    return reason, accepted


def base_offset(steps: npt.NDArray[np.uint32], tick: F64, rules: AlertPolicy) -> F64:
    """What a stream's tick [B] and age [B] move its level by."""
    moved = offset_for_tick_and_day(
        tick, rules.tick, steps * tick, rules.first_day_offset, rules.score_scale
    )
    if rules.cold_start_ages and (steps < rules.cold_start_ages[-1]).any():
        moved = moved + offset_for_age(
            steps.astype(np.float64),
            np.array(rules.cold_start_ages),
            np.array(rules.cold_start_offsets),
        )
    return moved


def _learn(
    out: DecisionState,
    rows: DecisionState,
    scores: F32,
    usually: F64,
    rules: AlertPolicy,
) -> None:
    """The stream's own evidence, from points that are no part of an incident."""
    if not np.isnan(rules.reference_score):
        counts = (
            (rows["steps"] >= rules.warm_up)
            & (rows["phase"] != _FIRING)
            & (scores < usually - rules.hysteresis)
        )
        out["stream_offset"], out["evidence"] = learn_offset(
            rows["stream_offset"],
            rows["evidence"],
            scores,
            counts,
            rules.reference_score,
            rules.score_scale,
        )


def _follow_peaks(
    out: DecisionState,
    rows: DecisionState,
    scores: F32,
    since: F64,
    fired: Bools,
    level: F32,
) -> None:
    """How high the score of open incidents stands, and how far over its level it stood
    at most.
    """
    during = fired | (rows["phase"] == _FIRING)
    if during.any():
        fades = (1 - np.exp(-since / _PEAK_FADES)).astype(np.float32)
        peak = np.where(
            scores >= rows["peak"],
            scores,
            rows["peak"] + fades * (scores - rows["peak"]),
        )
        out["peak"] = np.where(fired, scores, np.where(during, peak, rows["peak"]))
        excess = scores - level
        out["peak_margin"] = np.where(
            fired,
            excess,
            np.where(
                during, np.maximum(rows["peak_margin"], excess), rows["peak_margin"]
            ),
        )


def _follow_plateaus(
    out: DecisionState,
    rows: DecisionState,
    scores: F32,
    since: F64,
    accepted: Bools,
    usually: F64,
    rules: AlertPolicy,
) -> None:
    """The plateau where one was accepted, which holds while the score is there and then
    comes down.
    """
    standing = np.isfinite(rows["plateau"])
    if standing.any() or accepted.any():
        stood = np.where(standing, rows["plateau"], scores)
        lower = scores + decay(stood - scores, since, _PLATEAU_FADES)
        stands = np.where(scores < usually - rules.hysteresis, lower, stood)
        stands = np.where(
            accepted, out["peak"] + np.float32(2 * rules.hysteresis), stands
        )
        out["plateau"] = np.where(
            (standing | accepted) & (stands > usually), stands, -np.inf
        )


def track_interval(tick: F32, steps: npt.NDArray[np.uint32], since: F64) -> F64:
    """Each stream's tick interval [B] in seconds after one more point: a running mean
    that a gap moves little.

    What stands in for the time since a point before the first is forgotten.
    """
    held = np.clip(since, 0.5 * tick, 2.0 * tick)
    return np.where(
        (tick == 0) | (steps <= 1),
        since,
        tick + np.maximum(1.0 / (steps + 1.0), _TICK_GAIN) * (held - tick),
    )


def run_length(before: npt.NDArray[np.uint16], now: Bools) -> npt.NDArray[np.uint16]:
    """Length of the run of True that ends at this step, saturating."""
    return np.where(now, np.minimum(before, _SATURATED - 1) + 1, 0).astype(np.uint16)
