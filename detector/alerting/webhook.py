"""The webhook client and the thread that delivers.

Theory of operation. A notification stays at the head of the outbox until the receiver acknowledged it with a 2xx, or refused it
for good. 429, 408, 5xx and connection faults are retried with exponential backoff and full jitter
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), never sooner than the receiver's ``Retry-After`` (RFC 9110,
section 10.2.3) asks; any other status is dead-lettered with the reason. The loop only ever appends to the outbox, so a dead receiver
never slows scoring. The receiver's address may itself be a secret: only its host is ever named.
"""

from __future__ import annotations

import email.utils
import random
import threading

import msgspec
import structlog
import urllib3

from detector.alerting.config import AlertingSettings
from detector.alerting.outbox import Entry, Outbox
from detector.alerting.payload import body, idempotency_key, signature
from detector.alerting.receivers import ReceiverSettings
from detector.clock import Clock
from detector.errors import Permanent, Transient
from detector.events import Alert
from detector.metrics import Metrics
from detector.ports import DeadLetters, Receiver

_RETRIED = {408, 425, 429}
_SHORT = 1 << 16  # bytes of an answer that are read and not looked at
_LONGEST = 3600.0  # seconds that a Retry-After may ask for


class Webhook:
    """Posts one notification at a time. Implements Receiver."""

    def __init__(self, settings: ReceiverSettings, external_url: str, clock: Clock) -> None:
        self._url = settings.url.get_secret_value()
        self._secret = settings.secret.get_secret_value().encode() if settings.secret else None
        self._headers = settings.sent_headers()
        self._host = settings.host
        self._external = external_url
        self._clock = clock
        timeout = urllib3.Timeout(total=settings.timeout)
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, timeout=timeout, retries=False, ssl_context=settings.tls())

    def deliver(self, alert: Alert) -> None:
        """Raises Transient or Permanent."""
        content = msgspec.json.encode(body(alert, self._external))
        own = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key(alert)}
        headers = {"User-Agent": "streamwarden"} | self._headers | own
        if self._secret:
            sent = int(self._clock.wall())
            headers["X-Streamwarden-Timestamp"] = str(sent)
            headers["X-Streamwarden-Signature"] = "sha256=" + signature(self._secret, sent, content)
        try:
            response = self._pool.request("POST", self._url, body=content, headers=headers, redirect=False, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise Transient(f"{self._host} can't be reached ({_kind(error)})") from None
        _finish(response)
        if 200 <= response.status < 300:
            return
        if response.status in _RETRIED or response.status >= 500:
            raise Transient(f"{self._host} answered {response.status}", self._retry_after(response.headers.get("Retry-After")))
        raise Permanent(f"{self._host} refused it with {response.status}")

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds or a date; None where it is neither. An absurd one counts as :data:`_LONGEST`, so that no receiver silences us for good."""
        if value is None:
            return None
        try:
            asked = float(value) if value.isdecimal() else email.utils.parsedate_to_datetime(value).timestamp() - self._clock.wall()
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, asked), _LONGEST)


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """The status is the answer. A short rest is read, so that the connection serves again; of any other the connection is closed."""
    try:
        response.read(_SHORT)
        if response.read(1):
            response.close()
    except urllib3.exceptions.HTTPError:
        response.close()
    response.release_conn()


def _kind(error: urllib3.exceptions.HTTPError) -> str:
    """What it was, in words that hold no address."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"TLS: {getattr(error.args[0], 'verify_message', '') or type(error.args[0]).__name__}"
    return type(error).__name__


class LogOnly:
    """The receiver of a daemon without one: the alert is already in the log and the metrics. Implements Receiver."""

    def deliver(self, alert: Alert) -> None:
        """Nothing to do."""


class Delivery:
    """The delivery thread: takes from the outbox, retries, settles."""

    def __init__(
        self,
        outbox: Outbox,
        receiver: Receiver,
        dead: DeadLetters,
        settings: AlertingSettings,
        metrics: Metrics,
        seed: int | None = None,
    ) -> None:
        self._outbox, self._receiver, self._dead, self._metrics = outbox, receiver, dead, metrics
        self._first, self._most = settings.retry_first, settings.retry_most
        self._jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._log = structlog.get_logger("delivery")

    def start(self) -> None:
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """Give what is queued ``deadline`` seconds to leave; the rest stays in the pages. Idempotent."""
        if not self._stopping.is_set():
            self._outbox.wait_empty(deadline)
        self._stopping.set()
        self._outbox.close()
        self._thread.join(timeout=deadline + 1)

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            entry = self._outbox.next(timeout=1.0)
            if entry is None:
                continue
            pause = self._try(entry, attempt)
            attempt = 0 if pause is None else attempt + 1
            if pause is not None:
                self._stopping.wait(pause)

    def _try(self, entry: Entry, attempt: int) -> float | None:
        """One attempt; the pause before the next one in seconds, or None where the notification is settled."""
        try:
            self._receiver.deliver(entry.alert)
        except Transient as error:
            self._metrics.notifications.labels("retried").inc()
            if attempt == 0:
                self._log.warning("notification_retried", cause=str(error), waiting=len(self._outbox))
            backoff = self._jitter.uniform(0, min(self._most, self._first * 2 ** min(attempt, 20)))
            return max(backoff, error.retry_after or 0.0, 0.05)
        except Permanent as error:
            self._metrics.notifications.labels("dead_lettered").inc()
            self._log.error("notification_dead_lettered", stream=entry.alert.stream, cause=str(error))
            self._dead.notification(entry.alert, str(error))
        else:
            self._metrics.notifications.labels("delivered").inc()
        self._outbox.settle(entry)
        return None
