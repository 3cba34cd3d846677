"""decisions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: One stream's decision state; times are event time in seconds, scores those of the
#: graph. ``onset`` of the incident, ``ended`` when the last one ended, ``crossed`` when
#: it was last over the clearing level; ``watched`` seconds in which it could alert, and
#: ``incidents`` in them; ``tick``, its own interval in seconds; ``lift``, ``own`` and
#: its ``evidence``, ``peak`` of the score in an incident and its ``excess`` over the
#: level at most, accepted ``plateau`` (-inf: none) as in
#: :mod:`detector.alerting.thresholds`; ``metric``, ``seen`` and ``meant`` of the last
#: incident as in
#: :mod:`detector.alerting.resolution`.
DECISION = np.dtype(
    [
        ("onset", "<f8"),
        ("ended", "<f8"),
        ("last_above", "<f8"),
        ("observed_seconds", "<f8"),
        ("steps", "<u4"),
        ("incidents", "<u4"),
        ("tick", "<f4"),
        ("alarm_penalty", "<f4"),
        ("stream_offset", "<f4"),
        ("evidence", "<f4"),
        ("peak", "<f4"),
        ("peak_margin", "<f4"),
        ("plateau", "<f4"),
        ("observed", "<f4"),
        ("expected", "<f4"),
        ("breach_streak", "<u2"),
        ("critical_streak", "<u2"),
        ("clear_streak", "<u2"),
        ("metric", "<u2"),
        ("phase", "u1"),
        ("severity", "u1"),
    ]
)
#: Steps that a stream counts as having had that training knows.
KNOWN_STEPS = 1_000_000
DecisionState = npt.NDArray[np.void]


def fresh_decisions(count: int, known: bool = False) -> DecisionState:
    """Decision rows of ``count`` streams that have had no incident: new ones, or such
    that training knows.
    """
    rows = np.zeros(count, DECISION)
    rows["steps"] = KNOWN_STEPS if known else 0
    rows["onset"] = rows["ended"] = rows["last_above"] = rows["plateau"] = -np.inf
    return rows
