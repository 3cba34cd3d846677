"""The receivers' queues, and what of each exceeds memory.

An entry goes to its receiver's queue, or to its spill if that must take it: see
:mod:`detector.notify.receiver_queue` and :mod:`detector.notify.spill`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence, Set

from detector.clock import Clock
from detector.events import Alert, Partition
from detector.notify.receiver_queue import Batch, Entry, ReceiverQueue
from detector.notify.routes import Target
from detector.notify.spill import Spill, SpillPolicy, restore_segments


class Queues:
    """One for each receiver. Not thread-safe: the outbox holds its lock."""

    def __init__(
        self,
        receivers: Iterable[str],
        clock: Clock,
        target: Callable[[Alert, str], Target],
        release: Callable[[Entry, str], None],
    ) -> None:
        """``target`` leads an alert to a receiver, by the routes in force. ``release``
        takes an entry out of its page for a receiver, once a segment holds it.
        """
        self._clock = clock
        self._target = target
        self._release = release
        self._queues = {name: ReceiverQueue(name) for name in receivers}
        self._spills: dict[str, Spill] = {}

    def spill_into(self, policy: SpillPolicy, lock: threading.Condition) -> None:
        """What exceeds memory goes into the store. Without it all is in memory."""
        for name in self._queues:
            self._spills[name] = self._make_spill(name, policy, lock)

    @property
    def receivers(self) -> Set[str]:
        return self._queues.keys()

    def of(self, receiver: str) -> ReceiverQueue:
        return self._queues[receiver]

    def add(self, entry: Entry, target: Target) -> None:
        """To the target's queue, or to its spill if that must take the entry."""
        queue = self._queues[target.receiver]
        # a summary is one post, so its parts stay together
        spill = None if entry.mark else self._spills.get(target.receiver)
        if spill is not None and spill.must_take(entry, queue.count):
            spill.add(entry)
        else:
            queue.add(entry, target, self._clock.monotonic())

    def refill(self, receiver: str) -> None:
        """Bring back what is next if the queue has room; the store answers later."""
        spill = self._spills.get(receiver)
        if spill is not None:
            spill.refill(self._queues[receiver].count)

    def settle(self, receiver: str, batch: Batch) -> None:
        """It was delivered, or refused for good."""
        for entry in batch.entries:
            if entry.loaded is not None:
                self._spills[receiver].settle(entry.loaded)
        self._queues[receiver].settle(batch)

    def restore(self, partition: Partition, segments: Sequence[str]) -> int:
        """Segments that the store holds, by name: the last order in them, or 0."""
        return restore_segments(self._spills, partition, segments)

    def forget(self, partition: Partition) -> None:
        """Another member delivers its notifications from now on."""
        for spill in self._spills.values():
            spill.forget(partition)
        for queue in self._queues.values():
            queue.forget(partition)

    def in_segments(self) -> int:
        """Notifications that are in the store and not in memory."""
        return sum(spill.in_segments() for spill in self._spills.values())

    def __len__(self) -> int:
        """Notifications, counted once for each receiver that waits for them."""
        queued = sum(queue.count for queue in self._queues.values())
        spilled = sum(map(len, self._spills.values()))
        return queued + spilled

    def _make_spill(
        self, receiver: str, policy: SpillPolicy, lock: threading.Condition
    ) -> Spill:
        queue = self._queues[receiver]

        def admit(entry: Entry) -> None:
            target = self._target(entry.alert, receiver)
            queue.add(entry, target, self._clock.monotonic())

        def release(entry: Entry) -> None:
            self._release(entry, receiver)

        return Spill(receiver, policy, self._clock, lock, admit, release)
