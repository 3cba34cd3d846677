"""Streams with a single point: a topic may invent a name for each record.

Theory of operation. A newcomer has a row like any stream, and its point is scored. With
its second point it is *known*, and nothing but its own silence takes its row away. Of
newcomers each partition keeps a bounded number. Beyond it the oldest are forgotten, an
eighth of the bound at a time. The same happens if the table is full. So names that come
once fill neither the table nor the store, and a stream that goes on finds room.

Which newcomers are forgotten follows from the order of the records, and not from how
they are cut into polls: a poll is cut where room may be needed. A restart puts them in
the order of their points' times. That is the same order, unless records of different
streams are out of order, or pages were lost; then a name that comes for the second time
may be taken for a new one.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import numpy as np

from detector.events import Partition, Phase
from detector.state.partition_pages import PartitionPages
from detector.state.row_memory import PAGE, Slots
from detector.state.table_rows import TableRows

# The share of the bound that leaves at once: a poll is cut in two each time.
_LEAVE: Final = 8


class Newcomers:
    """The newcomers of a table; ``bound`` is how many each partition keeps."""

    def __init__(self, rows: TableRows, bound: int) -> None:
        self._rows = rows
        self.bound = bound

    def __len__(self) -> int:
        owned = list(self._rows.owned.values())
        return sum(len(pages.newcomers) for pages in owned)

    def are_crowded(self, owned: PartitionPages) -> bool:
        """Whether some must leave before another one comes."""
        return len(owned.newcomers) >= self.bound

    def make_room(self, partition: Partition) -> int:
        """Forget the oldest newcomers. Gives how many.

        Those in an incident stay, and are known from now on.
        """
        owned = self._rows.owned[partition]
        most = min(self.bound, len(owned.newcomers))
        count = max(1, most // _LEAVE)
        oldest = list(islice(owned.newcomers, count))
        forgotten = []
        for name in oldest:
            slot = owned.index[name]
            if self._rows.memory.decisions["phase"][slot] > Phase.OK:
                self._admit(owned, slot)
            else:
                self._rows.remove(owned, name)
                forgotten.append(name)
        self._rows.census.remove(forgotten)
        return len(forgotten)

    def admit(self, partition: Partition, slots: Slots) -> None:
        """Streams have another point: those of them that were newcomers are known."""
        owned = self._rows.owned[partition]
        if not owned.newcomers:
            return
        memory = self._rows.memory
        is_newcomer = memory.decisions["is_newcomer"][slots] > 0
        has_point = np.isfinite(memory.times[slots])
        for slot in slots[is_newcomer & has_point].tolist():
            self._admit(owned, slot)

    def find(self, owned: PartitionPages) -> None:
        """Those of restored rows, in an order that follows from the rows alone."""
        memory = self._rows.memory
        found: list[tuple[float, str]] = []
        for number, page in owned.hot():
            start = page * PAGE
            rows = slice(start, start + owned.used[number])
            is_newcomer = memory.decisions["is_newcomer"][rows]
            slots = start + np.flatnonzero(is_newcomer)
            times = memory.times[slots].tolist()
            names = [memory.names[slot] for slot in slots.tolist()]
            found += zip(times, names, strict=True)
        owned.newcomers = dict.fromkeys(name for _, name in sorted(found))

    def _admit(self, owned: PartitionPages, slot: int) -> None:
        memory = self._rows.memory
        memory.decisions["is_newcomer"][slot] = 0
        memory.page_dirty[slot // PAGE] = True
        owned.newcomers.pop(memory.names[slot], None)
