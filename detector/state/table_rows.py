"""The rows of a stream table, and whose they are: what its parts share."""

from __future__ import annotations

from detector.events import Partition
from detector.state.census import Census
from detector.state.counter_defaults import NO_COUNTERS, CounterDefaults
from detector.state.partition_pages import PartitionPages
from detector.state.row_memory import PAGE, RowMemory


class TableRows:
    """Rows in memory, by partition.

    Attributes:
        owned: the assigned partitions.
        streams: how many are in memory.
        census: how many there are of each prefix, in memory and in the store.
    """

    def __init__(
        self,
        state_size: int,
        max_streams: int,
        new_counters: CounterDefaults = NO_COUNTERS,
    ) -> None:
        self.memory = RowMemory(state_size, max_streams, new_counters)
        self.owned: dict[Partition, PartitionPages] = {}
        self.streams = 0
        self.census = Census()

    def remove(self, owned: PartitionPages, name: str) -> None:
        """Free a stream's row; the last row of its page takes its place."""
        slot, last = owned.give_back(name)
        if last != slot:
            self.memory.move(last, slot)
            owned.index.move(self.memory.names[slot], slot)
        self.memory.free_row(last)
        self.memory.page_dirty[slot // PAGE] = True
        self.streams -= 1
