"""Points that wait for their stream's next one, see :mod:`detector.state.point_order`.

Few streams hold a point at any time, so they are kept beside the table's columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from detector.distributions import Totals

#: Bytes of a held record's key and of its value that are kept for a dead letter.
KEPT = 4096


class HeldPoint(msgspec.Struct, frozen=True, array_like=True):
    """One point that is not scored yet, as it is kept in pages too.

    Attributes:
        time: event time in epoch seconds.
        offset: of its record.
        values: F numbers, NaN where missing.
        is_jump: it may be from the future.
        kinds: F numbers of a metric's kind; empty: unknown.
        starts: F times at which a counter began, NaN where unknown; empty: unknown.
        labels: of its stream.
        key, value: the first bytes of its record.
        totals: of means and quantiles of cumulative histograms, by metric.
    """

    time: float
    offset: int
    values: tuple[float, ...]
    is_jump: bool
    kinds: tuple[int, ...] = ()
    starts: tuple[float, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    key: bytes | None = None
    value: bytes | None = None
    totals: dict[int, Totals] = msgspec.field(default_factory=dict)


class StreamPast(msgspec.Struct, frozen=True, array_like=True):
    """What few streams remember, as it is kept in pages. New fields come last.

    Attributes:
        origin: event time before the last jump that was believed; inf: none.
        held: the point that waits, or None.
        totals: the last ones of means and quantiles of cumulative histograms, by
            metric.
    """

    origin: float = math.inf
    held: HeldPoint | None = None
    totals: dict[int, Totals] = msgspec.field(default_factory=dict)


NO_PAST = StreamPast()


@dataclass(slots=True)
class Pasts:
    """The streams of a table that have such a past, by their slots."""

    by_slot: dict[int, StreamPast] = field(default_factory=dict)
    holding: set[int] = field(default_factory=set)  # the slots of those with a point

    def of(self, slot: int) -> StreamPast:
        return self.by_slot.get(slot, NO_PAST)

    def put(self, slot: int, past: StreamPast) -> None:
        if past.held is None:
            self.holding.discard(slot)
        else:
            self.holding.add(slot)
        if past == NO_PAST:
            self.by_slot.pop(slot, None)
        else:
            self.by_slot[slot] = past

    def move(self, source: int, target: int) -> None:
        """The row at ``source`` is at ``target`` now, in place of another one."""
        past = self.of(source)
        self.forget([source])
        self.put(target, past)

    def forget(self, slots: Iterable[int]) -> None:
        """These rows are free."""
        for slot in slots:
            self.put(slot, NO_PAST)

    def at(self, slots: Iterable[int]) -> dict[int, StreamPast]:
        """Those of rows, by their place in ``slots``."""
        if not self.by_slot:
            return {}
        found = ((place, self.by_slot.get(slot)) for place, slot in enumerate(slots))
        return {place: past for place, past in found if past is not None}

    def fill(self, start: int, pasts: Mapping[int, StreamPast]) -> None:
        """Those of the rows of a page that begins at this slot."""
        for place, past in pasts.items():
            self.put(start + place, past)
