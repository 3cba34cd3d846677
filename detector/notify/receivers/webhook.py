"""The webhook client: one post, and what its answer means.

A 2xx is an acknowledgement as soon as its status line is there. 408, 425, 429, 5xx and
faults of the connection may mend, not sooner than ``Retry-After`` says (RFC 9110,
section 10.2.3); any other status is a refusal. The receiver's address may itself be a
secret: only its host is ever named.
"""

from __future__ import annotations

import email.utils

import msgspec
import urllib3

from detector.clock import Clock
from detector.errors import Permanent, Transient
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost, body, signature
from detector.notify.receivers.settings import ReceiverSettings

_RETRIED = {408, 425, 429}
_SHORT = 1 << 16  # bytes of an answer that are read and not looked at
_LONGEST = 3600.0  # seconds that a Retry-After may ask for


class Webhook:
    """Posts to one receiver, one post at a time. Implements Receiver."""

    def __init__(
        self,
        settings: ReceiverSettings,
        labelled: Labelling,
        external_url: str,
        clock: Clock,
    ) -> None:
        self._url = settings.url.get_secret_value()
        self._secret = (
            settings.secret.get_secret_value().encode() if settings.secret else None
        )
        self._headers = settings.sent_headers()
        self._host = settings.host
        self._labelled = labelled
        self._external = external_url
        self._clock = clock
        timeout = urllib3.Timeout(total=settings.timeout)
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            timeout=timeout,
            retries=False,
            ssl_context=settings.tls(),
        )

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        content = msgspec.json.encode(body(post, self._labelled, self._external))
        own = {"Content-Type": "application/json", "Idempotency-Key": post.key}
        headers = {"User-Agent": "streamwarden"} | self._headers | own
        if self._secret:
            sent = int(self._clock.wall())
            headers["X-Streamwarden-Timestamp"] = str(sent)
            headers["X-Streamwarden-Signature"] = "sha256=" + signature(
                self._secret, sent, content
            )
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=content,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Transient(f"{self._host} can't be reached ({_kind(error)})") from None
        # cut off after its first line: every whole answer has a date, a length or an
        # encoding (RFC 9110)
        if not response.headers:
            response.close()
            raise Transient(f"{self._host} broke off its answer")
        _finish(response)
        if 200 <= response.status < 300:
            return
        if response.status in _RETRIED or response.status >= 500:
            raise Transient(
                f"{self._host} answered {response.status}",
                self._retry_after(response.headers.get("Retry-After")),
            )
        raise Permanent(f"{self._host} refused it with {response.status}")

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds or a date; None where it is neither. An absurd one counts as
        :data:`_LONGEST`, so that no receiver silences us for good.
        """
        if value is None:
            return None
        try:
            asked = (
                float(value)
                if value.isdecimal()
                else email.utils.parsedate_to_datetime(value).timestamp()
                - self._clock.wall()
            )
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, asked), _LONGEST)


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """The status is the answer. A short rest is read, so that the connection serves
    again; of any other the connection is closed.
    """
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
