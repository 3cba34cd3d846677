"""What is too much for memory: of one receiver's queue, the part that is kept in the
store until its turn comes.

Theory of operation. While a receiver is down its lane grows to a bound, and no further.
What comes then joins the *tail* of its partition, whose notifications stand in their
pages like any other; as soon as the tail is long enough, its oldest thousand become a
*segment*: one write through the store's thread, after which neither memory nor the
pages hold them. When the lane has half emptied, the oldest segment is read back, then
the next one, and at last the tail. Once a partition has begun to overflow in a lane,
all its new notifications go through the tail until nothing is left there, so nothing
overtakes what was set aside.

A segment is there or not, and is dropped when all in it is settled: no head names it. A
crash at any moment thus loses nothing. Before the segment is durable its notifications
are in the pages, or will be raised again; after it, they may also be in the pages of
the last checkpoint; and one that was read back and settled in part is delivered again
as a whole. Each costs a repetition under the same ids, at most once for each crash.

The name of a segment says all that is needed to go on: for whom, its place in the order
of its partition, how many, and whose number made it unlike any other. Only while the
receiver and the store are both dead does memory grow, and then nothing is committed
either.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog

from detector.clock import Clock
from detector.events import Alert, Partition
from detector.notify.payload import idempotency_key
from detector.notify.receiver_queue import Entry, LoadedSegment
from detector.ports import SpillStore

# notifications: about half a megabyte a write, and what a crash may repeat
SEGMENT = 1000
_NAME = re.compile(r"([A-Za-z0-9_-]+)\.(\d{12})\.(\d{12})\.(\d+)\.([0-9a-f]+)")
_RETRY = 1.0  # seconds after a fault of the store


@dataclass(frozen=True, slots=True)
class SegmentName:
    """``first`` and ``last`` are the orders of its notifications, of which there are
    ``count``.
    """

    receiver: str
    first: int
    last: int
    count: int
    writer: int

    def __str__(self) -> str:
        return f"{self.receiver}.{self.first:012d}.{self.last:012d}.{self.count}.{self.writer:x}"

    @classmethod
    def parse(cls, text: str) -> SegmentName | None:
        found = _NAME.fullmatch(text)
        return (
            None
            if found is None
            else cls(
                found[1], int(found[2]), int(found[3]), int(found[4]), int(found[5], 16)
            )
        )


@dataclass(eq=False, slots=True)
class _Queue:
    """One partition's: what is in segments is older than what is in the tail; of that,
    the first ``writing`` are being written.
    """

    segments: deque[SegmentName] = field(default_factory=deque)
    tail: deque[Entry] = field(default_factory=deque)
    writing: int = 0
    reading: bool = False
    again: float = 0.0


class Spill:
    """One receiver's. The outbox's lock is held around every public method; the store's
    answers take it themselves.

    ``admit`` puts an entry into the lane, ``release`` takes one out of its page, which
    a segment holds from then on.
    """

    def __init__(
        self,
        receiver: str,
        shelf: SpillStore,
        bound: int,
        writer: int,
        clock: Clock,
        lock: threading.Condition,
        admit: Callable[[Entry], None],
        release: Callable[[Entry], None],
    ) -> None:
        self._receiver = receiver
        self._shelf = shelf
        self._bound = bound
        self._writer = writer
        self._clock = clock
        self._lock = lock
        self._admit = admit
        self._release = release
        self._queues: dict[Partition, _Queue] = {}
        self._tails = 0
        self._log = structlog.get_logger("outbox")

    def takes(self, entry: Entry, queued: int) -> bool:
        """Whether it is one too many for a lane of ``queued``, or newer than what waits
        here.
        """
        queue = self._queues.get(entry.page[0])
        if queue is None:
            return queued >= self._bound
        return not queue.segments or entry.order > queue.segments[0].first

    def add(self, entry: Entry) -> None:
        partition = entry.page[0]
        queue = self._queues.setdefault(partition, _Queue())
        queue.tail.append(entry)
        self._tails += 1
        self._seal(partition, queue)

    def restore(self, partition: Partition, names: Sequence[SegmentName]) -> None:
        """Segments that the store holds."""
        self._queues.setdefault(partition, _Queue()).segments.extend(
            sorted(names, key=lambda name: name.first)
        )

    def forget(self, partition: Partition) -> None:
        queue = self._queues.pop(partition, None)
        self._tails -= len(queue.tail) if queue is not None else 0

    def refill(self, queued: int) -> None:
        """Bring back what is next, where the lane has room; the store is asked and
        answers later.
        """
        for partition, queue in list(self._queues.items()):
            self._seal(partition, queue)
            if (
                queued > self._bound // 2
                or queue.reading
                or self._clock.monotonic() < queue.again
            ):
                continue
            if queue.segments:
                queue.reading = True
                name = queue.segments[0]
                self._shelf.get(partition, str(name)).add_done_callback(
                    self._then(self._read, partition, queue, name)
                )
                return  # the next partition's when this one is there
            if not queue.writing:
                self._return_tail(partition, queue)
                return

    def done(self, loaded: LoadedSegment) -> None:
        """All of a segment is settled."""
        self._shelf.drop(loaded.partition, loaded.name)

    def in_segments(self) -> int:
        return sum(
            name.count for queue in self._queues.values() for name in queue.segments
        )

    def __len__(self) -> int:
        return self._tails + self.in_segments()

    # -- into the store ----------------------------------------------------------------

    def _seal(self, partition: Partition, queue: _Queue) -> None:
        long = len(queue.tail) >= SEGMENT or (
            self._tails > self._bound
            and len(queue.tail) == max(len(q.tail) for q in self._queues.values())
        )
        if not long or queue.writing or self._clock.monotonic() < queue.again:
            return
        entries = list(itertools.islice(queue.tail, SEGMENT))
        queue.writing = len(entries)
        name = SegmentName(
            self._receiver,
            entries[0].order,
            entries[-1].order,
            len(entries),
            self._writer,
        )
        written = self._shelf.put(
            partition, str(name), tuple(entry.alert for entry in entries)
        )
        written.add_done_callback(self._then(self._written, partition, queue, name))

    def _written(
        self,
        partition: Partition,
        queue: _Queue,
        name: SegmentName,
        answer: Future[None],
    ) -> None:
        # given up meanwhile, with its pages
        if self._queues.get(partition) is not queue:
            self._shelf.drop(partition, str(name))
            return
        count = queue.writing
        queue.writing = 0
        if answer.exception() is not None:
            queue.again = self._clock.monotonic() + _RETRY
            self._log.error(
                "spill_failed",
                receiver=self._receiver,
                cause=str(answer.exception()),
                more="kept in memory, tried again",
            )
            return
        for _ in range(count):
            self._release(queue.tail.popleft())
        self._tails -= count
        if not queue.segments:
            self._log.warning(
                "spilling",
                receiver=self._receiver,
                partition=str(partition),
                more="the store keeps what memory should not",
            )
        queue.segments.append(name)
        self._seal(partition, queue)

    # -- and back ----------------------------------------------------------------------

    def _read(
        self,
        partition: Partition,
        queue: _Queue,
        name: SegmentName,
        answer: Future[tuple[Alert, ...]],
    ) -> None:
        queue.reading = False
        if self._queues.get(partition) is not queue:
            return
        if (fault := answer.exception()) is not None:
            queue.again = self._clock.monotonic() + _RETRY
            self._log.error(
                "segment_not_read",
                receiver=self._receiver,
                segment=str(name),
                cause=str(fault),
                more="tried again",
            )
            return
        queue.segments.popleft()
        alerts = answer.result()
        loaded = LoadedSegment(partition, str(name), len(alerts))
        for alert in alerts:
            self._admit(
                Entry(
                    idempotency_key(alert),
                    (partition, -1),
                    alert,
                    name.first,
                    {self._receiver},
                    loaded=loaded,
                )
            )
        if not alerts:
            self._shelf.drop(partition, str(name))
        self._finish(partition, queue)

    def _return_tail(self, partition: Partition, queue: _Queue) -> None:
        for _ in range(min(len(queue.tail), self._bound - self._bound // 2)):
            self._tails -= 1
            self._admit(queue.tail.popleft())
        self._finish(partition, queue)

    def _finish(self, partition: Partition, queue: _Queue) -> None:
        if not queue.segments and not queue.tail:
            del self._queues[partition]
            self._log.info(
                "spill_over", receiver=self._receiver, partition=str(partition)
            )

    def _then(
        self,
        react: Callable[..., None],
        partition: Partition,
        queue: _Queue,
        name: SegmentName,
    ) -> Callable[[Future[Any]], None]:
        """On the store's thread, with the lock that everything else here is done under."""

        def answered(answer: Future[Any]) -> None:
            with self._lock:
                react(partition, queue, name, answer)
                self._lock.notify_all()

        return answered
