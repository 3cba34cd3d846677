"""Which alerts are of a backlog: those are summed up and not told one by one.

Theory of operation. The backlog of a partition is what its log held when it was
assigned: what waited while nobody read. Of that, what waited longer than a limit is
old. How long a record waited is told by its time in the log, and not by the time of its
event: an archive that is produced today waits for nobody. Where a record has no time in
the log, its event's time counts. A point that was held back until its stream's next one
came is as old as what is read at that moment.

What comes after the assignment is told at once, however far the daemon is behind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from detector.events import Partition, RecordBatch


@dataclass(slots=True)
class BacklogGate:
    """One for all partitions of a pipeline.

    Attributes:
        limit: seconds that a record of a backlog may wait and still be told; infinite:
            there is no backlog.
        now: wall time in epoch seconds; whoever polls sets it.
    """

    limit: float = math.inf
    now: float = 0.0
    _ends: dict[Partition, int] = field(default_factory=dict)
    _read_at: dict[Partition, float] = field(default_factory=dict)

    def begin(self, partition: Partition, applied: int, log_end: int) -> bool:
        """Whether an assigned partition has a backlog: its log ended at ``log_end``,
        and all before ``applied`` was read earlier.
        """
        if applied >= log_end or math.isinf(self.limit):
            return False
        self._ends[partition] = log_end
        return True

    def note(self, batch: RecordBatch) -> None:
        """These records are read now."""
        if batch.partition in self._ends and batch.clock is not None and batch.names:
            self._read_at[batch.partition] = float(batch.clock.log_times[-1])

    def is_old(self, batch: RecordBatch, offset: int, at: float) -> bool:
        """Whether a record with a point at event time ``at`` is old backlog."""
        end = self._ends.get(batch.partition)
        if end is None or offset >= end:
            return False
        since = self._log_time(batch, offset)
        return self.now - (at if math.isnan(since) else since) > self.limit

    def is_read(self, partition: Partition, next_offset: int) -> bool:
        """Whether the backlog ended with the record before ``next_offset``; once."""
        end = self._ends.get(partition)
        if end is None or next_offset < end:
            return False
        self.forget(partition)
        return True

    def forget(self, partition: Partition) -> None:
        """It is another member's now."""
        self._ends.pop(partition, None)
        self._read_at.pop(partition, None)

    def __len__(self) -> int:
        """Partitions whose backlog is not read yet."""
        return len(self._ends)

    def _log_time(self, batch: RecordBatch, offset: int) -> float:
        """Of a record with a point, in epoch seconds; NaN if it is not known."""
        if batch.clock is None:
            return self._read_at.get(batch.partition, math.nan)
        row = int(np.searchsorted(batch.offsets, offset))
        return float(batch.clock.log_times[row])
