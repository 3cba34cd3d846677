"""The stream table: every stream's state in a few contiguous arrays.

A stream is a slot. Slots come in pages of :data:`PAGE` rows, and a page belongs to one
input partition: that is the unit that recovery writes, stamps with an offset and loads.
What a stream remembers follows from its own partition's log alone, so a stream that
(against the contract) is produced to two partitions is two rows that never touch each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64, I64, Partition, Phase
from detector.model.local_time import UTC, ZoneNumbers
from detector.state.cold_pages import ColdPages
from detector.state.decisions import DECISION, DecisionState, fresh_decisions
from detector.state.initial_state import InitialStates
from detector.state.page_rows import PageRows

PAGE_BITS = 8
PAGE = 1 << PAGE_BITS
NO_SLOT = -1
COLD = -1
FREEZE_MOST = 8  # cold pages made at once: the loop stands still meanwhile

Slots = npt.NDArray[np.int64]


class SlotIndex(dict[str | bytes, int]):
    """Name -> slot for one partition; looking up a new name opens its row, so a whole
    poll is one ``map``.

    A record's key is looked up as bytes and resolved to its name once a stream, not
    once a record.
    """

    def __init__(self, table: StreamTable, partition: Partition) -> None:
        super().__init__()
        self._table = table
        self._partition = partition

    def __missing__(self, name: str | bytes) -> int:
        slot = (
            self[name.decode()]
            if isinstance(name, bytes)
            else self._table.open_slot(self._partition, name)
        )
        if slot != NO_SLOT:
            self[name] = slot
        return slot


@dataclass(slots=True)
class _Owned:
    """One assigned partition.

    Attributes:
        pages: the table's page indices, in order of page number; COLD for one whose
            rows are in the store alone.
        used: rows in use of each of these pages.
        vacant: numbers of the pages that take new streams, the next one last.
        spare: numbers of cold pages that no stream is left in: the next new page takes
            one.
    """

    index: SlotIndex
    pages: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    vacant: list[int] = field(default_factory=list)
    spare: list[int] = field(default_factory=list)
    cold: ColdPages = field(default_factory=ColdPages)

    def new_number(self) -> int:
        """A page number that nothing uses, with its place."""
        if self.spare:
            return self.spare.pop()
        self.pages.append(COLD)
        self.used.append(0)
        return len(self.pages) - 1

    def hold(self, number: int, names: Sequence[str]) -> None:
        """A page whose rows are in the store alone."""
        if names:
            self.cold.hold(number, names)
        else:
            self.spare.append(number)

    def hot(self) -> list[tuple[int, int]]:
        """Number and table index of the pages that are here."""
        return [
            (number, page) for number, page in enumerate(self.pages) if page != COLD
        ]


class StreamTable:
    """All streams of the assigned partitions. Memory is bounded by ``max_streams``
    rows.

    ``now`` is monotonic, in seconds, and set by who applies points; ``touched`` is when
    a row's last point was applied. ``split`` collects streams that were seen on two
    partitions, with both, for who reports them to take out. ``zones`` are numbers that
    ``zone_of`` gives by name.
    """

    def __init__(
        self,
        seed: InitialStates,
        max_streams: int,
        zone_of: Callable[[str], int] = UTC.zone_of,
    ) -> None:
        self._seed = seed
        self._zone_of = zone_of
        self._max_pages = -(-max_streams // PAGE)
        self._owned: dict[Partition, _Owned] = {}
        self._free: list[int] = []
        self.names: list[str] = []
        self.states: F32 = np.empty((0, len(seed.initial)), np.float32)
        self.decisions: DecisionState = np.empty(0, DECISION)
        self.times: F64 = np.empty(0)
        self.touched: F64 = np.empty(0)
        self.zones: ZoneNumbers = np.empty(0, np.int16)
        self.page_applied: I64 = np.empty(0, np.int64)
        self.page_dirty: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self.now = 0.0
        self.split: list[tuple[str, Partition, Partition]] = []
        self.streams = 0

    # -- lookup ------------------------------------------------------------------------

    def slots(self, partition: Partition, names: Sequence[str | bytes]) -> Slots:
        """int64 [n]: the row of each name, opened where it is new; NO_SLOT where the
        table is full.
        """
        index = self._owned[partition].index
        return np.fromiter(map(index.__getitem__, names), np.int64, len(names))

    def page_of(self, partition: Partition, slot: int) -> int:
        """The number, within its partition, of the page that holds ``slot``."""
        return self._owned[partition].pages.index(slot >> PAGE_BITS)

    def open_slot(self, partition: Partition, name: str) -> int:
        """A row for a stream that has none: as the store has it, as training left it,
        or as an unknown one starts.
        """
        owned = self._owned[partition]
        number = self._vacant(owned)
        if number is None:
            return NO_SLOT
        slot = owned.pages[number] * PAGE + owned.used[number]
        owned.used[number] += 1
        self.zones[slot] = self._zone_of(name)
        was = owned.cold.take(name)
        if was is None:
            self._start(slot, name)
            self.split.extend(
                (name, other, partition) for other in self._elsewhere(partition, name)
            )
        else:
            rows, place = was
            self.names[slot] = name
            self.states[slot] = rows.states[place]
            self.decisions[slot] = rows.decisions[place]
            self.times[slot] = rows.times[place]
            if rows.number not in owned.cold.left:
                owned.spare.append(rows.number)
        self.streams += 1
        return slot

    def _elsewhere(self, partition: Partition, name: str) -> list[Partition]:
        """Other partitions of the topic that have a stream of this name: its producer
        does not key by stream.
        """
        others = (
            (p, owned)
            for p, owned in self._owned.items()
            if p != partition and p.topic == partition.topic
        )
        return [
            p for p, owned in others if name in owned.index or name in owned.cold.held
        ]

    def _vacant(self, owned: _Owned) -> int | None:
        """The number of a page with room; None where the table is full."""
        while owned.vacant and owned.used[owned.vacant[-1]] == PAGE:
            owned.vacant.pop()
        if not owned.vacant:
            page = self._new_page()
            if page is None:
                return None
            number = owned.new_number()
            owned.pages[number] = page
            owned.used[number] = 0
            owned.vacant.append(number)
        return owned.vacant[-1]

    # -- streams that fell silent ------------------------------------------------------

    def missing_pages(
        self, partition: Partition, names: Sequence[str | bytes]
    ) -> set[int]:
        """Numbers of the cold pages that :meth:`supply` must bring before these names
        are looked up.
        """
        owned = self._owned[partition]
        return (
            owned.cold.missing_pages(name for name in names if name not in owned.index)
            if owned.cold.held
            else set()
        )

    def add_page(self, partition: Partition, rows: PageRows) -> None:
        self._owned[partition].cold.add_page(rows)

    def drop_page(self, partition: Partition, number: int) -> int:
        """A cold page can't be read any more: its streams start anew. How many they
        are.
        """
        owned = self._owned[partition]
        lost = owned.cold.drop_page(number)
        owned.spare.append(number)
        return lost

    def clear_pages(self, partition: Partition) -> None:
        """Forget what was supplied: the poll that wanted it is over."""
        self._owned[partition].cold.clear()

    def cold(self, partition: Partition) -> frozenset[int]:
        """Numbers of the cold pages."""
        return frozenset(self._owned[partition].cold.left)

    @property
    def evicted(self) -> int:
        """Streams whose rows are in the store alone."""
        return sum(len(owned.cold.held) for owned in self._owned.values())

    def idle(self, partition: Partition, before: float, offset: int) -> list[PageRows]:
        """Full pages of copies of rows that nothing was applied to since ``before``,
        stamped with ``offset``, under numbers of their own.

        Rows in an incident are none of them, since their next point may end it, nor
        those of pages ahead of ``offset``.
        """
        owned = self._owned[partition]
        hot = [
            (number, page)
            for number, page in owned.hot()
            if self.page_applied[page] <= offset
        ]
        if not hot:
            return []
        slots = np.array([page for _, page in hot])[:, None] * PAGE + np.arange(PAGE)
        used = (
            np.arange(PAGE)
            < np.array([owned.used[number] for number, _ in hot])[:, None]
        )
        slots = slots[used]
        idle = slots[
            (self.touched[slots] < before)
            & (self.decisions["phase"][slots] <= Phase.OK)
        ]
        starts = range(0, min(len(idle) // PAGE, FREEZE_MOST) * PAGE, PAGE)
        return [
            self._copied(owned.new_number(), offset, idle[start : start + PAGE])
            for start in starts
        ]

    def _copied(self, number: int, offset: int, slots: Slots) -> PageRows:
        names = tuple(self.names[slot] for slot in slots.tolist())
        return PageRows(
            number,
            offset,
            names,
            self.states[slots],
            self.decisions[slots],
            self.times[slots],
        )

    def evict(self, partition: Partition, rows: PageRows) -> None:
        """A page that :meth:`idle` made is durable: rows that nothing was applied to
        since leave the table.
        """
        owned = self._owned[partition]
        gone = [
            n
            for n, at in zip(rows.names, rows.times.tolist(), strict=True)
            if n in owned.index and self.times[owned.index[n]] == at
        ]
        for name in gone:
            self._vacate(owned, name)
        owned.hold(rows.number, gone)

    def keep(self, partition: Partition, rows: PageRows) -> None:
        """A page that :meth:`idle` made was not written: its rows stay where they are."""
        self._owned[partition].spare.append(rows.number)

    def _vacate(self, owned: _Owned, name: str) -> None:
        """The last row of its page takes the place of the one that leaves."""
        slot = owned.index.pop(name)
        owned.index.pop(name.encode(), None)
        page = slot >> PAGE_BITS
        number = owned.pages.index(page)
        owned.used[number] -= 1
        last = page * PAGE + owned.used[number]
        if last != slot:
            moved = self.names[last]
            for column in (
                self.states,
                self.decisions,
                self.times,
                self.touched,
                self.zones,
            ):
                column[slot] = column[last]
            self.names[slot] = moved
            owned.index.update(
                {key: slot for key in (moved, moved.encode()) if key in owned.index}
            )
        self.names[last] = ""
        self.page_dirty[page] = True
        self.streams -= 1
        if number not in owned.vacant:
            owned.vacant.insert(0, number)

    # -- partitions --------------------------------------------------------------------

    def assign(
        self,
        partition: Partition,
        pages: Sequence[PageRows] = (),
        offset: int = 0,
        cold: Set[int] = frozenset(),
    ) -> None:
        """Take over a partition with its restored pages; ``offset`` is where its
        records will be read from, ``cold`` the numbers of the pages that stay in the
        store. A cold page that has seen more than that is brought in like the others.

        A page takes new streams only if it has been applied to exactly that offset: a
        new stream among records that are read again must not land in a page that skips
        them. Streams of a page that was lost come back under its number: a head from
        before the loss, which does not know of pages to come, then still vouches for
        all of them.
        """
        self.revoke(partition)
        owned = self._owned[partition] = _Owned(SlotIndex(self, partition))
        for rows in pages:
            owned.used.append(len(rows.names))
            if rows.number in cold and rows.offset <= offset:
                owned.pages.append(COLD)
                owned.hold(rows.number, rows.names)
                continue
            page = self._new_page(force=True)
            assert page is not None
            owned.pages.append(page)
            self._fill(page, rows, owned.index)
        owned.vacant = [
            number for number, _ in owned.hot() if pages[number].offset == offset
        ][::-1]

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition's rows; nothing if it is not owned."""
        owned = self._owned.pop(partition, None)
        if owned is None:
            return
        self._free.extend(page for _, page in owned.hot())
        self.streams -= len(set(owned.index.values()))

    def owns(self, partition: Partition) -> bool:
        return partition in self._owned

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self._owned)

    def pages(self, partition: Partition) -> Sequence[tuple[int, int]]:
        """Number and table index of the pages of a partition that are here."""
        return self._owned[partition].hot()

    def firing(self) -> int:
        """How many streams are in an incident."""
        phases = self.decisions["phase"].reshape(-1, PAGE)
        return sum(
            int(np.count_nonzero(phases[page] == Phase.FIRING))
            for owned in self._owned.values()
            for _, page in owned.hot()
        )

    def copy_page(self, partition: Partition, number: int, offset: int) -> PageRows:
        """A copy of one page's rows, stamped with ``offset``."""
        owned = self._owned[partition]
        start = owned.pages[number] * PAGE
        rows = slice(start, start + owned.used[number])
        return PageRows(
            number,
            offset,
            tuple(self.names[rows]),
            self.states[rows].copy(),
            self.decisions[rows].copy(),
            self.times[rows].copy(),
        )

    # -- memory ------------------------------------------------------------------------

    def _new_page(self, force: bool = False) -> int | None:
        if not self._free:
            capacity = len(self.page_applied)
            if capacity >= self._max_pages and not force:
                return None
            self._grow(max(1, min(max(4, capacity // 4), self._max_pages - capacity)))
        page = self._free.pop()
        self.page_applied[page] = 0
        self.page_dirty[page] = False
        self.names[page * PAGE : (page + 1) * PAGE] = [""] * PAGE
        self.decisions[page * PAGE : (page + 1) * PAGE] = fresh_decisions(PAGE)
        return page

    def _grow(self, pages: int) -> None:
        before = len(self.page_applied)
        rows = pages * PAGE
        self.states = np.concatenate(
            [self.states, np.zeros((rows, self.states.shape[1]), np.float32)]
        )
        self.decisions = np.concatenate([self.decisions, np.zeros(rows, DECISION)])
        self.times = np.concatenate([self.times, np.full(rows, -np.inf)])
        self.touched = np.concatenate([self.touched, np.zeros(rows)])
        self.zones = np.concatenate([self.zones, np.zeros(rows, np.int16)])
        self.page_applied = np.concatenate(
            [self.page_applied, np.zeros(pages, np.int64)]
        )
        self.page_dirty = np.concatenate([self.page_dirty, np.zeros(pages, np.bool_)])
        self.names.extend([""] * rows)
        self._free.extend(range(before + pages - 1, before - 1, -1))

    def _start(self, slot: int, name: str) -> None:
        state, decisions = self._seed.start(name)
        self.names[slot] = name
        self.states[slot] = state
        self.decisions[slot] = decisions[0]
        self.times[slot] = -np.inf

    def begin(self, slots: Slots, times: F64) -> None:
        """Streams have their first points, at ``times``: those that live through their
        training once more begin where it began.
        """
        for slot, time in zip(slots.tolist(), times.tolist(), strict=True):
            if (rows := self._seed.rewound(self.names[slot], time)) is not None:
                self.states[slot] = rows[0]
                self.decisions[slot] = rows[1][0]

    def _fill(self, page: int, rows: PageRows, index: SlotIndex) -> None:
        start = page * PAGE
        count = len(rows.names)
        self.states[start : start + count] = rows.states
        self.decisions[start : start + count] = rows.decisions
        self.times[start : start + count] = rows.times
        self.touched[start : start + count] = self.now
        self.page_applied[page] = rows.offset
        for slot, name in enumerate(rows.names, start):
            self.names[slot] = name
            self.zones[slot] = self._zone_of(name)
            index[name] = slot
        self.streams += count

    def store_decisions(self, slots: Slots, rows: DecisionState) -> None:
        """``decisions[slots] = rows``, as opaque bytes: numpy copies a structured row
        field by field, ten times as slow.
        """
        opaque = np.dtype(("V", DECISION.itemsize))
        self.decisions.view(opaque)[slots] = rows.view(opaque)

    def restart(self, slots: Slots) -> None:
        """Put rows back to the initial state: for a graph that returned what is not a
        number.

        They warm up again, but an incident that is open stays open until the score is
        low: its receiver waits for the end.
        """
        self.states[slots] = self._seed.initial
        self.decisions["steps"][slots] = 0
