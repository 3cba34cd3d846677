"""Ends incidents of streams that are scored in other units from here on.

A metric that turns out to be a counter was scored as a value until now. Its score
starts anew, and nobody can say how its incident went on: it merely ended.
"""

from __future__ import annotations

import numpy as np

from detector.alerting.decide import Decisions
from detector.events import F64, I64, Phase, Reason, Severity
from detector.state.decisions import DecisionState, fresh_decisions

# What alerts say of the incident, the stream's own interval, and its last point.
_KEPT = (
    "onset",
    "repeats",
    "repeats_since",
    "tick",
    "steps",
    "alarm_penalty",
    "last_digest",
)


def end_unfinished(
    decided: Decisions, before: DecisionState, times: F64, points: I64
) -> None:
    """The decisions about these ``points`` [k] of a wave of B, in place.

    ``before`` (DECISION [B]) is the state before the wave, and ``times`` [B] are event
    times.
    """
    was_firing = before["phase"][points] == Phase.FIRING
    rows = fresh_decisions(len(points))
    for name in _KEPT:
        rows[name] = decided.rows[name][points]
    rows["ended"] = np.where(was_firing, times[points], -np.inf)
    rows["severity"] = Severity.NONE
    decided.rows[points] = rows
    decided.phase[points] = Phase.WARMING
    decided.reason[points] = np.where(was_firing, Reason.ENDED, Reason.WARMING)
