"""The stream table: every stream's state in a few contiguous arrays, and the waves that step it.

A stream is a slot. Slots come in pages of :data:`PAGE` rows, and a page belongs to one input partition: that is the unit that
recovery writes, stamps with an offset and loads. What a stream remembers follows from its own partition's log alone, so a stream
that (against the contract) is produced to two partitions is two rows that never touch each other.

The k-th point of every stream in a poll is wave k; within a wave all slots differ, so a wave is one gather, one step, one scatter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import DECISION, Decisions, fresh
from detector.events import F32, F64, I64, Partition, Phase

PAGE_BITS = 8
PAGE = 1 << PAGE_BITS
NO_SLOT = -1

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seed:
    """What a stream starts from.

    Attributes:
        initial: float32 [S], the row of a stream that training has not seen.
        rows: stream -> index into ``trained`` (float32 [N, S]).
        warm_up: steps that a trained row counts as having taken: its streams may alert at once.
    """

    initial: F32
    rows: Mapping[str, int]
    trained: F32
    warm_up: int


@dataclass(frozen=True, slots=True)
class PageRows:
    """The rows of one page, copied out of the table or to be copied in: n streams.

    Attributes:
        states: float32 [n, S]. decisions: DECISION [n]. times: float64 [n], event time of the last point (-inf: none yet).
        offset: the partition's records before this offset have been applied to these rows.
    """

    number: int
    offset: int
    names: tuple[str, ...]
    states: F32
    decisions: Decisions
    times: F64


class SlotIndex(dict[str | bytes, int]):
    """Name -> slot for one partition; looking up a new name opens its row, so a whole poll is one ``map``.

    A record's key is looked up as bytes and resolved to its name once a stream, not once a record.
    """

    def __init__(self, table: StreamTable, partition: Partition) -> None:
        super().__init__()
        self._table = table
        self._partition = partition

    def __missing__(self, name: str | bytes) -> int:
        slot = self[name.decode()] if isinstance(name, bytes) else self._table.open_slot(self._partition, name)
        if slot != NO_SLOT:
            self[name] = slot
        return slot


@dataclass(slots=True)
class _Owned:
    """One assigned partition.

    Attributes:
        pages: the table's page indices, in order of page number.
        used: rows in use of each of these pages.
        vacant: numbers of the pages that take new streams, the next one last.
    """

    index: SlotIndex
    pages: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    vacant: list[int] = field(default_factory=list)


class StreamTable:
    """All streams of the assigned partitions. Memory is bounded by ``max_streams`` rows."""

    def __init__(self, seed: Seed, max_streams: int) -> None:
        self._seed = seed
        self._max_pages = -(-max_streams // PAGE)
        self._owned: dict[Partition, _Owned] = {}
        self._free: list[int] = []
        self.names: list[str] = []
        self.states: F32 = np.empty((0, len(seed.initial)), np.float32)
        self.decisions: Decisions = np.empty(0, DECISION)
        self.times: F64 = np.empty(0)
        self.page_applied: I64 = np.empty(0, np.int64)
        self.page_dirty: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self.streams = 0

    # -- lookup ----------------------------------------------------------------------------------------------------------

    def slots(self, partition: Partition, names: Sequence[str | bytes]) -> Slots:
        """int64 [n]: the row of each name, opened where it is new; NO_SLOT where the table is full."""
        index = self._owned[partition].index
        return np.fromiter(map(index.__getitem__, names), np.int64, len(names))

    def page_of(self, partition: Partition, slot: int) -> int:
        """The number, within its partition, of the page that holds ``slot``."""
        return self._owned[partition].pages.index(slot >> PAGE_BITS)

    def open_slot(self, partition: Partition, name: str) -> int:
        owned = self._owned[partition]
        while owned.vacant and owned.used[owned.vacant[-1]] == PAGE:
            owned.vacant.pop()
        if not owned.vacant:
            page = self._new_page()
            if page is None:
                return NO_SLOT
            owned.vacant.append(len(owned.pages))
            owned.pages.append(page)
            owned.used.append(0)
        number = owned.vacant[-1]
        slot = owned.pages[number] * PAGE + owned.used[number]
        owned.used[number] += 1
        self._start(slot, name)
        return slot

    # -- partitions ------------------------------------------------------------------------------------------------------

    def assign(self, partition: Partition, pages: Sequence[PageRows] = (), offset: int = 0) -> None:
        """Take over a partition with its restored pages; ``offset`` is where its records will be read from.

        A page takes new streams only if it has been applied to exactly that offset: a new stream among records that are read
        again must not land in a page that skips them. Streams of a page that was lost come back under its number: a head from
        before the loss, which does not know of pages to come, then still vouches for all of them.
        """
        self.revoke(partition)
        owned = self._owned[partition] = _Owned(SlotIndex(self, partition))
        for rows in pages:
            page = self._new_page(force=True)
            assert page is not None
            owned.pages.append(page)
            owned.used.append(len(rows.names))
            self._fill(page, rows, owned.index)
        owned.vacant = [number for number, rows in enumerate(pages) if rows.offset == offset][::-1]

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition's rows; nothing if it is not owned."""
        owned = self._owned.pop(partition, None)
        if owned is None:
            return
        self._free.extend(owned.pages)
        self.streams -= len(set(owned.index.values()))

    def owns(self, partition: Partition) -> bool:
        return partition in self._owned

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self._owned)

    def pages(self, partition: Partition) -> Sequence[int]:
        """The table's page indices of a partition, in order of page number."""
        return self._owned[partition].pages

    def firing(self) -> int:
        """How many streams are in an incident."""
        phases = self.decisions["phase"].reshape(-1, PAGE)
        return sum(int(np.count_nonzero(phases[page] == Phase.FIRING)) for owned in self._owned.values() for page in owned.pages)

    def copy_page(self, partition: Partition, number: int, offset: int) -> PageRows:
        """A copy of one page's rows, stamped with ``offset``."""
        owned = self._owned[partition]
        start = owned.pages[number] * PAGE
        rows = slice(start, start + owned.used[number])
        return PageRows(number, offset, tuple(self.names[rows]), self.states[rows].copy(), self.decisions[rows].copy(), self.times[rows].copy())

    # -- memory ----------------------------------------------------------------------------------------------------------

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
        self.decisions[page * PAGE : (page + 1) * PAGE] = fresh(PAGE)
        return page

    def _grow(self, pages: int) -> None:
        before = len(self.page_applied)
        rows = pages * PAGE
        self.states = np.concatenate([self.states, np.zeros((rows, self.states.shape[1]), np.float32)])
        self.decisions = np.concatenate([self.decisions, np.zeros(rows, DECISION)])
        self.times = np.concatenate([self.times, np.full(rows, -np.inf)])
        self.page_applied = np.concatenate([self.page_applied, np.zeros(pages, np.int64)])
        self.page_dirty = np.concatenate([self.page_dirty, np.zeros(pages, np.bool_)])
        self.names.extend([""] * rows)
        self._free.extend(range(before + pages - 1, before - 1, -1))

    def _start(self, slot: int, name: str) -> None:
        trained = self._seed.rows.get(name)
        self.names[slot] = name
        self.states[slot] = self._seed.initial if trained is None else self._seed.trained[trained]
        self.decisions[slot] = fresh(1, 0 if trained is None else self._seed.warm_up)[0]
        self.times[slot] = -np.inf
        self.streams += 1

    def _fill(self, page: int, rows: PageRows, index: SlotIndex) -> None:
        start, count = page * PAGE, len(rows.names)
        self.states[start : start + count] = rows.states
        self.decisions[start : start + count] = rows.decisions
        self.times[start : start + count] = rows.times
        self.page_applied[page] = rows.offset
        for slot, name in enumerate(rows.names, start):
            self.names[slot] = name
            index[name] = slot
        self.streams += count

    def store_decisions(self, slots: Slots, rows: Decisions) -> None:
        """``decisions[slots] = rows``, as opaque bytes: numpy copies a structured row field by field, ten times as slow."""
        opaque = np.dtype(("V", DECISION.itemsize))
        self.decisions.view(opaque)[slots] = rows.view(opaque)

    def restart(self, slots: Slots) -> None:
        """Put rows back to the initial state: for a graph that returned what is not a number.

        They warm up again, but an incident that is open stays open until the score is low: its receiver waits for the end.
        """
        self.states[slots] = self._seed.initial
        self.decisions["steps"][slots] = 0


def waves(slots: Slots) -> Iterator[Slots]:
    """Indices into ``slots`` [n], wave by wave: wave k holds the k-th occurrence of each slot, in order of arrival."""
    n = len(slots)
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    first = np.empty(n, np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    if first.all():
        if n:
            yield np.arange(n)
        return
    position = np.arange(n)
    rank = position - np.maximum.accumulate(np.where(first, position, 0))
    by_wave = order[np.argsort(rank, kind="stable")]
    edges = np.cumsum(np.bincount(rank))
    start = 0
    for end in edges.tolist():
        yield by_wave[start:end]
        start = end
