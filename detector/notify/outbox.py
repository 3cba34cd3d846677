"""Notifications between the loop, which puts them in, and the delivery threads, one for
each receiver, which settle them.

Theory of operation. The routes say which receivers are owed a notification. Each
receiver has a lane of its own, so that a dead one holds up no other; order within a
lane is that of arrival for each stream. Every notification belongs to a page: it is
written with the page's rows until every receiver it is owed to has acknowledged it or
refused it for good, so that state, offset and what is still to be said are one fact. A
replay that raises a notification again while it still waits adds nothing.

What is too much for memory is in segments of the store, see
:mod:`detector.notify.spill`.

A partition that is given up takes its notifications with it: its next owner finds them
in its pages, or raises them again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from detector.clock import Clock, SystemClock
from detector.events import Alert, OpenIncident, Partition, PendingNotification
from detector.notify.open_incidents import OpenIncidents
from detector.notify.payload import OutgoingPost, idempotency_key, post_key
from detector.notify.receiver_queue import Batch, Entry, PageKey, ReceiverQueue
from detector.notify.routes import Routing, Target
from detector.notify.spill import SegmentName, Spill
from detector.ports import SpillStore


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt: what to send, and the batch to settle once it is done."""

    post: OutgoingPost
    batch: Batch


class Outbox:
    """Thread-safe; nothing in it blocks the loop. Without receivers nothing waits."""

    def __init__(
        self,
        routing: Routing | None = None,
        clock: Clock | None = None,
        shelf: SpillStore | None = None,
        bound: int = 10_000,
        writer: int = 0,
    ) -> None:
        """``bound`` is how many notifications a lane holds before the rest goes to the
        shelf, ``writer`` a number that no other process has.
        """
        self._routing = routing or Routing(())
        self._clock = clock or SystemClock()
        self._lock = threading.Condition()
        self._lanes = {name: ReceiverQueue(name) for name in self._routing.receivers}
        self._overflows = (
            {}
            if shelf is None
            else {
                name: self._overflow(name, shelf, bound, writer) for name in self._lanes
            }
        )
        self._incidents = OpenIncidents()
        self._unsettled: dict[tuple[Partition, str], Entry] = {}
        self._pages: dict[PageKey, dict[str, Entry]] = {}
        self._changed: set[PageKey] = set()
        self._orders: dict[Partition, int] = {}
        self._hurried = self._closed = False
        self._log = structlog.get_logger("outbox")

    # -- the loop's side ---------------------------------------------------------------

    def put(self, page: PageKey, alert: Alert) -> None:
        """It was raised: owed to whom the routes name, and its incident's end to all
        who heard of the beginning.
        """
        with self._lock:
            targets = self._routing.targets(alert)
            if self._routing.tracks_open:
                targets = self._remembered(page, alert, targets)
            self._orders[page[0]] = order = self._orders.get(page[0], 0) + 1
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
            for number, incident in opened if self._routing.tracks_open else ():
                self._incidents.restore(
                    (partition, number), incident, self._routing.repeat_interval
                )
            for number, one in sorted(waiting, key=lambda found: found[1].order):
                self._orders[partition] = max(self._orders.get(partition, 0), one.order)
                self._hold(
                    (partition, number),
                    one.alert,
                    one.order,
                    self._routing.targets_for(one.alert, one.pending_receivers),
                )

    def waiting(self, page: PageKey) -> tuple[PendingNotification, ...]:
        """For the page, as it is written."""
        with self._lock:
            return tuple(
                PendingNotification(
                    e.alert, e.order, tuple(sorted(e.pending_receivers))
                )
                for e in self._pages.get(page, {}).values()
            )

    def opened(self, page: PageKey) -> tuple[OpenIncident, ...]:
        """For the page, as it is written."""
        with self._lock:
            return self._incidents.opened(page)

    def take_changed_pages(self, partition: Partition) -> set[int]:
        """Pages of the partition of which less is owed than when this was last asked."""
        with self._lock:
            taken = {p for p in self._changed if p[0] == partition}
            self._changed -= taken
            return {number for _, number in taken}

    def forget(self, partition: Partition) -> None:
        """Another owner delivers what is left."""
        with self._lock:
            for overflow in self._overflows.values():
                overflow.forget(partition)
            for lane in self._lanes.values():
                lane.forget(partition)
            self._incidents.forget(partition)
            self._unsettled = {
                key: entry
                for key, entry in self._unsettled.items()
                if key[0] != partition
            }
            self._pages = {
                page: held for page, held in self._pages.items() if page[0] != partition
            }
            self._changed = {page for page in self._changed if page[0] != partition}
            self._orders.pop(partition, None)
            self._lock.notify_all()

    def _remembered(
        self, page: PageKey, alert: Alert, targets: tuple[Target, ...]
    ) -> tuple[Target, ...]:
        if alert.firing:
            self._incidents.goes_on(
                page, alert, [target.receiver for target in targets]
            )
            return targets
        routed = {target.receiver for target in targets}
        heard = tuple(
            name
            for name in self._incidents.ended((page[0], alert.stream))
            if name in self._lanes and name not in routed
        )
        return targets + (self._routing.targets_for(alert, heard) if heard else ())

    def _hold(
        self, page: PageKey, alert: Alert, order: int, targets: Sequence[Target]
    ) -> None:
        key = idempotency_key(alert)
        if (page[0], key) in self._unsettled or not targets:
            return
        entry = Entry(key, page, alert, order, {target.receiver for target in targets})
        self._unsettled[page[0], key] = entry
        self._pages.setdefault(page, {})[key] = entry
        now = self._clock.monotonic()
        for target in targets:
            lane = self._lanes[target.receiver]
            overflow = self._overflows.get(target.receiver)
            if overflow is not None and overflow.takes(entry, lane.count):
                overflow.add(entry)
            else:
                lane.add(entry, target, now)
        self._lock.notify_all()

    # -- what is too much for memory ---------------------------------------------------

    def _overflow(
        self, receiver: str, shelf: SpillStore, bound: int, writer: int
    ) -> Spill:
        lane = self._lanes[receiver]

        def admit(entry: Entry) -> None:
            (target,) = self._routing.targets_for(entry.alert, (receiver,))
            lane.add(entry, target, self._clock.monotonic())

        return Spill(
            receiver,
            shelf,
            bound,
            writer,
            self._clock,
            self._lock,
            admit,
            lambda entry: self._release(entry, receiver),
        )

    def _restore_segments(self, partition: Partition, segments: Sequence[str]) -> None:
        names = [name for name in map(SegmentName.parse, segments) if name is not None]
        strange = {name.receiver for name in names} - self._overflows.keys()
        if strange:
            kept = sum(name.count for name in names if name.receiver in strange)
            more = "they stay in the store: give a receiver that name again to have them delivered"
            self._log.error(
                "receivers_unknown",
                partition=str(partition),
                names=",".join(sorted(strange)),
                notifications=kept,
                more=more,
            )
        for receiver, overflow in self._overflows.items():
            found = [name for name in names if name.receiver == receiver]
            if found:
                overflow.restore(partition, found)
        self._orders[partition] = max(
            [self._orders.get(partition, 0), *(name.last for name in names)]
        )

    # -- the delivery threads' side ----------------------------------------------------

    def take(self, receiver: str, timeout: float) -> DeliveryAttempt | None:
        """The receiver's next post, the same until it is settled; None where there is
        none within ``timeout`` seconds.
        """
        lane = self._lanes[receiver]
        ends = self._clock.monotonic() + timeout
        with self._lock:
            while not self._closed:
                self._repeat(lane)
                if receiver in self._overflows:
                    self._overflows[receiver].refill(lane.count)
                parcel = self._next(lane)
                left = min(ends, lane.due()) - self._clock.monotonic()
                if parcel is not None or ends <= self._clock.monotonic():
                    return parcel
                self._lock.wait(max(left, 0.0))
            return None

    def settle(self, parcel: DeliveryAttempt) -> None:
        """Its receiver acknowledged it or refused it for good: the next checkpoint of
        its pages leaves it out.
        """
        receiver = parcel.post.receiver
        now = self._clock.wall()
        with self._lock:
            for entry in parcel.batch.entries:
                if entry.alert.firing and self._routing.tracks_open:
                    page = self._incidents.acknowledged(
                        entry.stream,
                        entry.alert,
                        receiver,
                        now,
                        self._routing.repeat_interval(entry.alert, receiver),
                    )
                    self._changed |= {page} if page is not None else set()
                self._release(entry, receiver)
                self._unload(entry, receiver)
            self._lanes[receiver].settle(parcel.batch)
            self._lock.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait no more for groups to gather; whether all was settled within ``timeout``
        seconds.
        """
        with self._lock:
            self._hurried = True
            self._lock.notify_all()
            return bool(self._lock.wait_for(lambda: not self._waiting(), timeout))

    def close(self) -> None:
        """Wake the delivery threads for good."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def __len__(self) -> int:
        """Notifications times the receivers that each is owed to."""
        with self._lock:
            return self._waiting()

    def in_segments(self) -> int:
        """How many of them are in the store and not in memory."""
        with self._lock:
            return sum(overflow.in_segments() for overflow in self._overflows.values())

    def _waiting(self) -> int:
        return sum(lane.count for lane in self._lanes.values()) + sum(
            map(len, self._overflows.values())
        )

    def _next(self, lane: ReceiverQueue) -> DeliveryAttempt | None:
        while batch := lane.take(
            math.inf if self._hurried else self._clock.monotonic()
        ):
            lane.leave_out(
                batch,
                lambda entry: (
                    entry.repeats
                    and not self._incidents.still(entry.stream, entry.alert)
                ),
            )
            if batch.entries:
                alerts = tuple(e.alert for e in batch.entries)
                key = post_key([e.key for e in batch.entries])
                return DeliveryAttempt(
                    OutgoingPost(
                        lane.receiver,
                        batch.group.key,
                        dict(batch.group.labels),
                        alerts,
                        key,
                    ),
                    batch,
                )
        return None

    def _repeat(self, lane: ReceiverQueue) -> None:
        """Queue what is to be told again."""
        wall = self._clock.wall()
        if self._incidents.next_due(lane.receiver) > wall:
            return
        for page, alert, at in self._incidents.due(lane.receiver, wall):
            entry = Entry(
                f"{idempotency_key(alert)}-repeat-{int(at)}",
                page,
                alert,
                0,
                {lane.receiver},
                repeats=True,
            )
            (target,) = self._routing.targets_for(alert, (lane.receiver,))
            lane.add(entry, target, self._clock.monotonic())

    def _release(self, entry: Entry, receiver: str) -> None:
        """Its page need not hold it for this receiver any more."""
        entry.pending_receivers.discard(receiver)
        key = entry.page[0], entry.key
        if self._unsettled.get(key) is entry:
            self._changed.add(entry.page)
            if not entry.pending_receivers:
                del self._unsettled[key], self._pages[entry.page][entry.key]

    def _unload(self, entry: Entry, receiver: str) -> None:
        if entry.loaded is not None:
            entry.loaded.left -= 1
            if not entry.loaded.left:
                self._overflows[receiver].done(entry.loaded)
