"""Rows of a page on their way between the table and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern

import numpy as np

from detector.events import F32, F64, I64, Labels
from detector.state.counters import CounterRows, no_counters
from detector.state.decisions import DECISION, DecisionState
from detector.state.held_points import StreamPast

NO_LABELS: Labels = {}


def shared_labels(labels: Labels) -> Labels:
    """The same labels; each text is in memory once, whichever streams have it."""
    return {intern(name): intern(value) for name, value in labels.items()}


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
        counters: COUNTER [n, F], of their metrics; [n, 0] if none is kept.
        pasts: of the streams that hold a point or remember a jump, by their place.
    """

    number: int
    offset: int
    names: tuple[str, ...]
    states: F32
    decisions: DecisionState
    times: F64
    labels: tuple[Labels, ...] = ()
    counters: CounterRows = field(default_factory=no_counters)
    pasts: Mapping[int, StreamPast] = field(default_factory=dict)

    @property
    def latest(self) -> float:
        """Event time of the last point of any of the streams; -inf: there is none."""
        held = [past.held.time for past in self.pasts.values() if past.held]
        return max([float(self.times.max(initial=-np.inf)), *held])

    def take(self, places: I64) -> PageRows:
        """The rows at these places, int64 [k]."""
        chosen = places.tolist()
        return PageRows(
            number=self.number,
            offset=self.offset,
            names=tuple(self.names[i] for i in chosen),
            states=self.states[places],
            decisions=self.decisions[places],
            times=self.times[places],
            labels=tuple(self.labels[i] for i in chosen) if self.labels else (),
            counters=self.counters[places] if self.counters.size else self.counters,
            pasts={k: self.pasts[i] for k, i in enumerate(chosen) if i in self.pasts},
        )


def empty_rows(number: int, offset: int, width: int) -> PageRows:
    """A page without streams; ``width`` is the state size S."""
    return PageRows(
        number=number,
        offset=offset,
        names=(),
        states=np.empty((0, width), np.float32),
        decisions=np.empty(0, DECISION),
        times=np.empty(0),
    )
