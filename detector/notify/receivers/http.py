"""One post over HTTP, and what its answer means: shared by receivers of every kind.

A 2xx is an acknowledgement as soon as its status line is there. 408, 425, 429, 5xx and
faults of the connection may pass, but not sooner than ``Retry-After`` says (RFC 9110,
section 10.2.3). 413 is a refusal for good: the same post is as long the next time. Any
other status is a refusal that may pass: a proxy answers so while a receiver is
deployed. An address may itself be a secret, so messages name its host alone.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping

import urllib3

from detector.clock import Clock
from detector.errors import Permanent, Refused, Transient
from detector.notify.receivers.connection import ConnectionSettings, host_of
from detector.notify.receivers.signature import Signer

_HEADERS = {"User-Agent": "streamwarden", "Content-Type": "application/json"}
_RETRIED = {408, 425, 429}
_TOO_LARGE = 413
_READ_BYTES = 1 << 16  # of an answer's body, so that the connection can serve again
_RETRY_AFTER_MAX = 3600.0  # seconds: no receiver silences us for longer


class HttpClient:
    """Posts to the addresses of one receiver, one post at a time."""

    def __init__(
        self,
        settings: ConnectionSettings,
        clock: Clock,
        headers: Mapping[str, str] | None = None,
        signer: Signer | None = None,
    ) -> None:
        """``headers`` are those of every post, beside the client's own.

        Raises ConfigError if a TLS file cannot be used.
        """
        self._headers = {**_HEADERS, **(headers or {})}
        self._signer = signer
        self._clock = clock
        self._timeout = settings.timeout
        self._pool = urllib3.PoolManager(
            num_pools=len(settings.addresses),
            maxsize=1,
            timeout=urllib3.Timeout(total=settings.timeout),
            retries=False,
            ssl_context=settings.tls(),
        )

    def close(self) -> None:
        """Close connections. A later post opens one again."""
        self._pool.clear()

    def post(self, address: str, content: bytes, key: str) -> bytes:
        """Post once under an Idempotency-Key; gives the beginning of the answer's body.

        Raises Transient, Refused or Permanent.
        """
        host = host_of(address)
        try:
            response = self._pool.request(
                "POST",
                address,
                body=content,
                headers=self._headers_of(content, key),
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Transient(f"{host} {self._fault(error)}") from None
        # It was cut off after its first line: every whole answer has a date, a length
        # or an encoding (RFC 9110).
        if not response.headers:
            response.close()
            raise Transient(f"{host} broke off its answer")
        answer = _finish(response)
        self._judge(host, response)
        return answer

    def _fault(self, error: urllib3.exceptions.HTTPError) -> str:
        """What went wrong, as a predicate without an address."""
        if isinstance(error, urllib3.exceptions.NameResolutionError):
            return "does not resolve"
        if isinstance(error, urllib3.exceptions.NewConnectionError):
            return _connection_fault(error)
        if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
            return f"did not accept a connection within {self._timeout:g} s"
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return f"did not answer within {self._timeout:g} s"
        return f"can't be reached ({_kind(error)})"

    def _headers_of(self, content: bytes, key: str) -> dict[str, str]:
        headers = {**self._headers, "Idempotency-Key": key}
        if self._signer is not None:
            headers |= self._signer(key, content, self._clock.wall())
        return headers

    def _judge(self, host: str, response: urllib3.BaseHTTPResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        if status in _RETRIED or status >= 500:
            pause = self._retry_after(response.headers.get("Retry-After"))
            raise Transient(f"{host} answered {status}", pause)
        refusal = Permanent if status == _TOO_LARGE else Refused
        raise refusal(f"{host} refused it with {status}")

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds to wait, of a number or a date; None if it is neither."""
        if value is None:
            return None
        try:
            if value.isdecimal():
                asked = float(value)
            else:
                date = email.utils.parsedate_to_datetime(value)
                asked = date.timestamp() - self._clock.wall()
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, asked), _RETRY_AFTER_MAX)


def _finish(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read a short body, so that the connection serves again; close it otherwise."""
    answer = b""
    try:
        answer = response.read(_READ_BYTES)
        if response.read(1):
            response.close()
    except urllib3.exceptions.HTTPError:
        response.close()
    response.release_conn()
    return answer


def _connection_fault(error: urllib3.exceptions.NewConnectionError) -> str:
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return "refuses connections"
    return f"can't be reached ({getattr(cause, 'strerror', '') or _kind(error)})"


def _kind(error: urllib3.exceptions.HTTPError) -> str:
    """What went wrong, in words without an address."""
    if not isinstance(error, urllib3.exceptions.SSLError):
        return type(error).__name__
    cause = error.args[0]
    return f"TLS: {getattr(cause, 'verify_message', '') or type(cause).__name__}"
