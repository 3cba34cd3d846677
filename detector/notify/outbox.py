"""Notifications between the loop, which puts them in, and the delivery threads, one for
each receiver, which settle them.

Theory of operation. The routes name the receivers of a notification. Each receiver has
its own queue, so a dead one delays no other; within a queue the notifications of a
stream keep their order. A notification belongs to a page. It is written with the page's
rows until each of its receivers has acknowledged it or refused it for good. So state,
offset and what is still to be delivered are one fact. A replay that raises a
notification again while it waits adds nothing.

What is of an old backlog is held and summed up, see :mod:`detector.notify.backlog`.
What exceeds memory spills into the store, see :mod:`detector.notify.queues`. What
receivers get again while an incident lasts is in :mod:`detector.notify.open_incidents`.

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
from detector.notify.backlog import Backlog, notification_key, split_mark
from detector.notify.open_incidents import OpenIncidents
from detector.notify.payload import OutgoingPost, idempotency_key
from detector.notify.queues import Queues
from detector.notify.receiver_queue import Batch, Entry, PageKey, ReceiverQueue
from detector.notify.routes import MAX_ALERTS_PER_POST, Routing, Target
from detector.notify.spill import SpillPolicy
from detector.notify.waiting import Waiting

# Notifications in a queue up to which repeats join it: two full posts. In the worst
# hour every stream of the fleet is due again, too many alerts for memory.
_REPEATS_AHEAD = 2 * MAX_ALERTS_PER_POST


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
        self._incidents = OpenIncidents()
        self._waiting = Waiting()
        self._queues = Queues(
            self._routing.receivers,
            self._clock,
            self._target,
            self._waiting.release,
        )
        if spill is not None:
            self._queues.spill_into(spill, self._lock)
        self._backlog = Backlog(self._waiting.changed)
        self._orders: dict[Partition, int] = {}
        self._draining = False
        self._closed = False
        self._log = structlog.get_logger("outbox")

    def reroute(self, routing: Routing) -> None:
        """Other routes to the same receivers. What waits goes where it was to go."""
        with self._lock:
            self._routing = routing
            self._incidents.reschedule(routing.repeat_interval)

    # -- the loop's side ---------------------------------------------------------------

    def put(self, page: PageKey, alert: Alert, is_old: bool = False) -> None:
        """It was raised: it goes where the routes lead.

        The end of an incident also goes to every receiver that got its beginning. What
        ``is_old`` is of an old backlog, and is held until that is read.
        """
        with self._lock:
            partition, _ = page
            order = self._orders.get(partition, 0) + 1
            self._orders[partition] = order
            if not self._queues.receivers:
                return
            told = self._backlog.pass_on(page, alert, order, is_old)
            if told is not None:
                self._route(page, told, order)

    def begin_backlog(self, partition: Partition) -> None:
        """What comes of it may be old, and is summed up when all of it is read."""
        with self._lock:
            self._backlog.begin(partition)

    def end_backlog(self, partition: Partition) -> None:
        """All of it is read: tell what is still open, and sum up the rest."""
        with self._lock:
            for page, held in self._backlog.end(partition):
                self._route(page, held.alert, held.order)
            self._sum_up()

    def restore(
        self,
        partition: Partition,
        waiting: Sequence[tuple[int, PendingNotification]],
        opened: Sequence[tuple[int, OpenIncident]],
        segments: Sequence[str] = (),
    ) -> None:
        """What its pages held, by number of the page, and the names of its segments."""
        with self._lock:
            last = self._queues.restore(partition, segments)
            self._note_order(partition, last)
            interval = self._routing.repeat_interval
            for number, incident in opened:
                self._incidents.restore((partition, number), incident, interval)
            for number, stored in sorted(waiting, key=_order):
                self._note_order(partition, stored.order)
                if not self._backlog.restore((partition, number), stored):
                    self._restore_waiting((partition, number), stored)

    def waiting(self, page: PageKey) -> tuple[PendingNotification, ...]:
        """For the page, as it is written."""
        with self._lock:
            return (*self._waiting.of_page(page), *self._backlog.of_page(page))

    def opened(self, page: PageKey) -> tuple[OpenIncident, ...]:
        """For the page, as it is written."""
        with self._lock:
            return self._incidents.of_page(page)

    def take_changed_pages(self, partition: Partition) -> set[int]:
        """Pages of the partition that hold less, or older, than at the last call."""
        with self._lock:
            return self._waiting.take_changed(partition)

    def forget(self, partition: Partition) -> None:
        """Another member delivers its notifications from now on."""
        with self._lock:
            self._queues.forget(partition)
            self._incidents.forget(partition)
            self._backlog.forget(partition)
            self._waiting.forget(partition)
            self._orders.pop(partition, None)
            self._sum_up()
            self._lock.notify_all()

    def _route(self, page: PageKey, alert: Alert, order: int) -> None:
        targets = self._routing.targets(alert)
        if alert.firing:
            names = [target.receiver for target in targets]
            self._incidents.update(page, alert, names)
        else:
            targets += self._end(page, alert, targets)
        self._hold(page, alert, order, targets)

    def _sum_up(self) -> None:
        """Hand over the summary, unless some partition has a backlog left."""
        if not self._backlog.is_read:
            return
        parts = self._backlog.take()
        if parts:
            self._log_summary([part.alert for _, part in parts])
        for page, part in parts:
            mark, receivers = split_mark(part.pending_receivers)
            targets = self._routing.summary_targets(part.alert, receivers)
            self._hold(page, part.alert, part.order, targets, mark)

    def _log_summary(self, alerts: Sequence[Alert]) -> None:
        firing = [alert for alert in alerts if alert.firing]
        ended = sum(alert.repeats for alert in alerts if not alert.firing)
        self._log.info(
            "backlog_summed_up",
            incidents=ended + len(firing),
            still_open=len(firing),
            note="one notification tells of them; each that is open has one too",
        )

    def _end(
        self,
        page: PageKey,
        alert: Alert,
        targets: Sequence[Target],
    ) -> tuple[Target, ...]:
        """Targets beside those of the routes: whoever got the incident's beginning."""
        partition, _ = page
        routed = {target.receiver for target in targets}
        others = self._queues.receivers - routed
        acknowledged_by = self._incidents.end((partition, alert.stream))
        informed = [name for name in acknowledged_by if name in others]
        if not informed:
            return ()
        return self._routing.targets_for(alert, informed)

    def _hold(
        self,
        page: PageKey,
        alert: Alert,
        order: int,
        targets: Sequence[Target],
        mark: str = "",
    ) -> None:
        partition, _ = page
        key = notification_key(alert, mark)
        if self._waiting.has(partition, key) or not targets:
            return
        entry = Entry(
            key=key,
            page=page,
            alert=alert,
            order=order,
            pending_receivers={target.receiver for target in targets},
            mark=mark,
        )
        self._waiting.add(entry)
        for target in targets:
            self._queues.add(entry, target)
        self._lock.notify_all()

    def _restore_waiting(self, page: PageKey, stored: PendingNotification) -> None:
        receivers = stored.pending_receivers
        targets = self._routing.targets_for(stored.alert, receivers)
        self._hold(page, stored.alert, stored.order, targets)

    def _note_order(self, partition: Partition, order: int) -> None:
        """Later notifications of the partition come after this ``order``."""
        latest = self._orders.get(partition, 0)
        self._orders[partition] = max(latest, order)

    def _target(self, alert: Alert, receiver: str) -> Target:
        """That receiver, whatever the routes say now."""
        (target,) = self._routing.targets_for(alert, (receiver,))
        return target

    # -- the delivery threads' side ----------------------------------------------------

    def take(self, receiver: str, timeout: float) -> DeliveryAttempt | None:
        """The receiver's next post, the same until it is settled.

        None if there is none within ``timeout`` seconds, or the outbox is closed.
        """
        queue = self._queues.of(receiver)
        ends = self._clock.monotonic() + timeout
        with self._lock:
            while not self._closed:
                self._queue_repeats(queue)
                self._queues.refill(receiver)
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
                if entry.alert.firing and not entry.mark:
                    self._acknowledge(entry, receiver, now)
                self._waiting.release(entry, receiver)
            self._queues.settle(receiver, attempt.batch)
            self._lock.notify_all()

    def put_off(self, attempt: DeliveryAttempt, pause: float) -> None:
        """Its receiver refused it, and gets it, or its halves, in ``pause`` seconds."""
        with self._lock:
            now = self._clock.monotonic()
            queue = self._queues.of(attempt.post.receiver)
            queue.put_off(attempt.batch, now, now + pause)
            self._lock.notify_all()

    def drain(self, timeout: float) -> bool:
        """Stop gathering; whether all is settled within ``timeout`` seconds."""
        with self._lock:
            self._draining = True
            self._lock.notify_all()
            return self._lock.wait_for(lambda: len(self._queues) == 0, timeout)

    def close(self) -> None:
        """Wake the delivery threads for good."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def __len__(self) -> int:
        """Notifications, counted once for each receiver that waits for them."""
        with self._lock:
            return len(self._queues)

    def in_segments(self) -> int:
        """How many of them are in the store and not in memory."""
        with self._lock:
            return self._queues.in_segments()

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
            target = self._target(alert, queue.receiver)
            queue.add(entry, target, self._clock.monotonic())

    def _acknowledge(self, entry: Entry, receiver: str, now: float) -> None:
        """``now`` in wall time."""
        interval = self._routing.repeat_interval(entry.alert, receiver)
        page = self._incidents.acknowledge(
            entry.stream, entry.alert, receiver, now, interval
        )
        if page is not None:
            self._waiting.changed.add(page)


def _order(found: tuple[int, PendingNotification]) -> int:
    return found[1].order
