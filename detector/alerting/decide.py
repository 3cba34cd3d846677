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

from detector.alerting.policy import Rules
from detector.alerting.thresholds import (
    MEMORY,
    by_chance,
    faded,
    for_age,
    for_tick_and_day,
    learned,
    spaced,
)
from detector.events import F32, F64, U8, Phase, Reason, Severity
from detector.state.decisions import DECISION, Decisions

_OPAQUE = np.dtype(("V", DECISION.itemsize))
_WARMING, _OK, _PENDING, _FIRING = (
    np.uint8(p) for p in (Phase.WARMING, Phase.OK, Phase.PENDING, Phase.FIRING)
)
# of numpy: an enum's member is looked up each time
_IS_WARMING = np.uint8(Reason.WARMING)
_IS_BELOW = np.uint8(Reason.BELOW_LEVEL)
Bools = npt.NDArray[np.bool_]
_SATURATED = np.iinfo(np.uint16).max
_MOST_STEPS = np.iinfo(np.uint32).max
_PEAK_FADES = 3600.0  # seconds: one outlier in an incident is not its plateau
# seconds in which an accepted plateau comes down to a score that came down
_PLATEAU_FADES = 86_400.0
_TICK_GAIN = 0.02
_LONGEST_GAP = 10  # ticks: a stream that fell silent for longer was not watched
# ticks that an incident lasts at least before it is accepted, where they are long
_SHORTEST_INCIDENT = 24


@dataclass(frozen=True, slots=True)
class Decided:
    """One wave's outcome: phase uint8 [B] and reason uint8 [B] after the step, the
    level float32 [B] that the score was held against, and the decision rows [B] to
    store.
    """

    phase: U8
    reason: U8
    level: F32
    rows: Decisions


def decide(
    rows: Decisions, times: F64, since: F64, scores: F32, rules: Rules
) -> Decided:
    """One step for B streams: ``rows`` [B] before it, event ``times`` [B], seconds
    ``since`` the previous point [B], ``scores`` [B].

    Pure: returns new rows.
    """
    # numpy copies a structured row field by field, twenty times as slow
    out = rows.view(_OPAQUE).copy().view(DECISION)
    steps = np.ascontiguousarray(rows["steps"])
    warming = steps < rules.warm_up
    tick = _followed(rows["tick"], steps, since)
    lift = np.where(
        steps == 0, np.float32(rules.start), faded(rows["lift"], since, MEMORY)
    )
    usually = rules.warning + rows["own"] + lift + standing(steps, tick, rules)
    level = np.maximum(usually, rows["plateau"]).astype(np.float32)
    over = scores >= level - np.float32(rules.hysteresis)

    out["steps"] = np.minimum(steps, _MOST_STEPS - 1) + 1
    out["tick"] = tick
    out["lift"] = lift
    out["watched"] += np.where(warming, 0.0, np.minimum(since, _LONGEST_GAP * tick))
    out["breaches"] = out["critical"] = out["calms"] = 0
    _learn(out, rows, scores, usually, rules)

    phase = np.where(warming, _WARMING, _OK)
    reason = np.where(warming, _IS_WARMING, _IS_BELOW)
    accepted = np.zeros(len(rows), np.bool_)
    busy = np.flatnonzero(over | (rows["phase"] > _OK))
    # nearly all streams are quiet at nearly every step, and then all is said
    if len(busy):
        most = (
            rules.spacing_most
            if np.ndim(rules.spacing_most) == 0
            else np.asarray(rules.spacing_most)[busy]
        )
        apart = spaced(rules.spacing, tick[busy], most)
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
    return Decided(phase, reason, level, out)


def _incidents(
    out: Decisions,
    rows: Decisions,
    apart: F64,
    times: F64,
    since: F64,
    scores: F32,
    level: F32,
    over: Bools,
    warming: Bools,
    rules: Rules,
) -> tuple[U8, Bools]:
    """Of streams that are near their level or in an incident, which ``out`` has the
    ticks of already: reasons, and whose incident was accepted.
    """
    was_firing = rows["phase"] == _FIRING
    breach = (scores >= level) & ~warming
    calm = ~over & ~warming

    breaches = _counted(rows["breaches"], breach)
    critical = _counted(
        rows["critical"],
        (scores >= level + np.float32(rules.critical_above)) & ~warming,
    )
    calms = _counted(rows["calms"], calm & was_firing)
    crossed = np.where(over, times, rows["crossed"])

    worse = scores - level >= np.maximum(
        rules.critical_above, rows["excess"] + rules.hysteresis
    )
    cooling = times < rows["ended"] + np.maximum(
        rules.cooldown * out["tick"], np.where(worse, 0.0, apart)
    )
    begins = breach & ~was_firing & ~cooling
    out["onset"] = np.where(begins & (rows["phase"] != _PENDING), times, rows["onset"])
    fired = begins & (breaches >= rules.breaches)
    recovered = was_firing & (calms >= rules.calms) & (times >= crossed + apart / 4)
    longest = np.maximum(rules.accept_after, _SHORTEST_INCIDENT * out["tick"])
    accepted = was_firing & ~recovered & (times - rows["onset"] >= longest)
    ends = recovered | accepted
    escalated = (
        was_firing
        & ~ends
        & (rows["severity"] == Severity.WARNING)
        & (critical >= rules.breaches)
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
    out["severity"][escalated | (fired & (critical >= rules.breaches))] = (
        Severity.CRITICAL
    )
    out["breaches"] = breaches
    out["critical"] = critical
    out["calms"] = calms
    out["crossed"] = crossed
    out["incidents"] += fired
    if ends.any():
        out["ended"] = np.where(ends, times, rows["ended"])
        out["lift"] += np.where(
            ends,
            np.float32(rules.lift) * by_chance(rows["excess"], rules.scale),
            np.float32(0),
        )
    _follow_peaks(out, rows, scores, since, fired, level)
    return reason, accepted


def standing(steps: npt.NDArray[np.uint32], tick: F64, rules: Rules) -> F64:
    """What a stream's tick [B] and age [B] move its level by."""
    moved = for_tick_and_day(
        tick, rules.tick, steps * tick, rules.first_day, rules.scale
    )
    if rules.ages and (steps < rules.ages[-1]).any():
        moved = moved + for_age(
            steps.astype(np.float64), np.array(rules.ages), np.array(rules.offsets)
        )
    return moved


def _learn(
    out: Decisions, rows: Decisions, scores: F32, usually: F64, rules: Rules
) -> None:
    """The stream's own evidence, from points that are no part of an incident."""
    if not np.isnan(rules.usual):
        counts = (
            (rows["steps"] >= rules.warm_up)
            & (rows["phase"] != _FIRING)
            & (scores < usually - rules.hysteresis)
        )
        out["own"], out["evidence"] = learned(
            rows["own"], rows["evidence"], scores, counts, rules.usual, rules.scale
        )


def _follow_peaks(
    out: Decisions, rows: Decisions, scores: F32, since: F64, fired: Bools, level: F32
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
        out["excess"] = np.where(
            fired,
            excess,
            np.where(during, np.maximum(rows["excess"], excess), rows["excess"]),
        )


def _follow_plateaus(
    out: Decisions,
    rows: Decisions,
    scores: F32,
    since: F64,
    accepted: Bools,
    usually: F64,
    rules: Rules,
) -> None:
    """The plateau where one was accepted, which holds while the score is there and then
    comes down.
    """
    standing = np.isfinite(rows["plateau"])
    if standing.any() or accepted.any():
        stood = np.where(standing, rows["plateau"], scores)
        lower = scores + faded(stood - scores, since, _PLATEAU_FADES)
        stands = np.where(scores < usually - rules.hysteresis, lower, stood)
        stands = np.where(
            accepted, out["peak"] + np.float32(2 * rules.hysteresis), stands
        )
        out["plateau"] = np.where(
            (standing | accepted) & (stands > usually), stands, -np.inf
        )


def _followed(tick: F32, steps: npt.NDArray[np.uint32], since: F64) -> F64:
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


def _counted(before: npt.NDArray[np.uint16], now: Bools) -> npt.NDArray[np.uint16]:
    """Length of the run of True that ends at this step, saturating."""
    return np.where(now, np.minimum(before, _SATURATED - 1) + 1, 0).astype(np.uint16)
