"""Rows of a page on their way between the table and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detector.events import F32, F64
from detector.state.decisions import DecisionState

#: What a record says about a stream beside its name: text by name, for alerts.
Labels = Mapping[str, str]
NO_LABELS: Labels = {}


@dataclass(frozen=True, slots=True)
class PageRows:
    """A copy of the rows of one page: n streams.

    Attributes:
        number: of the page, within its partition.
        offset: the partition's records before it have been applied to these rows.
        names: of the n streams.
        states: float32 [n, S].
        decisions: DECISION [n].
        times: float64 [n], event time of the last point; -inf: none yet.
        labels: of the n streams; empty: none has any.
    """

    number: int
    offset: int
    names: tuple[str, ...]
    states: F32
    decisions: DecisionState
    times: F64
    labels: tuple[Labels, ...] = ()
