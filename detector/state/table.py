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

from detector.events import F32, F64, I64, Partition, Phase
from detector.state.decisions import DecisionState
from detector.state.initial_state import InitialStates
from detector.state.page_rows import Labels, PageRows
from detector.state.partition_pages import COLD, NO_SLOT, PartitionPages, SlotIndex
from detector.state.row_memory import PAGE, RowMemory, Slots

# Cold pages that one checkpoint makes at most: the loop waits for the copies.
_MAX_IDLE_PAGES = 8


def _utc(stream: str) -> int:
    """The number of UTC, as the zone of every stream."""
    return 0


class StreamTable:
    """All streams of the assigned partitions, at most ``max_streams`` rows of them.

    Attributes:
        now: monotonic seconds, set by whoever applies points.
        split: streams seen on two partitions, with both; whoever reports them clears
            it.
        streams: how many are in memory.
    """

    def __init__(
        self,
        initial_states: InitialStates,
        max_streams: int,
        zone_of: Callable[[str], int] = _utc,
    ) -> None:
        """``zone_of`` gives the number of a stream's time zone."""
        self._initial_states = initial_states
        self._zone_of = zone_of
        self._memory = RowMemory(len(initial_states.unknown), max_streams)
        self._owned: dict[Partition, PartitionPages] = {}
        self.now = 0.0
        self.split: list[tuple[str, Partition, Partition]] = []
        self.streams = 0

    # -- columns: see RowMemory --------------------------------------------------------

    @property
    def names(self) -> Sequence[str]:
        return self._memory.names

    @property
    def states(self) -> F32:
        return self._memory.states

    @property
    def decisions(self) -> DecisionState:
        return self._memory.decisions

    @property
    def times(self) -> F64:
        return self._memory.times

    @property
    def touched(self) -> F64:
        return self._memory.touched

    @property
    def zones(self) -> npt.NDArray[np.int16]:
        return self._memory.zones

    @property
    def labels(self) -> Sequence[Labels]:
        return self._memory.labels

    @property
    def page_applied(self) -> I64:
        return self._memory.page_applied

    @property
    def page_dirty(self) -> npt.NDArray[np.bool_]:
        return self._memory.page_dirty

    def store_decisions(self, slots: Slots, rows: DecisionState) -> None:
        """Write decision rows, DECISION [n], to ``slots`` [n]."""
        self._memory.store_decisions(slots, rows)

    def set_labels(self, slots: Slots, labels: Sequence[Labels]) -> None:
        """The labels of streams' points, of the streams in ``slots`` [n]."""
        held = self._memory.labels
        for slot, of_point in zip(slots.tolist(), labels, strict=True):
            of_stream = held[slot]
            if of_point is not of_stream and of_point != of_stream:
                held[slot] = of_point
                self.page_dirty[slot // PAGE] = True

    # -- streams -----------------------------------------------------------------------

    def slots(self, partition: Partition, names: Sequence[str | bytes]) -> Slots:
        """The row of each name, int64 [n]; new streams get one.

        NO_SLOT if the table is full.
        """
        index = self._owned[partition].index
        slots = map(index.__getitem__, names)
        return np.fromiter(slots, np.int64, len(names))

    def page_of(self, partition: Partition, slot: int) -> int:
        """The number, within its partition, of the page that holds ``slot``."""
        return self._owned[partition].pages.index(slot // PAGE)

    def open_slot(self, partition: Partition, name: str) -> int:
        """A row for a stream that has none, from the store or as a first one.

        NO_SLOT if the table is full.
        """
        owned = self._owned[partition]
        number = self._number_with_room(owned)
        if number is None:
            return NO_SLOT
        slot = owned.take_slot(number)
        self.zones[slot] = self._zone_of(name)
        cold = owned.cold.take(name)
        if cold is None:
            state, decisions = self._initial_states.start(name)
            self._memory.put(slot, name, state, decisions[0])
            self._note_split(partition, name)
        else:
            rows, place = cold
            self._memory.put_row_of(rows, place, slot)
            if rows.number not in owned.cold.left:
                owned.spare.append(rows.number)
        self.streams += 1
        return slot

    def _number_with_room(self, owned: PartitionPages) -> int | None:
        """The number of a page with room, a new one if need be; None if full."""
        number = owned.vacant_number()
        if number is not None:
            return number
        page = self._memory.new_page()
        return None if page is None else owned.add(page)

    def _note_split(self, partition: Partition, name: str) -> None:
        """Note the topic's other partitions with a stream of this name.

        Its producer does not key by stream.
        """
        for other, owned in self._owned.items():
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
            rewound = self._initial_states.rewound(self.names[slot], time)
            if rewound is not None:
                state, decisions = rewound
                self.states[slot] = state
                self.decisions[slot] = decisions[0]

    def restart(self, slots: Slots) -> None:
        """Reset rows for which the graph returned numbers that are not finite.

        They warm up again. An open incident stays open until the score is low, because
        its receiver waits for the end.
        """
        self.states[slots] = self._initial_states.unknown
        self.decisions["steps"][slots] = 0

    def firing(self) -> int:
        """How many streams are in an incident."""
        count = 0
        for owned in self._owned.values():
            for _, page in owned.hot():
                count += self._memory.firing(page)
        return count

    # -- streams that fell silent ------------------------------------------------------

    def missing_pages(
        self, partition: Partition, names: Sequence[str | bytes]
    ) -> set[int]:
        """Numbers of the cold pages to :meth:`add_page` before these names are used."""
        owned = self._owned[partition]
        if not owned.cold.held:
            return set()
        absent = (name for name in names if name not in owned.index)
        return owned.cold.missing_pages(absent)

    def add_page(self, partition: Partition, rows: PageRows) -> None:
        self._owned[partition].cold.add_page(rows)

    def drop_page(self, partition: Partition, number: int) -> int:
        """A cold page can't be read: its streams start anew. Gives how many."""
        owned = self._owned[partition]
        lost = owned.cold.drop_page(number)
        owned.spare.append(number)
        return lost

    def clear_pages(self, partition: Partition) -> None:
        """Forget the added pages: the poll that needed them is over."""
        self._owned[partition].cold.clear()

    def cold(self, partition: Partition) -> frozenset[int]:
        """Numbers of the cold pages."""
        return frozenset(self._owned[partition].cold.left)

    @property
    def evicted(self) -> int:
        """How many streams have their rows only in the store."""
        cold = [owned.cold for owned in self._owned.values()]
        return sum(len(pages.held) for pages in cold)

    def idle(self, partition: Partition, before: float, offset: int) -> list[PageRows]:
        """Full pages of copies of idle rows, with new numbers, stamped with ``offset``.

        Idle rows have had no point since monotonic ``before``. Rows in an incident do
        not count, since their next point may end it. Nor do the rows of pages that are
        ahead of ``offset``.
        """
        owned = self._owned[partition]
        slots = self._idle_slots(owned, before, offset)
        pages = min(len(slots) // PAGE, _MAX_IDLE_PAGES)
        full = slots[: pages * PAGE].reshape(pages, PAGE)
        copies = []
        for rows in full:
            number = owned.new_number()
            copies.append(self._memory.copy(number, offset, rows))
        return copies

    def _idle_slots(self, owned: PartitionPages, before: float, offset: int) -> Slots:
        hot = [
            (number, page)
            for number, page in owned.hot()
            if self.page_applied[page] <= offset
        ]
        if not hot:
            return np.empty(0, np.int64)
        starts = np.array([page * PAGE for _, page in hot])
        used = np.array([owned.used[number] for number, _ in hot])
        places = np.arange(PAGE)
        is_used = places < used[:, None]
        slots = (starts[:, None] + places)[is_used]
        is_idle = self.touched[slots] < before
        is_calm = self.decisions["phase"][slots] <= Phase.OK
        return slots[is_idle & is_calm]

    def evict(self, partition: Partition, rows: PageRows) -> None:
        """A page of :meth:`idle` is durable: its streams leave memory.

        Those that have had a point since then stay.
        """
        owned = self._owned[partition]
        points = zip(rows.names, rows.times.tolist(), strict=True)
        gone = [name for name, time in points if self._is_at(owned, name, time)]
        for name in gone:
            self._remove(owned, name)
        owned.hold(rows.number, gone)

    def _is_at(self, owned: PartitionPages, name: str, time: float) -> bool:
        """Whether a stream is in memory, with its last point at ``time``."""
        if name not in owned.index:
            return False
        slot = owned.index[name]
        return bool(self.times[slot] == time)

    def keep(self, partition: Partition, rows: PageRows) -> None:
        """A page of :meth:`idle` was not written: its rows stay in memory."""
        self._owned[partition].spare.append(rows.number)

    def _remove(self, owned: PartitionPages, name: str) -> None:
        """Free a stream's row; the last row of its page takes its place."""
        slot, last = owned.give_back(name)
        if last != slot:
            self._memory.move(last, slot)
            owned.index.move(self.names[slot], slot)
        self._memory.free_row(last)
        self.page_dirty[slot // PAGE] = True
        self.streams -= 1

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
        index = SlotIndex(partial(self.open_slot, partition))
        owned = self._owned[partition] = PartitionPages(index)
        for rows in pages:
            owned.used.append(len(rows.names))
            if rows.number in cold and rows.offset <= offset:
                owned.pages.append(COLD)
                owned.hold(rows.number, rows.names)
            else:
                owned.pages.append(self._load(rows, index))
        hot = [number for number, _ in owned.hot()]
        vacant = [number for number in hot if pages[number].offset == offset]
        owned.vacant = vacant[::-1]

    def _load(self, rows: PageRows, index: SlotIndex) -> int:
        """Copy a page into memory; gives its index there."""
        page = self._memory.new_page(force=True)
        assert page is not None
        self._memory.fill(page, rows, self.now)
        for slot, name in enumerate(rows.names, page * PAGE):
            self.zones[slot] = self._zone_of(name)
            index[name] = slot
        self.streams += len(rows.names)
        return page

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition's rows, if it is owned."""
        owned = self._owned.pop(partition, None)
        if owned is None:
            return
        for _, page in owned.hot():
            self._memory.free_page(page)
        self.streams -= len(set(owned.index.values()))

    def owns(self, partition: Partition) -> bool:
        return partition in self._owned

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self._owned)

    def pages(self, partition: Partition) -> Sequence[tuple[int, int]]:
        """Number and index of the partition's pages in memory."""
        return self._owned[partition].hot()

    def copy_page(self, partition: Partition, number: int, offset: int) -> PageRows:
        """A copy of one page's rows, stamped with ``offset``."""
        owned = self._owned[partition]
        page = owned.pages[number]
        used = owned.used[number]
        return self._memory.copy_page(page, used, number, offset)
