"""The decision state of a stream, as it is kept in the table and in pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: One stream's decision state. Times are event time in epoch seconds, -inf if there was
#: none; scores and their differences are those of the graph. Pages hold these bytes: a
#: change of the layout is a change of the schema
#: (:data:`detector.recovery.snapshot.SCHEMA`). Rows of a multiple of 8 bytes are
#: copied a third faster. The last two columns are 0 in rows of schema 9.
DECISION = np.dtype(
    [
        ("onset", "<f8"),  # first breach of the pending, open or last incident
        ("ended", "<f8"),  # end of the last incident
        ("last_above", "<f8"),  # when the score was last over the clearing threshold
        ("observed_seconds", "<f8"),  # time in which the stream could alert
        ("departed", "<f8"),  # when `metric` last left for where the incident found it
        ("repeats_since", "<f8"),  # onset of the first of the last `repeats` incidents
        ("steps", "<u4"),  # points so far
        ("incidents", "<u4"),  # incidents in the observed time
        ("tick", "<f4"),  # the stream's own interval in seconds; 0: not known yet
        ("alarm_penalty", "<f4"),  # score, what past incidents add to the threshold
        ("stream_offset", "<f4"),  # score, what the stream's own points add to it
        ("evidence", "<f4"),  # points that the stream offset rests on
        ("peak", "<f4"),  # score that the open or last incident has reached
        ("peak_margin", "<f4"),  # its largest distance over the threshold
        ("plateau", "<f4"),  # score that is no longer reported; -inf: none
        ("observed", "<f4"),  # value of `metric` when the incident fired; NaN: flatline
        ("expected", "<f4"),  # what was expected of it then
        ("breach_streak", "<u2"),  # points in a row over the threshold
        ("critical_streak", "<u2"),  # points in a row over the critical threshold
        ("clear_streak", "<u2"),  # points in a row under the clearing threshold
        ("metric", "<u2"),  # index of the feature that contributed most when it fired
        ("repeats", "<u2"),  # incidents and returns that followed each other closely
        ("back_streak", "<u2"),  # points in a row at which `metric` was back
        ("phase", "u1"),  # detector.events.Phase
        ("severity", "u1"),  # detector.events.Severity
        ("last_severity", "u1"),  # Severity of the last incident that ended
        ("has_calmed", "u1"),  # 1: it has been calm since the incident was last told
        ("shifted", "u1"),  # leading metrics, at most 2; 0: a flatline or a trend
        ("is_newcomer", "u1"),  # 1: a stream with a single point so far
        ("last_digest", "<u2"),  # of the last point's values, to tell a repetition
    ]
)

#: Points that a stream counts as having had if training knows it: never young.
KNOWN_STEPS = 1_000_000

DecisionState = npt.NDArray[np.void]

_OPAQUE = np.dtype(("V", DECISION.itemsize))


def opaque(rows: DecisionState) -> npt.NDArray[Any]:
    """The same memory as rows of bytes.

    numpy copies structured rows field by field, which is ten to twenty times as slow.
    """
    return rows.view(_OPAQUE)


def fresh_decisions(count: int, known: bool = False) -> DecisionState:
    """Decision rows of ``count`` streams without an incident.

    ``known``: training knows these streams, so they are not young.
    """
    rows = np.zeros(count, DECISION)
    rows["steps"] = KNOWN_STEPS if known else 0
    nothing_yet = (
        "onset",
        "ended",
        "last_above",
        "departed",
        "repeats_since",
        "plateau",
    )
    for never in nothing_yet:
        rows[never] = -np.inf
    return rows
