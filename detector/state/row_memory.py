"""The memory of the stream table: a few contiguous arrays that grow by pages."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64, I64, Labels, Phase
from detector.state.counter_column import CounterColumn
from detector.state.counter_defaults import NO_COUNTERS, CounterDefaults
from detector.state.decisions import (
    DECISION,
    DecisionState,
    fresh_decisions,
    opaque,
)
from detector.state.held_points import NO_PAST, Pasts
from detector.state.page_rows import NO_LABELS, PageRows, shared_labels

PAGE_BITS = 8
PAGE = 1 << PAGE_BITS  # rows

# Pages that the memory grows by at least, and the share of its size.
_MIN_GROWTH = 4
_GROWTH_SHARE = 4

Slots = npt.NDArray[np.int64]
_Element = TypeVar("_Element", bound=np.generic)


class RowMemory:
    """Rows in pages, free or in use. A slot is the index of a row.

    Attributes:
        names: of each row's stream; "" if the row is free.
        states: float32 [rows, S].
        decisions: DECISION [rows].
        times: float64 [rows], event time of the last point; -inf: none yet.
        touched: float64 [rows], monotonic seconds at which a point was last applied.
        zones: int16 [rows], numbers of the streams' time zones.
        labels: of each row's stream.
        counters: of each row's metrics.
        pasts: of the streams that hold a point or remember a jump.
        page_applied: int64 [pages], the records before it are applied to all rows.
        page_dirty: bool [pages], the page has changed since it was last copied.
    """

    def __init__(
        self,
        state_size: int,
        max_rows: int,
        new_counters: CounterDefaults = NO_COUNTERS,
    ) -> None:
        self.limit(max_rows)
        self._free: list[int] = []
        self.names: list[str] = []
        self.states: F32 = np.empty((0, state_size), np.float32)
        self.decisions: DecisionState = np.empty(0, DECISION)
        self.times: F64 = np.empty(0)
        self.touched: F64 = np.empty(0)
        self.zones: npt.NDArray[np.int16] = np.empty(0, np.int16)
        self.labels: list[Labels] = []
        self.counters = CounterColumn(new_counters)
        self.pasts = Pasts()
        self.page_applied: I64 = np.empty(0, np.int64)
        self.page_dirty: npt.NDArray[np.bool_] = np.empty(0, np.bool_)

    def limit(self, max_rows: int) -> None:
        """How many rows it may grow to."""
        self._max_pages = -(-max_rows // PAGE)

    def reserve(self, pages: int) -> None:
        """Grow at once to have this number of pages free: they are about to come."""
        missing = pages - len(self._free)
        if missing > 0:
            self._grow(missing)

    def new_page(self, force: bool = False) -> int | None:
        """The index of a page for use; None if the memory is full.

        ``force``: grow beyond the limit, since restored rows must go somewhere.
        """
        if not self._free:
            pages = len(self.page_applied)
            room = self._max_pages - pages
            if room <= 0 and not force:
                return None
            wanted = max(_MIN_GROWTH, pages // _GROWTH_SHARE)
            self._grow(max(1, min(wanted, room)))
        page = self._free.pop()
        rows = _rows_of(page)
        self.page_applied[page] = 0
        self.page_dirty[page] = False
        self.names[rows] = [""] * PAGE
        self.labels[rows] = [NO_LABELS] * PAGE
        return page

    def free_page(self, page: int) -> None:
        """Its rows count for nothing any more, as no row of a stream does."""
        self.decisions[_rows_of(page)] = fresh_decisions(PAGE)
        start = page * PAGE
        self.pasts.forget(range(start, start + PAGE))
        self._free.append(page)

    def free_row(self, slot: int) -> None:
        """As :meth:`free_page`, of a row in a page that stays."""
        self.names[slot] = ""
        self.labels[slot] = NO_LABELS
        self.decisions[slot] = fresh_decisions(1)[0]
        self.pasts.forget([slot])

    def _grow(self, pages: int) -> None:
        before = len(self.page_applied)
        rows = pages * PAGE
        size = self.states.shape[1]
        self.states = _longer(self.states, np.zeros((rows, size), np.float32))
        self.decisions = _longer(self.decisions, fresh_decisions(rows))
        self.times = _longer(self.times, np.full(rows, -np.inf))
        self.touched = _longer(self.touched, np.zeros(rows))
        self.zones = _longer(self.zones, np.zeros(rows, np.int16))
        self.counters.grow(rows)
        self.page_applied = _longer(self.page_applied, np.zeros(pages, np.int64))
        self.page_dirty = _longer(self.page_dirty, np.zeros(pages, np.bool_))
        self.names.extend([""] * rows)
        self.labels.extend([NO_LABELS] * rows)
        # the lowest index is used first
        new = range(before, before + pages)
        self._free.extend(reversed(new))

    def put(
        self,
        slot: int,
        name: str,
        state: F32,
        decisions: np.void,
        time: float = -np.inf,
    ) -> None:
        """Write one row: state float32 [S], a decision row, event time."""
        self.names[slot] = name
        self.states[slot] = state
        self.decisions[slot] = decisions
        self.times[slot] = time
        self.labels[slot] = NO_LABELS
        self.counters.put(slot, name)

    def put_row_of(self, rows: PageRows, place: int, slot: int) -> None:
        """Write the row at ``place`` of a page to ``slot``."""
        self.put(
            slot,
            rows.names[place],
            rows.states[place],
            rows.decisions[place],
            rows.times[place],
        )
        if rows.labels:
            self.labels[slot] = shared_labels(rows.labels[place])
        if rows.counters.size:
            self.counters.put_stored(slot, rows.counters[place], self.names)
        self.pasts.put(slot, rows.pasts.get(place, NO_PAST))

    def fill(self, page: int, rows: PageRows, now: float) -> None:
        """Copy a page of rows in; ``now`` is monotonic, in seconds."""
        start = page * PAGE
        into = slice(start, start + len(rows.names))
        self.names[into] = rows.names
        labels = rows.labels or [NO_LABELS] * len(rows.names)
        self.labels[into] = [shared_labels(of_stream) for of_stream in labels]
        self.states[into] = rows.states
        self.decisions[into] = rows.decisions
        self.times[into] = rows.times
        self.touched[into] = now
        self.counters.fill(into, rows.counters, self.names)
        self.pasts.fill(start, rows.pasts)
        self.page_applied[page] = rows.offset

    def move(self, source: int, target: int) -> None:
        """Copy a row over another one; the source is free then."""
        self.names[target] = self.names[source]
        self.states[target] = self.states[source]
        self.decisions[target] = self.decisions[source]
        self.times[target] = self.times[source]
        self.touched[target] = self.touched[source]
        self.zones[target] = self.zones[source]
        self.labels[target] = self.labels[source]
        self.counters.move(source, target)
        self.pasts.move(source, target)

    def copy(self, number: int, offset: int, slots: Slots) -> PageRows:
        """Copies of these rows, as the page ``number`` stamped with ``offset``."""
        places = slots.tolist()
        names = [self.names[slot] for slot in places]
        labels = [self.labels[slot] for slot in places]
        decisions = opaque(self.decisions)[slots]
        return PageRows(
            number=number,
            offset=offset,
            names=tuple(names),
            states=self.states[slots],
            decisions=decisions.view(DECISION),
            times=self.times[slots],
            labels=tuple(labels),
            counters=self.counters.at(slots),
            pasts=self.pasts.at(places),
        )

    def copy_page(self, page: int, used: int, number: int, offset: int) -> PageRows:
        """A copy of the first ``used`` rows of a page, stamped with ``offset``."""
        start = page * PAGE
        rows = slice(start, start + used)
        decisions = opaque(self.decisions[rows]).copy()
        return PageRows(
            number=number,
            offset=offset,
            names=tuple(self.names[rows]),
            states=self.states[rows].copy(),
            decisions=decisions.view(DECISION),
            times=self.times[rows].copy(),
            labels=tuple(self.labels[rows]),
            counters=self.counters.rows[rows].copy(),
            pasts=self.pasts.at(range(start, start + used)),
        )

    def store_decisions(self, slots: Slots, rows: DecisionState) -> None:
        """``decisions[slots] = rows``, quickly."""
        opaque(self.decisions)[slots] = opaque(rows)

    def firing(self, page: int) -> Slots:
        """The rows of a page whose streams are in an incident, int64 [k]."""
        phases = self.decisions["phase"][_rows_of(page)]
        return np.flatnonzero(phases == Phase.FIRING) + page * PAGE


def _rows_of(page: int) -> slice:
    start = page * PAGE
    return slice(start, start + PAGE)


def _longer(
    column: npt.NDArray[_Element],
    added: npt.NDArray[_Element],
) -> npt.NDArray[_Element]:
    return np.concatenate([column, added])
