"""Rows of a page on their way between the table and the store."""

from __future__ import annotations

from dataclasses import dataclass

from detector.events import F32, F64
from detector.state.decisions import DecisionState


@dataclass(frozen=True, slots=True)
class PageRows:
    """The rows of one page, copied out of the table or to be copied in: n streams.

    Attributes:
        states: float32 [n, S]. decisions: DECISION [n]. times: float64 [n], event time
            of the last point (-inf: none yet).
        offset: the partition's records before this offset have been applied to these
            rows.
    """

    number: int
    offset: int
    names: tuple[str, ...]
    states: F32
    decisions: DecisionState
    times: F64
