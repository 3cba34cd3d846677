"""The stream table: the state of every stream of the assigned partitions.

A stream is a slot, a row of :class:`RowMemory`. Rows come in pages of :data:`PAGE`, and
a page belongs to one input partition. Recovery writes, stamps and loads whole pages.

What a stream remembers follows from its own partition's log alone. A stream that is
produced to two partitions, against the contract, is therefore two rows that never
touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import partial

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64, I64, Labels, Partition, Phase
from detector.names import bounded_tags
from detector.state.census import Census
from detector.state.counter_column import CounterColumn
from detector.state.counter_defaults import NO_COUNTERS, CounterDefaults
from detector.state.decisions import DecisionState
from detector.state.held_points import Pasts
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.newcomers import Newcomers
from detector.state.page_rows import NO_LABELS, PageRows, shared_labels
from detector.state.partition_pages import (
    COLD,
    CROWDED,
    NO_SLOT,
    PartitionPages,
    SlotIndex,
)
from detector.state.row_memory import PAGE, Slots
from detector.state.silent_streams import SilentStreams
from detector.state.table_rows import TableRows


def _utc(stream: str) -> int:
    """The number of UTC, as the zone of every stream."""
    return 0


class StreamTable:
    """All streams of the assigned partitions, within limits.

    Attributes:
        initial_states: what streams start from.
        newcomers: those with a single point.
        silent: those that are idle, or only in the store.
        now: monotonic seconds, set by whoever applies points.
        split: streams seen on two partitions, with both; whoever reports them clears
            it.
    """

    def __init__(
        self,
        initial_states: InitialStates,
        limits: TableLimits,
        zone_of: Callable[[str], int] = _utc,
        new_counters: CounterDefaults = NO_COUNTERS,
    ) -> None:
        """``zone_of`` gives the number of a stream's time zone."""
        self.initial_states = initial_states
        self._zone_of = zone_of
        self._expire_after = limits.expire_after
        state_size = len(initial_states.unknown)
        self._rows = TableRows(state_size, limits.max_streams, new_counters)
        self.newcomers = Newcomers(self._rows, limits.max_newcomers)
        self.silent = SilentStreams(self._rows, limits.expire_after)
        self.now = 0.0
        self.split: list[tuple[str, Partition, Partition]] = []

    def retune(
        self,
        initial_states: InitialStates,
        limits: TableLimits,
        zone_of: Callable[[str], int],
    ) -> None:
        """Go on under other settings. The streams stay, and follow their new zones."""
        self.initial_states = initial_states
        self._zone_of = zone_of
        self._expire_after = limits.expire_after
        self._rows.memory.limit(limits.max_streams)
        self.newcomers.bound = limits.max_newcomers
        self.silent.expire_after = limits.expire_after
        for partition in self.partitions():
            for slot in self.slots_of(partition):
                self.zones[slot] = zone_of(self.names[slot])

    @property
    def streams(self) -> int:
        """How many are in memory."""
        return self._rows.streams

    @property
    def census(self) -> Census:
        """How many there are of each prefix, in memory and in the store."""
        return self._rows.census

    # -- columns: see RowMemory --------------------------------------------------------

    @property
    def names(self) -> Sequence[str]:
        return self._rows.memory.names

    @property
    def states(self) -> F32:
        return self._rows.memory.states

    @property
    def decisions(self) -> DecisionState:
        return self._rows.memory.decisions

    @property
    def times(self) -> F64:
        return self._rows.memory.times

    @property
    def touched(self) -> F64:
        return self._rows.memory.touched

    @property
    def zones(self) -> npt.NDArray[np.int16]:
        return self._rows.memory.zones

    @property
    def labels(self) -> Sequence[Labels]:
        return self._rows.memory.labels

    @property
    def counters(self) -> CounterColumn:
        return self._rows.memory.counters

    @property
    def pasts(self) -> Pasts:
        return self._rows.memory.pasts

    @property
    def page_applied(self) -> I64:
        return self._rows.memory.page_applied

    @property
    def page_dirty(self) -> npt.NDArray[np.bool_]:
        return self._rows.memory.page_dirty

    def store_decisions(self, slots: Slots, rows: DecisionState) -> None:
        """Write decision rows, DECISION [n], to ``slots`` [n]."""
        self._rows.memory.store_decisions(slots, rows)

    def set_labels(self, slots: Slots, labels: Sequence[Labels | None]) -> None:
        """Labels of points, of the streams in ``slots`` [n]; None: they have none."""
        held = self._rows.memory.labels
        for slot, of_point in zip(slots.tolist(), labels, strict=True):
            now = of_point or NO_LABELS
            before = held[slot]
            if now is before or now == before:
                continue
            kept = bounded_tags(now)
            if kept != before:
                held[slot] = shared_labels(kept)
                self.page_dirty[slot // PAGE] = True

    # -- streams -----------------------------------------------------------------------

    def slots(self, partition: Partition, names: Sequence[str | bytes]) -> Slots:
        """The row of each name, int64 [n]; new streams get one.

        NO_SLOT if the table is full. CROWDED if newcomers must make room before the
        rest can have rows; the rows of all names may be others then.
        """
        index = self._rows.owned[partition].index
        slots = map(index.__getitem__, names)
        return np.fromiter(slots, np.int64, len(names))

    def slots_of(self, partition: Partition) -> set[int]:
        """The rows of all streams of a partition."""
        return set(self._rows.owned[partition].index.values())

    def slot_of(self, partition: Partition, name: str) -> int | None:
        """The row of a stream; None if it has none in memory."""
        owned = self._rows.owned.get(partition)
        return None if owned is None else owned.index.get(name)

    def page_count(self, partition: Partition) -> int:
        """How many numbers its pages have, with those of pages in the store."""
        return len(self._rows.owned[partition].pages)

    def page_of(self, partition: Partition, slot: int) -> int:
        """The number, within its partition, of the page that holds ``slot``."""
        return self._rows.owned[partition].pages.index(slot // PAGE)

    def open_slot(self, partition: Partition, name: str) -> int:
        """A row for a stream that has none, from the store or as a first one.

        NO_SLOT if the table is full, CROWDED if newcomers can make room. A stream from
        the store always gets one.
        """
        owned = self._rows.owned[partition]
        is_known = name in owned.cold.held
        if not is_known and self.newcomers.are_crowded(owned):
            return CROWDED
        number = self._number_with_room(owned, is_known)
        if number is None:
            return CROWDED if owned.newcomers else NO_SLOT
        slot = owned.take_slot(number)
        self.zones[slot] = self._zone_of(name)
        if is_known:
            self._take_from_cold(owned, name, slot)
        else:
            self._start(owned, name, slot)
            self._note_split(partition, name)
        self._rows.streams += 1
        return slot

    def _number_with_room(self, owned: PartitionPages, force: bool) -> int | None:
        """The number of a page with room, a new one if need be; None if full."""
        number = owned.vacant_number()
        if number is not None:
            return number
        page = self._rows.memory.new_page(force)
        return None if page is None else owned.add(page)

    def _start(self, owned: PartitionPages, name: str, slot: int) -> None:
        """The first row of a stream. What training knows is no newcomer."""
        state, decisions = self.initial_states.start(name)
        self._rows.memory.put(slot, name, state, decisions[0])
        if decisions["is_newcomer"][0]:
            owned.newcomers[name] = None
        self._rows.census.add([name])

    def _take_from_cold(self, owned: PartitionPages, name: str, slot: int) -> None:
        cold = owned.cold.take(name)
        assert cold is not None
        rows, place = cold
        self._rows.memory.put_row_of(rows, place, slot)
        if rows.number not in owned.cold.left:
            owned.spare.append(rows.number)
        if rows.decisions["is_newcomer"][place]:
            owned.newcomers[name] = None

    def _note_split(self, partition: Partition, name: str) -> None:
        """Note the topic's other partitions with a stream of this name.

        Its producer does not key by stream.
        """
        for other, owned in self._rows.owned.items():
            if other == partition or other.topic != partition.topic:
                continue
            if name in owned.index or name in owned.cold.held:
                self.split.append((name, other, partition))

    def begin(self, slots: Slots, times: F64) -> None:
        """Streams have their first points, at event ``times`` [n].

        Those that live through their training data again start from its beginning.
        """
        points = zip(slots.tolist(), times.tolist(), strict=True)
        for slot, time in points:
            rewound = self.initial_states.rewound(self.names[slot], time)
            if rewound is not None:
                state, decisions = rewound
                self.states[slot] = state
                self.decisions[slot] = decisions[0]

    def begin_expired(self, partition: Partition, slots: Slots, times: F64) -> None:
        """Streams have points at event ``times`` [n]: those that expired start anew.

        They are as if they had been removed. But an open incident stays open, because
        its receiver waits for the end.
        """
        last = self.times[slots]
        is_expired = (times - last > self._expire_after) & np.isfinite(last)
        for slot in slots[is_expired].tolist():
            self._begin_anew(partition, slot)

    def _begin_anew(self, partition: Partition, slot: int) -> None:
        name = self.names[slot]
        state, decisions = self.initial_states.start(name)
        self.states[slot] = state
        self.times[slot] = -np.inf
        self.counters.put(slot, name)
        if self.decisions["phase"][slot] > Phase.OK:
            self.decisions["steps"][slot] = 0
            return
        self.decisions[slot] = decisions[0]
        if decisions["is_newcomer"][0]:
            self._rows.owned[partition].newcomers[name] = None

    def restart(self, slots: Slots) -> None:
        """Reset rows: the graph returned numbers that are not finite, or the units of
        the values change.

        They warm up again. An open incident stays open until the score is low, because
        its receiver waits for the end.
        """
        self.states[slots] = self.initial_states.unknown
        self.decisions["steps"][slots] = 0

    def firing(self) -> int:
        """How many streams are in an incident."""
        return sum(len(self.slots_firing(partition)) for partition in self._rows.owned)

    def slots_firing(self, partition: Partition) -> Slots:
        """The rows of a partition's streams that are in an incident, int64 [k]."""
        hot = self._rows.owned[partition].hot()
        found = [self._rows.memory.firing(page) for _, page in hot]
        return np.concatenate([np.empty(0, np.int64), *found])

    # -- partitions --------------------------------------------------------------------

    def assign(
        self,
        partition: Partition,
        pages: Sequence[PageRows] = (),
        offset: int = 0,
        cold: Set[int] = frozenset(),
    ) -> None:
        """Take over a partition with its restored pages.

        ``offset`` is where its records will be read from, ``cold`` has the numbers of
        the pages that stay in the store. A cold page that is ahead of ``offset`` is
        loaded like the others.

        A page takes new streams only if it has been applied to exactly ``offset``. A
        new stream among records that are read again must not get into a page that skips
        them. Streams of a lost page come back under its number: a head from before the
        loss does not know later pages, and so still covers all of them.
        """
        self.revoke(partition)
        self._rows.memory.reserve(len(pages) - len(cold))
        index = SlotIndex(partial(self.open_slot, partition))
        owned = self._rows.owned[partition] = PartitionPages(index)
        for rows in pages:
            owned.used.append(len(rows.names))
            if rows.number in cold and rows.offset <= offset:
                owned.pages.append(COLD)
                owned.hold(rows.number, rows.names, rows.latest)
                self._rows.census.add(rows.names)
            else:
                owned.pages.append(self._load(rows, index))
        hot = [number for number, _ in owned.hot()]
        vacant = [number for number in hot if pages[number].offset == offset]
        owned.vacant = vacant[::-1]
        self.newcomers.find(owned)

    def _load(self, rows: PageRows, index: SlotIndex) -> int:
        """Copy a page into memory; gives its index there."""
        page = self._rows.memory.new_page(force=True)
        assert page is not None
        self._rows.memory.fill(page, rows, self.now)
        for slot, name in enumerate(rows.names, page * PAGE):
            self.zones[slot] = self._zone_of(name)
            index[name] = slot
        self._rows.census.add(rows.names)
        self._rows.streams += len(rows.names)
        return page

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition's rows, if it is owned."""
        owned = self._rows.owned.pop(partition, None)
        if owned is None:
            return
        for _, page in owned.hot():
            self._rows.memory.free_page(page)
        self._rows.streams -= len(set(owned.index.values()))
        in_memory = [name for name in owned.index if isinstance(name, str)]
        self._rows.census.remove([*in_memory, *owned.cold.held])

    def owns(self, partition: Partition) -> bool:
        return partition in self._rows.owned

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self._rows.owned)

    def pages(self, partition: Partition) -> Sequence[tuple[int, int]]:
        """Number and index of the partition's pages in memory."""
        return self._rows.owned[partition].hot()

    def copy_page(self, partition: Partition, number: int, offset: int) -> PageRows:
        """A copy of one page's rows, stamped with ``offset``."""
        owned = self._rows.owned[partition]
        page = owned.pages[number]
        used = owned.used[number]
        return self._rows.memory.copy_page(page, used, number, offset)
