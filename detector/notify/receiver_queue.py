"""What waits for one receiver, gathered into posts.

Theory of operation. A *batch* becomes one post: notifications of one group, at most as
many as its target allows. It is due when the first of them has waited for the route's
``group_wait``, or at once when it is full. One batch at a time is taken, and does not
change until it is settled, so a retry has the same content under the same key. What
arrives meanwhile gathers in the next batches. A batch that the receiver refuses is put
off: it steps aside for the others until it is due again. One of several notifications
is halved as well, and again, until what is refused is alone.

Notifications of one stream must not overtake one another, even in different groups: an
incident that became critical may match another route. A batch that takes in a stream's
notification goes after every batch that still holds an earlier one of the stream. The
earlier batch then no longer waits for others. Batches are numbered in the order in
which they begin, and go only after lower numbers, so nothing waits in a circle.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from detector.events import Alert, Partition, PendingNotification
from detector.notify.payload import OutgoingPost, post_key
from detector.notify.routes import Group, Target

PageKey = tuple[Partition, int]
StreamKey = tuple[Partition, str]


@dataclass(eq=False, slots=True)
class LoadedSegment:
    """A segment that was read back from the store.

    Attributes:
        remaining: its notifications that are not settled; at 0 it is dropped.
    """

    partition: Partition
    name: str
    remaining: int


@dataclass(eq=False, slots=True)
class Entry:
    """A notification in memory, one for all its receivers.

    Attributes:
        key: the same for every attempt and replay: the Idempotency-Key of its own post.
        pending_receivers: those whose queues hold it.
        repeats: whether it repeats an incident that lasts; then no page holds it.
        loaded: the segment that holds it instead of its page.
        mark: what it is in the summary of a backlog; "": it is told by itself.
    """

    key: str
    page: PageKey
    alert: Alert
    order: int
    pending_receivers: set[str] = field(default_factory=set)
    repeats: bool = False
    loaded: LoadedSegment | None = None
    mark: str = ""

    @property
    def stream(self) -> StreamKey:
        """What it must not overtake an earlier notification of; a summary is none."""
        partition, _ = self.page
        return partition, self.mark or self.alert.stream

    def pending(self) -> PendingNotification:
        """What its page keeps of it."""
        receivers = tuple(sorted(self.pending_receivers))
        marks = (self.mark,) if self.mark else ()
        return PendingNotification(self.alert, self.order, marks + receivers)


@dataclass(eq=False, slots=True)
class Batch:
    """The notifications of one post.

    Attributes:
        due: when it leaves, on the monotonic clock, in seconds; -inf: it is full.
        after: batches that must leave before it.
        floor: batches that began before it have at most this number, so that parts of
            it find room for theirs.
        refused_at: when the receiver first refused it, on the same clock; None: never.
        refusals: how often.
    """

    number: float
    group: Group
    due: float
    entries: list[Entry] = field(default_factory=list)
    after: list[Batch] = field(default_factory=list)
    settled: bool = False
    floor: float = 0.0
    refused_at: float | None = None
    refusals: int = 0

    @property
    def streams(self) -> set[StreamKey]:
        return {entry.stream for entry in self.entries}

    @property
    def sums_up(self) -> bool:
        """Whether it is the summary of a backlog, which is one for all its entries."""
        return any(entry.mark for entry in self.entries)

    def refused_for(self, now: float) -> float:
        """Seconds since the receiver first refused it; 0 if it did not."""
        return 0.0 if self.refused_at is None else now - self.refused_at

    def post(self, receiver: str) -> OutgoingPost:
        """What is sent to ``receiver``."""
        return OutgoingPost(
            receiver=receiver,
            group_key=self.group.key,
            group=dict(self.group.labels),
            alerts=tuple(entry.alert for entry in self.entries),
            key=post_key([entry.key for entry in self.entries]),
            sums_up=self.sums_up,
        )


class ReceiverQueue:
    """The queue of one receiver. Not thread-safe: the outbox holds its lock."""

    def __init__(self, receiver: str) -> None:
        self.receiver = receiver
        self.count = 0
        self._taken: Batch | None = None
        self._begun = 0
        self._open: dict[Group, Batch] = {}
        self._due: list[tuple[float, float, Batch]] = []
        self._last: dict[StreamKey, Batch] = {}

    def add(self, entry: Entry, target: Target, now: float) -> None:
        """``now`` on the monotonic clock."""
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
            self._set_due(batch, -math.inf)

    def next_due(self) -> float:
        """When there is something to take; infinite if nothing waits."""
        if self._taken is not None:
            return -math.inf
        while self._due and _is_stale(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def take(self, now: float) -> Batch | None:
        """The batch that is under way, else the next one that is due."""
        if self._taken is not None:
            return self._taken
        while (due := self.next_due()) <= now and due < math.inf:
            batch = self._due[0][2]
            first = _first_in_order(batch)
            if first.refused_at is None or first.due <= now:
                self._close(first)
                self._taken = first
                return first
            self._set_due(batch, first.due)
        return None

    def put_off(self, batch: Batch, now: float, due: float) -> None:
        """The receiver refuses the batch that is under way, and may take it later.

        Others go on, but for those that hold later notifications of its streams. If it
        has several notifications, one of them may be what is refused: its halves are
        two batches from now on.
        """
        if batch.refused_at is None:
            batch.refused_at = now
        batch.refusals += 1
        if len(batch.entries) > 1 and not batch.sums_up:
            self._set_due(self._split_off(batch), due)
        self._set_due(batch, due)
        self._taken = None

    def settle(self, batch: Batch) -> None:
        """Remove it: it was delivered, or refused for good."""
        for entry in batch.entries:
            self._forget_last(entry, batch)
        self.count -= len(batch.entries)
        batch.settled = True
        batch.entries = []
        batch.after = []
        self._close(batch)
        if self._taken is batch:
            self._taken = None

    def discard(self, batch: Batch, unwanted: Callable[[Entry], bool]) -> None:
        """Remove such entries from a batch, and the batch if it is empty then."""
        kept = []
        for entry in batch.entries:
            if unwanted(entry):
                self._forget_last(entry, batch)
                self.count -= 1
            else:
                kept.append(entry)
        batch.entries = kept
        if not kept:
            self.settle(batch)

    def forget(self, partition: Partition) -> None:
        """Another member delivers its notifications from now on."""
        batches = {batch for _, _, batch in self._due}
        if self._taken is not None:
            batches.add(self._taken)
        for batch in batches:
            self.discard(batch, lambda entry: entry.page[0] == partition)

    def _split_off(self, batch: Batch) -> Batch:
        """The first half of a batch, as one of its own that leaves before the rest."""
        half = len(batch.entries) // 2
        first = Batch(
            number=(batch.floor + batch.number) / 2,
            group=batch.group,
            due=batch.due,
            entries=batch.entries[:half],
            after=list(batch.after),
            floor=batch.floor,
            refused_at=batch.refused_at,
            refusals=batch.refusals,
        )
        batch.floor = first.number
        batch.entries = batch.entries[half:]
        self._put_in_order(first, batch)
        return first

    def _put_in_order(self, first: Batch, rest: Batch) -> None:
        """What waits for the whole batch waits for its streams' part of the two."""
        of_first = first.streams
        of_rest = rest.streams
        for stream in of_first - of_rest:
            if self._last.get(stream) is rest:
                self._last[stream] = first
        for later in {batch for _, _, batch in self._due if rest in batch.after}:
            streams = later.streams
            later.after.remove(rest)
            parts = ((first, of_first), (rest, of_rest))
            later.after += [part for part, of_part in parts if streams & of_part]
        if of_first & of_rest:
            rest.after.append(first)

    def _begin(self, target: Target, now: float) -> Batch:
        self._begun += 1
        batch = Batch(
            number=self._begun,
            group=target.group,
            due=now + target.wait,
            floor=self._begun - 1,
        )
        self._open[target.group] = batch
        self._set_due(batch, batch.due)
        return batch

    def _set_due(self, batch: Batch, due: float) -> None:
        batch.due = due
        heapq.heappush(self._due, (due, batch.number, batch))

    def _close(self, batch: Batch) -> None:
        """Nothing more is added to it."""
        if self._open.get(batch.group) is batch:
            del self._open[batch.group]

    def _forget_last(self, entry: Entry, batch: Batch) -> None:
        if self._last.get(entry.stream) is batch:
            del self._last[entry.stream]


def _is_stale(due: float, number: float, batch: Batch) -> bool:
    """Whether an entry of the heap says what no longer holds of its batch."""
    return batch.settled or batch.due != due


def _first_in_order(batch: Batch) -> Batch:
    """The first batch that must leave before this one, else this one."""
    while before := _first_unsettled(batch.after):
        batch = before
    return batch


def _first_unsettled(batches: list[Batch]) -> Batch | None:
    return next((batch for batch in batches if not batch.settled), None)
