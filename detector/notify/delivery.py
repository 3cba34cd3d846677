"""The delivery threads: one for each receiver, which takes a post from the outbox,
tries until it is settled, and takes the next.

Theory of operation. A post stays at the head of its receiver's queue until the receiver
acknowledged it, or refused it for good. What time may mend is retried with exponential
backoff and full jitter
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), never
sooner than the receiver asked for; what it can't mend is dead-lettered, each
notification with the reason. The loop only ever appends to the outbox, and no
receiver's thread waits for another's, so a dead receiver slows neither scoring nor its
neighbours.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from detector.errors import Permanent, Transient
from detector.metrics import Metrics
from detector.notify.outbox import DeliveryAttempt, Outbox
from detector.notify.receiver import Receiver
from detector.ports import DeadLetters


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses between attempts, in seconds: ``first`` doubles up to ``longest``."""

    first: float = 0.5
    longest: float = 60.0


class Delivery:
    """All receivers' threads."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Receiver],
        dead: DeadLetters,
        retry: RetryPolicy,
        metrics: Metrics,
        seed: int | None = None,
    ) -> None:
        self._outbox = outbox
        self._receivers = receivers
        self._dead = dead
        self._metrics = metrics
        self._retry = retry
        self._jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=(name,), name=f"delivery-{name}", daemon=True
            )
            for name in receivers
        ]
        self._log = structlog.get_logger("delivery")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, deadline: float) -> None:
        """Give what waits ``deadline`` seconds to leave; the rest stays in the pages.
        Idempotent.
        """
        if not self._stopping.is_set():
            self._outbox.drain(deadline)
        self._stopping.set()
        self._outbox.close()
        for thread in self._threads:
            thread.join(timeout=1)

    def _run(self, name: str) -> None:
        attempt = 0
        while not self._stopping.is_set():
            parcel = self._outbox.take(name, timeout=1.0)
            if parcel is None:
                attempt = 0
                continue
            pause = self._try(parcel, attempt)
            attempt = 0 if pause is None else attempt + 1
            if pause is not None:
                self._stopping.wait(pause)

    def _try(self, parcel: DeliveryAttempt, attempt: int) -> float | None:
        """One attempt; the pause before the next one in seconds, or None where the post
        is settled.
        """
        post = parcel.post
        try:
            self._receivers[post.receiver].deliver(post)
        except Transient as error:
            self._count(post.receiver, "retried", 1)
            if attempt == 0:
                self._log.warning(
                    "notification_retried",
                    receiver=post.receiver,
                    cause=str(error),
                    waiting=len(self._outbox),
                )
            backoff = self._jitter.uniform(
                0, min(self._retry.longest, self._retry.first * 2 ** min(attempt, 20))
            )
            return max(backoff, error.retry_after or 0.0, 0.05)
        except Permanent as error:
            self._count(post.receiver, "dead_lettered", len(post.alerts))
            self._log.error(
                "notification_dead_lettered",
                receiver=post.receiver,
                cause=str(error),
                notifications=len(post.alerts),
            )
            for alert in post.alerts:
                self._dead.notification(alert, str(error))
        else:
            self._count(post.receiver, "delivered", len(post.alerts))
        self._outbox.settle(parcel)
        return None

    def _count(self, receiver: str, outcome: str, notifications: int) -> None:
        self._metrics.notifications.labels(outcome).inc(notifications)
        self._metrics.posts.labels(receiver, outcome).inc()
