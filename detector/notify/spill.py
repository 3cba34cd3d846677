"""The spill of one receiver: notifications that exceed memory, kept in the store.

Theory of operation. While a receiver is down its queue grows to a limit and no further.
What comes then joins the *tail* of its partition, whose notifications are in their
pages like any other. When the tail is long enough, its oldest thousand become a
*segment*: one write by the store's thread, after which neither memory nor the pages
hold them. When the queue is half empty, the oldest segment is read back, then the next
one, and at last the tail. Once a partition spills, all its new notifications go through
the tail until nothing is left there, so nothing overtakes what was spilled before.

A segment is there or not, and is dropped when all of it is settled; no head names it.
So a crash at any moment loses nothing. Before the segment is durable, its notifications
are in the pages or will be raised again. After that, they may also be in the pages of
the last checkpoint, and a segment that was settled in part is delivered again as a
whole. Each of these costs one repetition under the same ids per crash.

A segment's name says all that is needed to go on: the receiver, its place in the order
of its partition, how many notifications, and which process wrote it. Memory grows only
while the receiver and the store both fail, and then nothing is committed either.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog

from detector.clock import Clock
from detector.events import Alert, Partition
from detector.notify.payload import idempotency_key
from detector.notify.receiver_queue import Entry, LoadedSegment
from detector.ports import SpillStore

# Notifications: about half a megabyte a write, and what a crash may repeat.
SEGMENT = 1000
_NAME = re.compile(r"([A-Za-z0-9_-]+)\.(\d{12})\.(\d{12})\.(\d+)\.([0-9a-f]+)")
_RETRY = 1.0  # seconds after a fault of the store


@dataclass(frozen=True, slots=True)
class SpillPolicy:
    """Where notifications spill to, and when.

    Attributes:
        memory_limit: notifications in memory for each receiver.
        writer: a number that no other process has.
    """

    store: SpillStore
    memory_limit: int = 10_000
    writer: int = 0


@dataclass(frozen=True, slots=True)
class SegmentName:
    """``first`` and ``last`` are the orders of its ``count`` notifications."""

    receiver: str
    first: int
    last: int
    count: int
    writer: int

    def __str__(self) -> str:
        place = f"{self.first:012d}.{self.last:012d}.{self.count}"
        return f"{self.receiver}.{place}.{self.writer:x}"

    @classmethod
    def parse(cls, text: str) -> SegmentName | None:
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        receiver, first, last, count, writer = found.groups()
        return cls(receiver, int(first), int(last), int(count), int(writer, 16))


@dataclass(eq=False, slots=True)
class _PartitionSpill:
    """One partition's part: segments are older than the tail.

    Attributes:
        writing: how many of the oldest in the tail are being written.
        reading: whether a segment is being read.
        retry_at: when the store is tried again, on the monotonic clock.
    """

    segments: deque[SegmentName] = field(default_factory=deque)
    tail: deque[Entry] = field(default_factory=deque)
    writing: int = 0
    reading: bool = False
    retry_at: float = 0.0


def restore_segments(
    spills: Mapping[str, Spill], partition: Partition, segments: Sequence[str]
) -> int:
    """Give each receiver's spill the segments that the store holds, by their names.

    The order of the last notification in them; 0 if there is none.
    """
    parsed = map(SegmentName.parse, segments)
    names = [name for name in parsed if name is not None]
    unknown = [name for name in names if name.receiver not in spills]
    if unknown:
        _log_unknown(partition, unknown)
    for receiver, spill in spills.items():
        found = [name for name in names if name.receiver == receiver]
        if found:
            spill.restore(partition, found)
    return max((name.last for name in names), default=0)


def _log_unknown(partition: Partition, unknown: Sequence[SegmentName]) -> None:
    receivers = {name.receiver for name in unknown}
    structlog.get_logger("outbox").error(
        "receivers_unknown",
        partition=str(partition),
        names=",".join(sorted(receivers)),
        notifications=sum(name.count for name in unknown),
        note="the store keeps them until a receiver has that name again",
    )


class Spill:
    """One receiver's. The outbox holds its lock around every public method.

    The store's answers come on its own thread, and take that lock themselves. ``admit``
    puts an entry into the receiver's queue. ``release`` takes one out of its page, once
    a segment holds it.
    """

    def __init__(
        self,
        receiver: str,
        policy: SpillPolicy,
        clock: Clock,
        lock: threading.Condition,
        admit: Callable[[Entry], None],
        release: Callable[[Entry], None],
    ) -> None:
        self._receiver = receiver
        self._policy = policy
        self._clock = clock
        self._lock = lock
        self._admit = admit
        self._release = release
        self._parts: dict[Partition, _PartitionSpill] = {}
        self._in_tails = 0
        self._log = structlog.get_logger("outbox")

    def must_take(self, entry: Entry, queued: int) -> bool:
        """Whether a queue of ``queued`` has no room for it, or it is not its turn."""
        part = self._parts.get(entry.page[0])
        if part is None:
            return queued >= self._policy.memory_limit
        return not part.segments or entry.order > part.segments[0].first

    def add(self, entry: Entry) -> None:
        partition = entry.page[0]
        part = self._parts.setdefault(partition, _PartitionSpill())
        part.tail.append(entry)
        self._in_tails += 1
        self._write_segment(partition, part)

    def restore(self, partition: Partition, names: Sequence[SegmentName]) -> None:
        """Segments that the store holds."""
        part = self._parts.setdefault(partition, _PartitionSpill())
        part.segments.extend(sorted(names, key=lambda name: name.first))

    def forget(self, partition: Partition) -> None:
        """Another member delivers its notifications from now on."""
        part = self._parts.pop(partition, None)
        if part is not None:
            self._in_tails -= len(part.tail)

    def refill(self, queued: int) -> None:
        """Bring back what is next if the queue has room; the store answers later."""
        has_room = queued <= self._policy.memory_limit // 2
        for partition, part in list(self._parts.items()):
            self._write_segment(partition, part)
            if not has_room or part.reading or self._is_pausing(part):
                continue
            if part.segments:
                self._read_segment(partition, part)
                return  # the next partition's when this one is there
            if not part.writing:
                self._return_tail(partition, part)
                return

    def settle(self, segment: LoadedSegment) -> None:
        """One more of its notifications is settled; with the last one it goes."""
        segment.remaining -= 1
        if not segment.remaining:
            self._policy.store.drop(segment.partition, segment.name)

    def in_segments(self) -> int:
        """Notifications that are in the store and not in memory."""
        return sum(
            name.count for part in self._parts.values() for name in part.segments
        )

    def __len__(self) -> int:
        return self._in_tails + self.in_segments()

    def _is_pausing(self, part: _PartitionSpill) -> bool:
        return self._clock.monotonic() < part.retry_at

    # -- into the store ----------------------------------------------------------------

    def _is_long(self, part: _PartitionSpill) -> bool:
        """Whether its tail should become a segment: long by itself, or the longest."""
        if len(part.tail) >= SEGMENT:
            return True
        if self._in_tails <= self._policy.memory_limit:
            return False
        longest = max(len(other.tail) for other in self._parts.values())
        return len(part.tail) == longest

    def _write_segment(self, partition: Partition, part: _PartitionSpill) -> None:
        if part.writing or not self._is_long(part) or self._is_pausing(part):
            return
        entries = list(itertools.islice(part.tail, SEGMENT))
        part.writing = len(entries)
        name = SegmentName(
            receiver=self._receiver,
            first=entries[0].order,
            last=entries[-1].order,
            count=len(entries),
            writer=self._policy.writer,
        )
        alerts = tuple(entry.alert for entry in entries)
        written = self._policy.store.put(partition, str(name), alerts)
        self._when_done(written, self._on_written, partition, part, name)

    def _on_written(
        self,
        partition: Partition,
        part: _PartitionSpill,
        name: SegmentName,
        answer: Future[None],
    ) -> None:
        if self._parts.get(partition) is not part:
            # The partition was given up meanwhile, and its pages with it.
            self._policy.store.drop(partition, str(name))
            return
        count = part.writing
        part.writing = 0
        fault = answer.exception()
        if fault is not None:
            self._pause(part, "spill_failed", fault, "kept in memory, tried again")
            return
        for _ in range(count):
            self._release(part.tail.popleft())
        self._in_tails -= count
        if not part.segments:
            self._log.warning(
                "spilling",
                receiver=self._receiver,
                partition=str(partition),
                note="the store keeps what exceeds memory",
            )
        part.segments.append(name)
        self._write_segment(partition, part)

    # -- and back ----------------------------------------------------------------------

    def _read_segment(self, partition: Partition, part: _PartitionSpill) -> None:
        part.reading = True
        name = part.segments[0]
        read = self._policy.store.get(partition, str(name))
        self._when_done(read, self._on_read, partition, part, name)

    def _on_read(
        self,
        partition: Partition,
        part: _PartitionSpill,
        name: SegmentName,
        answer: Future[tuple[Alert, ...]],
    ) -> None:
        part.reading = False
        if self._parts.get(partition) is not part:
            return
        fault = answer.exception()
        if fault is not None:
            self._pause(part, "segment_not_read", fault, f"{name} is tried again")
            return
        part.segments.popleft()
        alerts = answer.result()
        segment = LoadedSegment(partition, str(name), len(alerts))
        for alert in alerts:
            self._admit(self._loaded_entry(alert, name, segment))
        if not alerts:
            self._policy.store.drop(segment.partition, segment.name)
        self._remove_if_empty(partition, part)

    def _loaded_entry(
        self, alert: Alert, name: SegmentName, segment: LoadedSegment
    ) -> Entry:
        return Entry(
            key=idempotency_key(alert),
            page=(segment.partition, -1),  # the segment holds it, and no page
            alert=alert,
            order=name.first,
            pending_receivers={self._receiver},
            loaded=segment,
        )

    def _return_tail(self, partition: Partition, part: _PartitionSpill) -> None:
        room = self._policy.memory_limit - self._policy.memory_limit // 2
        for _ in range(min(len(part.tail), room)):
            self._in_tails -= 1
            self._admit(part.tail.popleft())
        self._remove_if_empty(partition, part)

    def _remove_if_empty(self, partition: Partition, part: _PartitionSpill) -> None:
        if part.segments or part.tail:
            return
        del self._parts[partition]
        self._log.info("spill_over", receiver=self._receiver, partition=str(partition))

    # -- the store's answers -----------------------------------------------------------

    def _when_done(
        self,
        asked: Future[Any],
        react: Callable[..., None],
        partition: Partition,
        part: _PartitionSpill,
        name: SegmentName,
    ) -> None:
        """React on the store's thread, under the lock of everything else here."""

        def answered(answer: Future[Any]) -> None:
            with self._lock:
                react(partition, part, name, answer)
                self._lock.notify_all()

        asked.add_done_callback(answered)

    def _pause(
        self, part: _PartitionSpill, event: str, fault: BaseException, note: str
    ) -> None:
        part.retry_at = self._clock.monotonic() + _RETRY
        self._log.error(event, receiver=self._receiver, cause=str(fault), note=note)
