"""Notifications between the loop, which puts them in, and the delivery threads, one for
each receiver, which settle them.

Theory of operation. The routes name the receivers of a notification. Each receiver has
its own queue, so a dead one delays no other; within a queue the notifications of a
stream keep their order. A notification belongs to a page. It is written with the page's
rows until each of its receivers has acknowledged it or refused it for good. So state,
offset and what is still to be delivered are one fact. A replay that raises a
notification again while it waits adds nothing.

What exceeds memory spills into the store, see :mod:`detector.notify.spill`. What
receivers get again while an incident lasts is in :mod:`detector.notify.open_incidents`.

A partition that is given up takes its notifications with it: its next owner finds them
in its pages, or raises them again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from detector.clock import Clock, SystemClock
from detector.events import Alert, OpenIncident, Partition, PendingNotification
from detector.notify.open_incidents import OpenIncidents
from detector.notify.payload import OutgoingPost, idempotency_key
from detector.notify.receiver_queue import Batch, Entry, PageKey, ReceiverQueue
from detector.notify.routes import MAX_ALERTS_PER_POST, Routing, Target
from detector.notify.spill import SegmentName, Spill, SpillPolicy

# Notifications in a queue up to which repeats join it: two full posts. In the worst
# hour every stream of the fleet is due again, too many alerts for memory.
_REPEATS_AHEAD = 2 * MAX_ALERTS_PER_POST

_AlertKey = tuple[Partition, str]  # with the alert's idempotency key
_Key = TypeVar("_Key", bound=tuple[Partition, object])
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """What to send, and the batch to settle once it is done.

    Attributes:
        refused_for: seconds since its receiver first refused it; 0 if it did not.
    """

    post: OutgoingPost
    batch: Batch
    refused_for: float = 0.0


class Outbox:
    """Thread-safe; nothing in it blocks the loop. Without receivers nothing waits."""

    def __init__(
        self,
        routing: Routing | None = None,
        clock: Clock | None = None,
        spill: SpillPolicy | None = None,
    ) -> None:
        """Without ``spill`` all that waits is in memory."""
        self._routing = routing or Routing(())
        self._clock = clock or SystemClock()
        self._lock = threading.Condition()
        receivers = self._routing.receivers
        self._queues = {name: ReceiverQueue(name) for name in receivers}
        self._spills = {} if spill is None else self._make_spills(spill)
        self._incidents = OpenIncidents()
        self._unsettled: dict[_AlertKey, Entry] = {}
        self._pages: dict[PageKey, dict[str, Entry]] = {}
        self._changed: set[PageKey] = set()
        self._orders: dict[Partition, int] = {}
        self._draining = False
        self._closed = False
        self._log = structlog.get_logger("outbox")

    # -- the loop's side ---------------------------------------------------------------

    def put(self, page: PageKey, alert: Alert) -> None:
        """It was raised: it goes where the routes lead.

        The end of an incident also goes to every receiver that got its beginning.
        """
        with self._lock:
            targets = self._routing.targets(alert)
            if self._routing.tracks_open and alert.firing:
                names = [target.receiver for target in targets]
                self._incidents.update(page, alert, names)
            elif self._routing.tracks_open:
                targets += self._end(page, alert, targets)
            partition, _ = page
            order = self._orders.get(partition, 0) + 1
            self._orders[partition] = order
            self._hold(page, alert, order, targets)

    def restore(
        self,
        partition: Partition,
        waiting: Sequence[tuple[int, PendingNotification]],
        opened: Sequence[tuple[int, OpenIncident]],
        segments: Sequence[str] = (),
    ) -> None:
        """What its pages held, by number of the page, and the names of its segments."""
        with self._lock:
            self._restore_segments(partition, segments)
            if self._routing.tracks_open:
                interval = self._routing.repeat_interval
                for number, incident in opened:
                    page = partition, number
                    self._incidents.restore(page, incident, interval)
            for number, stored in sorted(waiting, key=_order):
                self._note_order(partition, stored.order)
                self._restore_waiting((partition, number), stored)

    def waiting(self, page: PageKey) -> tuple[PendingNotification, ...]:
        """For the page, as it is written."""
        with self._lock:
            entries = self._pages.get(page, {}).values()
            return tuple(entry.pending() for entry in entries)

    def opened(self, page: PageKey) -> tuple[OpenIncident, ...]:
        """For the page, as it is written."""
        with self._lock:
            return self._incidents.of_page(page)

    def take_changed_pages(self, partition: Partition) -> set[int]:
        """Pages of the partition that hold less, or older, than at the last call."""
        with self._lock:
            taken = _of_partition(self._changed, partition)
            self._changed -= taken
            return {number for _, number in taken}

    def forget(self, partition: Partition) -> None:
        """Another member delivers its notifications from now on."""
        with self._lock:
            for spill in self._spills.values():
                spill.forget(partition)
            for queue in self._queues.values():
                queue.forget(partition)
            self._incidents.forget(partition)
            self._unsettled = _without(self._unsettled, partition)
            self._pages = _without(self._pages, partition)
            self._changed -= _of_partition(self._changed, partition)
            self._orders.pop(partition, None)
            self._lock.notify_all()

    def _end(
        self,
        page: PageKey,
        alert: Alert,
        targets: Sequence[Target],
    ) -> tuple[Target, ...]:
        """Targets beside those of the routes: whoever got the incident's beginning."""
        partition, _ = page
        routed = {target.receiver for target in targets}
        others = self._queues.keys() - routed
        acknowledged_by = self._incidents.end((partition, alert.stream))
        informed = [name for name in acknowledged_by if name in others]
        if not informed:
            return ()
        return self._routing.targets_for(alert, informed)

    def _hold(
        self, page: PageKey, alert: Alert, order: int, targets: Sequence[Target]
    ) -> None:
        partition, _ = page
        key = idempotency_key(alert)
        is_waiting = (partition, key) in self._unsettled
        if is_waiting or not targets:
            return
        entry = Entry(
            key=key,
            page=page,
            alert=alert,
            order=order,
            pending_receivers={target.receiver for target in targets},
        )
        self._unsettled[partition, key] = entry
        of_page = self._pages.setdefault(page, {})
        of_page[key] = entry
        now = self._clock.monotonic()
        for target in targets:
            self._add(entry, target, now)
        self._lock.notify_all()

    def _add(self, entry: Entry, target: Target, now: float) -> None:
        """To the target's queue, or to its spill if that must take the entry."""
        queue = self._queues[target.receiver]
        spill = self._spills.get(target.receiver)
        if spill is not None and spill.must_take(entry, queue.count):
            spill.add(entry)
        else:
            queue.add(entry, target, now)

    def _restore_waiting(self, page: PageKey, stored: PendingNotification) -> None:
        receivers = stored.pending_receivers
        targets = self._routing.targets_for(stored.alert, receivers)
        self._hold(page, stored.alert, stored.order, targets)

    def _note_order(self, partition: Partition, order: int) -> None:
        """Later notifications of the partition come after this ``order``."""
        latest = self._orders.get(partition, 0)
        self._orders[partition] = max(latest, order)

    # -- what exceeds memory -----------------------------------------------------------

    def _make_spills(self, policy: SpillPolicy) -> dict[str, Spill]:
        return {name: self._make_spill(name, policy) for name in self._queues}

    def _make_spill(self, receiver: str, policy: SpillPolicy) -> Spill:
        queue = self._queues[receiver]

        def admit(entry: Entry) -> None:
            (target,) = self._routing.targets_for(entry.alert, (receiver,))
            queue.add(entry, target, self._clock.monotonic())

        def release(entry: Entry) -> None:
            self._release(entry, receiver)

        return Spill(receiver, policy, self._clock, self._lock, admit, release)

    def _restore_segments(self, partition: Partition, segments: Sequence[str]) -> None:
        parsed = map(SegmentName.parse, segments)
        names = [name for name in parsed if name is not None]
        unknown = [name for name in names if name.receiver not in self._spills]
        if unknown:
            self._log_unknown(partition, unknown)
        for receiver, spill in self._spills.items():
            found = [name for name in names if name.receiver == receiver]
            if found:
                spill.restore(partition, found)
        last = max((name.last for name in names), default=0)
        self._note_order(partition, last)

    def _log_unknown(self, partition: Partition, unknown: list[SegmentName]) -> None:
        receivers = {name.receiver for name in unknown}
        self._log.error(
            "receivers_unknown",
            partition=str(partition),
            names=",".join(sorted(receivers)),
            notifications=sum(name.count for name in unknown),
            note="the store keeps them until a receiver has that name again",
        )

    # -- the delivery threads' side ----------------------------------------------------

    def take(self, receiver: str, timeout: float) -> DeliveryAttempt | None:
        """The receiver's next post, the same until it is settled.

        None if there is none within ``timeout`` seconds, or the outbox is closed.
        """
        queue = self._queues[receiver]
        spill = self._spills.get(receiver)
        ends = self._clock.monotonic() + timeout
        with self._lock:
            while not self._closed:
                self._queue_repeats(queue)
                if spill is not None:
                    spill.refill(queue.count)
                attempt = self._next(queue)
                now = self._clock.monotonic()
                if attempt is not None or ends <= now:
                    return attempt
                wake = min(ends, queue.next_due())
                self._lock.wait(max(0.0, wake - now))
            return None

    def settle(self, attempt: DeliveryAttempt) -> None:
        """Its receiver acknowledged it or refused it for good.

        The next checkpoint of its pages leaves it out.
        """
        receiver = attempt.post.receiver
        now = self._clock.wall()
        with self._lock:
            for entry in attempt.batch.entries:
                if entry.alert.firing and self._routing.tracks_open:
                    self._acknowledge(entry, receiver, now)
                self._release(entry, receiver)
                if entry.loaded is not None:
                    self._spills[receiver].settle(entry.loaded)
            self._queues[receiver].settle(attempt.batch)
            self._lock.notify_all()

    def put_off(self, attempt: DeliveryAttempt, pause: float) -> None:
        """Its receiver refused it, and gets it, or its halves, in ``pause`` seconds."""
        with self._lock:
            now = self._clock.monotonic()
            queue = self._queues[attempt.post.receiver]
            queue.put_off(attempt.batch, now, now + pause)
            self._lock.notify_all()

    def drain(self, timeout: float) -> bool:
        """Stop gathering; whether all is settled within ``timeout`` seconds."""
        with self._lock:
            self._draining = True
            self._lock.notify_all()
            return self._lock.wait_for(lambda: self._count() == 0, timeout)

    def close(self) -> None:
        """Wake the delivery threads for good."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def __len__(self) -> int:
        """Notifications, counted once for each receiver that waits for them."""
        with self._lock:
            return self._count()

    def in_segments(self) -> int:
        """How many of them are in the store and not in memory."""
        with self._lock:
            spills = self._spills.values()
            return sum(spill.in_segments() for spill in spills)

    def _count(self) -> int:
        queues = self._queues.values()
        queued = sum(queue.count for queue in queues)
        spilled = sum(map(len, self._spills.values()))
        return queued + spilled

    def _next(self, queue: ReceiverQueue) -> DeliveryAttempt | None:
        now = math.inf if self._draining else self._clock.monotonic()
        while batch := queue.take(now):
            queue.discard(batch, self._is_ended_repeat)
            if batch.entries:
                refused_for = batch.refused_for(self._clock.monotonic())
                post = batch.post(queue.receiver)
                return DeliveryAttempt(post, batch, refused_for)
        return None

    def _is_ended_repeat(self, entry: Entry) -> bool:
        """Whether it repeats an incident that ended meanwhile."""
        if not entry.repeats:
            return False
        return not self._incidents.is_open(entry.stream, entry.alert)

    def _queue_repeats(self, queue: ReceiverQueue) -> None:
        wall = self._clock.wall()
        if self._incidents.next_due(queue.receiver) > wall:
            return
        due = self._incidents.take_due(queue.receiver, wall)
        # The rest stays as bytes in the open incidents until there is room.
        while queue.count < _REPEATS_AHEAD and (found := next(due, None)):
            page, alert, at = found
            entry = Entry(
                key=f"{idempotency_key(alert)}-repeat-{int(at)}",
                page=page,
                alert=alert,
                order=0,
                pending_receivers={queue.receiver},
                repeats=True,
            )
            (target,) = self._routing.targets_for(alert, (queue.receiver,))
            queue.add(entry, target, self._clock.monotonic())

    def _acknowledge(self, entry: Entry, receiver: str, now: float) -> None:
        """``now`` in wall time."""
        interval = self._routing.repeat_interval(entry.alert, receiver)
        page = self._incidents.acknowledge(
            entry.stream,
            entry.alert,
            receiver,
            now,
            interval,
        )
        if page is not None:
            self._changed.add(page)

    def _release(self, entry: Entry, receiver: str) -> None:
        """Its page need not hold it for this receiver any more."""
        entry.pending_receivers.discard(receiver)
        partition, _ = entry.page
        key = partition, entry.key
        if self._unsettled.get(key) is not entry:
            return
        self._changed.add(entry.page)
        if not entry.pending_receivers:
            del self._unsettled[key]
            del self._pages[entry.page][entry.key]


def _order(found: tuple[int, PendingNotification]) -> int:
    return found[1].order


def _of_partition(pages: set[PageKey], partition: Partition) -> set[PageKey]:
    return {page for page in pages if page[0] == partition}


def _without(table: Mapping[_Key, _Value], part: Partition) -> dict[_Key, _Value]:
    return {key: value for key, value in table.items() if key[0] != part}
