"""What waits for one receiver, gathered into posts.

Theory of operation. A *batch* is a post to be: notifications of one group, at most as
many as its target says, due when the first of them has waited for the route's
``group_wait``. One batch at a time is taken, and stays what it is until it is settled,
so that a retry has the same content under the same key; what arrives meanwhile gathers
in the next ones. A full batch is due at once.

The notifications of one stream must not overtake one another, even where they belong to
different groups (an incident that became critical may match another route). So a batch
that takes in a stream's notification while an earlier one of it waits in another batch
goes after that one, and the earlier one no longer waits for others then. Batches are
numbered in the order in which they were begun, and only ever go after one with a lower
number, so nothing waits in a circle.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from detector.events import Alert, Partition
from detector.notify.routes import Group, Target

PageKey = tuple[Partition, int]
StreamKey = tuple[Partition, str]


@dataclass(eq=False, slots=True)
class LoadedSegment:
    """A segment of the store that was read back; it is dropped when none of its
    notifications is left.
    """

    partition: Partition
    name: str
    left: int


@dataclass(eq=False, slots=True)
class Entry:
    """A notification in memory, one for all its receivers.

    Attributes:
        key: what an attempt and a replay have in common: the Idempotency-Key of a post
            of its own.
        owed: the receivers whose lanes hold it.
        repeats: whether it tells again of an incident that goes on; then no page holds
            it.
        loaded: the segment that holds it in its page's stead.
    """

    key: str
    page: PageKey
    alert: Alert
    order: int
    pending_receivers: set[str] = field(default_factory=set)
    repeats: bool = False
    loaded: LoadedSegment | None = None

    @property
    def stream(self) -> StreamKey:
        return self.page[0], self.alert.stream


@dataclass(eq=False, slots=True)
class Batch:
    """A post to be; ``due`` on the monotonic clock."""

    number: int
    group: Group
    due: float
    entries: list[Entry] = field(default_factory=list)
    after: list[Batch] = field(default_factory=list)
    settled: bool = False


class ReceiverQueue:
    """The queue of one receiver. Not thread-safe: the outbox's lock is held around it."""

    def __init__(self, receiver: str) -> None:
        self.receiver = receiver
        self.taken: Batch | None = None
        self._begun = 0
        self._open: dict[Group, Batch] = {}
        self._due: list[tuple[float, int, Batch]] = []
        self._last: dict[StreamKey, Batch] = {}
        self.count = 0

    def add(self, entry: Entry, target: Target, now: float) -> None:
        before = self._last.get(entry.stream)
        batch = self._open.get(target.group)
        if batch is None or (before is not None and before.number > batch.number):
            batch = self._begin(target, now)
        if before is not None and before is not batch:
            batch.after.append(before)
        batch.entries.append(entry)
        self._last[entry.stream] = batch
        self.count += 1
        if len(batch.entries) == target.max_alerts:
            del self._open[target.group]
            heapq.heappush(self._due, (-math.inf, batch.number, batch))

    def due(self) -> float:
        """When there is something to take; infinite where nothing waits."""
        if self.taken is not None:
            return -math.inf
        while self._due and self._due[0][2].settled:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def take(self, now: float) -> Batch | None:
        """The batch under way, or else the next one that is due."""
        if self.taken is None and (due := self.due()) <= now and due < math.inf:
            batch = self._due[0][2]
            while before := next((b for b in batch.after if not b.settled), None):
                batch = before
            if self._open.get(batch.group) is batch:
                del self._open[batch.group]
            self.taken = batch
        return self.taken

    def settle(self, batch: Batch) -> None:
        """Done with it, whatever came of it."""
        for entry in batch.entries:
            if self._last.get(entry.stream) is batch:
                del self._last[entry.stream]
        self.count -= len(batch.entries)
        batch.settled = True
        batch.entries = []
        batch.after = []
        if self._open.get(batch.group) is batch:
            del self._open[batch.group]
        if self.taken is batch:
            self.taken = None

    def leave_out(self, batch: Batch, unwanted: Callable[[Entry], bool]) -> None:
        """Of what the batch still holds; one that holds nothing then is done with."""
        gone = [entry for entry in batch.entries if unwanted(entry)]
        for entry in gone:
            if self._last.get(entry.stream) is batch:
                del self._last[entry.stream]
        if gone:
            batch.entries = [entry for entry in batch.entries if not unwanted(entry)]
            self.count -= len(gone)
        if not batch.entries:
            self.settle(batch)

    def forget(self, partition: Partition) -> None:
        """Its notifications are not to be delivered from here."""
        batches = {batch for _, _, batch in self._due} | (
            {self.taken} if self.taken is not None else set()
        )
        for batch in batches:
            self.leave_out(batch, lambda entry: entry.page[0] == partition)

    def _begin(self, target: Target, now: float) -> Batch:
        self._begun += 1
        batch = self._open[target.group] = Batch(
            self._begun, target.group, now + target.wait
        )
        heapq.heappush(self._due, (batch.due, batch.number, batch))
        return batch
