"""From a score to a decision: whole waves at once, no Python object until something changes.

Theory of operation. Each stream walks ok -> pending -> firing -> ok. It is *pending* from the first score at or over the
level, *firing* once ``breaches`` steps in a row were, and recovers when ``calms`` steps in a row were under the clearing level,
which lies ``hysteresis`` below the level so that a score that hovers does not flap. For ``cooldown`` seconds of event time
after an incident ended no new one begins. An incident starts at the event time of its first breach. It is a warning at the level
of the operator's budget and critical at the level of a tenth of it; it escalates at most once and never de-escalates.

The same table is used where the levels are learned: calibration runs :func:`decide` over held-out scores at many levels and
counts the incidents it opens, so that a level means what the daemon will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64, U8, Phase, Reason, Severity

#: One stream's decision state. ``steps`` counts points up to the warm-up, ``onset`` and ``ended`` are event time in seconds.
DECISION = np.dtype(
    [
        ("steps", "<u4"),
        ("phase", "u1"),
        ("severity", "u1"),
        ("breaches", "<u2"),
        ("critical", "<u2"),
        ("calms", "<u2"),
        ("onset", "<f8"),
        ("ended", "<f8"),
    ]
)
Decisions = npt.NDArray[np.void]
_SATURATED = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Rules:
    """Levels and counts of the state machine; scores are those of the graph.

    Calibration, which tries many levels at once, hands :func:`decide` scores from which each column's level has been subtracted.
    """

    warning: float
    critical: float
    clear: float
    breaches: int
    calms: int
    cooldown: float
    warm_up: int


@dataclass(frozen=True, slots=True)
class Decided:
    """One wave's outcome: phase uint8 [B] and reason uint8 [B] after the step, and the decision rows [B] to store."""

    phase: U8
    reason: U8
    rows: Decisions


def fresh(count: int, steps: int = 0) -> Decisions:
    """Decision rows of ``count`` streams that have seen ``steps`` points and no incident."""
    rows = np.zeros(count, DECISION)
    rows["steps"] = steps
    rows["onset"] = rows["ended"] = -np.inf
    return rows


def decide(rows: Decisions, times: F64, scores: F32, rules: Rules) -> Decided:
    """One step for B streams: ``rows`` [B] before it, event ``times`` [B], ``scores`` [B]. Pure: returns new rows."""
    out = rows.copy()
    out["steps"] = np.minimum(rows["steps"], rules.warm_up) + 1
    warming = rows["steps"] < rules.warm_up
    breach = (scores >= rules.warning) & ~warming
    calm = (scores < rules.clear) & ~warming
    was_firing = rows["phase"] == Phase.FIRING

    breaches = _counted(rows["breaches"], breach)
    critical = _counted(rows["critical"], (scores >= rules.critical) & ~warming)
    calms = _counted(rows["calms"], calm & was_firing)

    cooling = times < rows["ended"] + rules.cooldown
    begins = breach & ~was_firing & ~cooling
    out["onset"] = np.where(begins & (rows["phase"] != Phase.PENDING), times, rows["onset"])
    fired = begins & (breaches >= rules.breaches)
    recovered = was_firing & (calms >= rules.calms)
    escalated = was_firing & ~recovered & (rows["severity"] == Severity.WARNING) & (critical >= rules.breaches)
    firing = (was_firing & ~recovered) | fired

    phase = np.full(len(rows), Phase.OK, np.uint8)
    phase[warming] = Phase.WARMING
    phase[begins] = Phase.PENDING
    phase[firing] = Phase.FIRING

    reason = np.full(len(rows), Reason.BELOW_LEVEL, np.uint8)
    reason[warming] = Reason.WARMING
    reason[breach & ~was_firing & cooling] = Reason.COOLDOWN
    reason[begins] = Reason.UNCONFIRMED
    reason[was_firing] = Reason.STILL_FIRING
    reason[was_firing & calm] = Reason.CLEARING
    reason[fired] = Reason.FIRED
    reason[escalated] = Reason.ESCALATED
    reason[recovered] = Reason.RECOVERED

    severity = np.where(firing, np.maximum(rows["severity"], Severity.WARNING), Severity.NONE)
    severity[escalated | (fired & (critical >= rules.breaches))] = Severity.CRITICAL
    out["phase"], out["severity"] = phase, severity
    out["breaches"], out["critical"], out["calms"] = breaches, critical, calms
    out["ended"] = np.where(recovered, times, rows["ended"])
    return Decided(phase, reason, out)


def _counted(before: npt.NDArray[np.uint16], now: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """Length of the run of True that ends at this step, saturating."""
    return np.where(now, np.minimum(before, _SATURATED - 1) + 1, 0).astype(np.uint16)
