"""Streams that fell silent: they move to the store, and expire in the end.

Theory of operation. What is *idle* for a while in processing moves to a cold page, see
:mod:`detector.state.cold_pages`, and comes back as it was. What had no point for
``expire_after`` seconds of event time is *gone*: its next point starts it anew. That
rule looks at the stream's own times alone, so a replay follows it too
(:meth:`detector.state.table.StreamTable.begin_expired`).

So rows that are gone may be deleted at any moment, in memory and in the store, and
nothing changes by it. The moment is a checkpoint, and the time is the partition's: the
median of the streams that had a point lately. No single clock moves it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from detector.events import Partition
from detector.state.held_points import NO_PAST
from detector.state.idle import are_idle, partition_time, slots_in_use
from detector.state.page_rows import PageRows, empty_rows
from detector.state.partition_pages import PartitionPages
from detector.state.row_memory import PAGE
from detector.state.table_rows import TableRows

# Cold pages that one checkpoint makes at most: the loop waits for the copies.
_MAX_IDLE_PAGES: Final = 8


class SilentStreams:
    """The idle and the cold streams of a table; ``expire_after`` is in seconds.

    Attributes:
        expire_after: as given.
        expired: streams that were forgotten; whoever counts them clears it.
    """

    def __init__(self, rows: TableRows, expire_after: float) -> None:
        self._rows = rows
        self.expire_after = expire_after
        self.expired: list[str] = []

    def missing_pages(
        self, partition: Partition, names: Sequence[str | bytes]
    ) -> set[int]:
        """Numbers of the cold pages to :meth:`add_page` before these names are used."""
        owned = self._rows.owned[partition]
        if not owned.cold.held:
            return set()
        absent = (name for name in names if name not in owned.index)
        return owned.cold.missing_pages(absent)

    def add_page(self, partition: Partition, rows: PageRows) -> None:
        self._rows.owned[partition].cold.add_page(rows)

    def drop_page(self, partition: Partition, number: int) -> int:
        """A cold page can't be read: its streams start anew. Gives how many."""
        owned = self._rows.owned[partition]
        lost = owned.cold.drop_page(number)
        owned.spare.append(number)
        self._rows.census.remove(lost)
        return len(lost)

    def clear_pages(self, partition: Partition) -> None:
        """Forget the added pages: the poll that needed them is over."""
        self._rows.owned[partition].cold.clear()

    def cold(self, partition: Partition) -> frozenset[int]:
        """Numbers of the cold pages."""
        return frozenset(self._rows.owned[partition].cold.left)

    def held(self, partition: Partition) -> dict[int, set[str]]:
        """The streams that are only in the store, by number of their page."""
        found: dict[int, set[str]] = {}
        for name, number in self._rows.owned[partition].cold.held.items():
            found.setdefault(number, set()).add(name)
        return found

    @property
    def evicted(self) -> int:
        """How many streams have their rows only in the store."""
        cold = [owned.cold for owned in self._rows.owned.values()]
        return sum(len(pages.held) for pages in cold)

    def idle(self, partition: Partition, before: float, offset: int) -> list[PageRows]:
        """Full pages of copies of idle rows, with new numbers, stamped with ``offset``.

        Idle rows have had no point since monotonic ``before``. Rows in an incident do
        not count, since their next point may end it. Nor do newcomers, whose number is
        bounded in memory alone, and the rows of pages that are ahead of ``offset``.
        """
        owned = self._rows.owned[partition]
        in_use = slots_in_use(self._rows.memory, owned, offset)
        memory = self._rows.memory
        is_known = memory.decisions["is_newcomer"][in_use] == 0
        slots = in_use[are_idle(memory, in_use, before) & is_known]
        pages = min(len(slots) // PAGE, _MAX_IDLE_PAGES)
        full = slots[: pages * PAGE].reshape(pages, PAGE)
        copies = []
        for rows in full:
            number = owned.new_number()
            copies.append(memory.copy(number, offset, rows))
        return copies

    def evict(self, partition: Partition, rows: PageRows) -> None:
        """A page of :meth:`idle` is durable: its streams leave memory.

        Those that have had a point since then stay.
        """
        owned = self._rows.owned[partition]
        places = enumerate(rows.names)
        gone = [name for place, name in places if self._is_as(owned, rows, place)]
        for name in gone:
            self._rows.remove(owned, name)
        owned.hold(rows.number, gone, rows.latest)

    def _is_as(self, owned: PartitionPages, rows: PageRows, place: int) -> bool:
        """Whether a stream is in memory, and had no point since it was copied."""
        name = rows.names[place]
        if name not in owned.index:
            return False
        slot = owned.index[name]
        memory = self._rows.memory
        has_time = memory.times[slot] == rows.times[place]
        has_steps = memory.decisions["steps"][slot] == rows.decisions["steps"][place]
        has_past = memory.pasts.of(slot) == rows.pasts.get(place, NO_PAST)
        return bool(has_time and has_steps and has_past)

    def keep(self, partition: Partition, rows: PageRows) -> None:
        """A page of :meth:`idle` was not written: its rows stay in memory."""
        self._rows.owned[partition].spare.append(rows.number)

    def expire(
        self, partition: Partition, before: float, offset: int
    ) -> list[PageRows]:
        """Forget the streams whose last point is too long ago.

        The time is that of most streams that had a point since monotonic ``before``.
        Gives the cold pages that have no stream any more, without rows: each is to be
        written like those of :meth:`idle`.
        """
        if math.isinf(self.expire_after):
            return []
        owned = self._rows.owned[partition]
        in_use = slots_in_use(self._rows.memory, owned, offset)
        now = partition_time(self._rows.memory, in_use, before)
        oldest = now - self.expire_after
        is_gone = are_idle(self._rows.memory, in_use, before) & (
            self._rows.memory.times[in_use] < oldest
        )
        memory = self._rows.memory
        holding = memory.pasts.holding
        slots = [slot for slot in in_use[is_gone].tolist() if slot not in holding]
        gone = [memory.names[slot] for slot in slots]
        for name in gone:
            self._rows.remove(owned, name)
        emptied = owned.cold.before(oldest)
        for number in emptied:
            gone += owned.cold.drop_page(number)
        self._rows.census.remove(gone)
        self.expired += gone
        width = self._rows.memory.states.shape[1]
        return [empty_rows(number, offset, width) for number in emptied]
