"""The delivery threads: one for each receiver, which takes a post from the outbox,
tries until it is settled, and takes the next.

Theory of operation. A post stays at the head of its receiver's queue until the receiver
acknowledged it, or refused it for good. A fault that may pass is retried with
exponential backoff and full jitter
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), never
sooner than the receiver asked for. A refusal that may pass is retried too, for an hour:
until then the post steps aside for others. One refused notification must not keep
others of its post back, so a post of several is halved with each refusal. What is
refused for good is alone by then, and is dead-lettered with the reason. The loop only
ever appends to the outbox, and no receiver's thread waits for another's, so a dead
receiver slows neither scoring nor its neighbours.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from detector.errors import Permanent, Refused, Transient
from detector.metrics import Metrics
from detector.notify.outbox import DeliveryAttempt, Outbox
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import Receiver
from detector.phrases import duration, listed
from detector.ports import DeadLetters

_POLL = 1.0  # seconds until an idle thread looks for repeats
_SHORTEST_PAUSE = 0.05  # seconds, whatever the jitter
_MAX_DOUBLINGS = 20  # of the first pause: the longest pause cuts it off long before
_NAMED = 3  # streams that a line of the log names at most
_JOIN = 1.0  # seconds that a stop waits for all threads that are in a post


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses between attempts, in seconds: ``first`` doubles up to ``longest``.

    Attributes:
        refusals: seconds for which a post that is refused is tried again.
    """

    first: float = 0.5
    longest: float = 60.0
    refusals: float = 3600.0

    def longest_pause(self, attempt: int) -> float:
        """The upper end of the jitter, in seconds, after ``attempt`` failures."""
        return float(min(self.longest, self.first * 2 ** min(attempt, _MAX_DOUBLINGS)))


class Delivery:
    """All receivers' threads."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Receiver],
        dead_letters: DeadLetters,
        retry: RetryPolicy,
        metrics: Metrics,
        seed: int | None = None,
    ) -> None:
        """``seed`` is that of the jitter."""
        self._outbox = outbox
        self._receivers = receivers
        self._dead_letters = dead_letters
        self._retry = retry
        self._metrics = metrics
        self._jitter = random.Random(seed)  # noqa: S311 - spreads retries, no secret
        self._stopping = threading.Event()
        self._threads = [self._thread(name) for name in receivers]
        self._log = structlog.get_logger("delivery")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def use(self, receivers: Mapping[str, Receiver], retry: RetryPolicy) -> None:
        """Deliver through others of the same names, from each one's next post on."""
        self._receivers = receivers
        self._retry = retry

    def stop(self, deadline: float) -> None:
        """Deliver what can be delivered within ``deadline`` seconds. Idempotent.

        The rest stays in the pages.
        """
        if self._stopping.is_set():
            return
        self._outbox.drain(deadline)
        self._stopping.set()
        self._outbox.close()
        for thread in self._threads:
            thread.join(timeout=_JOIN / len(self._threads))

    def _thread(self, receiver: str) -> threading.Thread:
        return threading.Thread(
            target=self._run,
            args=(receiver,),
            name=f"delivery-{receiver}",
            daemon=True,
        )

    def _run(self, receiver: str) -> None:
        failed = 0
        used = self._receivers[receiver]
        while not self._stopping.is_set():
            if used is not self._receivers[receiver]:
                used.close()
                used = self._receivers[receiver]
            attempt = self._outbox.take(receiver, timeout=_POLL)
            pause = None if attempt is None else self._try(attempt, failed)
            if pause is None:
                failed = 0
            else:
                failed += 1
                self._stopping.wait(pause)
        used.close()

    def _try(self, attempt: DeliveryAttempt, failed: int) -> float | None:
        """One attempt after ``failed`` others.

        The pause before the next one in seconds, or None if the post is settled.
        """
        post = attempt.post
        try:
            self._receivers[post.receiver].deliver(post)
        except Transient as fault:
            if not failed:
                self._log_retry(post, fault)
            return self._put_off(post, failed, fault.retry_after or 0.0)
        except Permanent as fault:
            if self._may_pass(attempt, fault):
                return self._step_aside(attempt, failed, fault)
            if post.notifications > 1:
                self._try_in_parts(attempt)
                return None
            self._dead_letter(post, fault)
        # The top of a receiver's thread: a fault of ours in one post must not end it,
        # or this receiver would get nothing until a restart. The post is tried again.
        except Exception as fault:  # noqa: BLE001
            if not failed:
                self._log_fault(post, fault)
            return self._put_off(post, failed)
        else:
            self._count(post, "delivered", post.notifications)
        self._outbox.settle(attempt)
        return None

    def _may_pass(self, attempt: DeliveryAttempt, fault: Permanent) -> bool:
        if not isinstance(fault, Refused):
            return False
        return attempt.refused_for < self._retry.refusals

    def _step_aside(
        self, attempt: DeliveryAttempt, failed: int, fault: Permanent
    ) -> float:
        """Let other posts go first. Seconds until one of them is tried."""
        if not attempt.batch.refusals:
            self._log_refusal(attempt.post, fault)
        own_pause = self._pause(attempt.batch.refusals)
        self._outbox.put_off(attempt, own_pause)
        return self._put_off(attempt.post, failed)

    def _try_in_parts(self, attempt: DeliveryAttempt) -> None:
        """It is refused for good as a whole; each notification may be accepted."""
        self._outbox.put_off(attempt, 0.0)
        self._count(attempt.post, "retried", 1)

    def _put_off(self, post: OutgoingPost, failed: int, at_least: float = 0.0) -> float:
        """Seconds until the next attempt, after ``failed`` others and this one."""
        self._count(post, "retried", 1)
        return max(self._pause(failed), at_least)

    def _pause(self, failed: int) -> float:
        """Seconds, after ``failed`` failures and one more."""
        jitter = self._jitter.uniform(0, self._retry.longest_pause(failed))
        return max(jitter, _SHORTEST_PAUSE)

    def _log_retry(self, post: OutgoingPost, fault: Transient) -> None:
        self._log.warning(
            "notification_retried",
            receiver=post.receiver,
            cause=str(fault),
            waiting=len(self._outbox),
        )

    def _log_refusal(self, post: OutgoingPost, fault: Permanent) -> None:
        self._log.warning(
            "notification_refused",
            receiver=post.receiver,
            cause=str(fault),
            notifications=len(post.alerts),
            note=f"it is tried again for {duration(self._retry.refusals)}, then"
            " dead-lettered",
        )

    def _log_fault(self, post: OutgoingPost, fault: Exception) -> None:
        """A fault of ours. Its text is left out: an address in it may be a secret."""
        self._log.error(
            "delivery_fault",
            receiver=post.receiver,
            cause=type(fault).__name__,
            trace="".join(traceback.format_tb(fault.__traceback__)),
            note="it is tried again; please report it",
        )

    def _dead_letter(self, post: OutgoingPost, fault: Permanent) -> None:
        self._count(post, "dead_lettered", post.notifications)
        self._log.error(
            "notification_dead_lettered",
            receiver=post.receiver,
            cause=str(fault),
            notifications=post.notifications,
            stream=listed([alert.stream for alert in post.alerts], _NAMED),
            file=self._dead_letters.file,
            remedy="correct the receiver's settings, then run"
            " `streamwarden redrive --alerts`: the file keeps what it refused",
        )
        if post.sums_up:
            self._dead_letters.summary(post.alerts, str(fault), post.receiver)
            return
        for alert in post.alerts:
            self._dead_letters.notification(alert, str(fault), post.receiver)

    def _count(self, post: OutgoingPost, outcome: str, notifications: int) -> None:
        self._metrics.notifications.labels(outcome).inc(notifications)
        self._metrics.posts.labels(post.receiver, outcome).inc()
