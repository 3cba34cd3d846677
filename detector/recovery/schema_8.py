"""Reads pages, heads and segments of schema 8.

Schema 9 has more columns in the decision rows, and more fields in alerts, which have
defaults. What schema 10 added has defaults too (:mod:`detector.recovery.schema_9`). All
else keeps its layout.

A start writes all of them anew, in an edition of this schema
(:mod:`detector.recovery.editions`), and leaves them where they are. When no supported
upgrade starts from schema 8 any more, delete this module, its test and its test data.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np

from detector.recovery import snapshot
from detector.recovery.snapshot import Head, Page, Segment
from detector.state.decisions import fresh_decisions

SCHEMA = 8

#: One decision row, as it was then.
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

_Stored = TypeVar("_Stored", Page, Head, Segment)


def decode(body: bytes, kind: type[_Stored]) -> _Stored:
    """``body`` in today's form. Raises msgspec.DecodeError if it has another shape."""
    stored = msgspec.msgpack.decode(body, type=kind)
    now = msgspec.structs.replace(stored, schema=snapshot.SCHEMA)
    if isinstance(now, Page):
        return msgspec.structs.replace(now, decisions=_decisions(now.decisions))
    return now


def _decisions(then: bytes) -> bytes:
    """Each incident so far counts as the first of its kind."""
    rows = np.frombuffer(then, DECISION)
    now = fresh_decisions(len(rows))
    for name in DECISION.names or ():
        now[name] = rows[name]
    has_fired = rows["incidents"] > 0
    now["repeats"] = has_fired
    now["repeats_since"] = np.where(has_fired, rows["onset"], -np.inf)
    now["departed"] = rows["onset"]
    # a flatline was kept as NaN
    now["shifted"] = ~np.isnan(rows["observed"])
    return now.tobytes()
