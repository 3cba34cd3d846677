"""The receiver's side of Alertmanager's webhook, version 4: what a user's own receiver
would be, small and strict.

A post that is not the format as Alertmanager documents it is refused with 400 and the
reason, so that the demo also proves the daemon's payload. An incident is named by
fingerprint and ``startsAt``: a post that comes again (delivery is at least once)
updates it and adds nothing.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

MAX_BODY: Final = 4 * 1024 * 1024
Status = Literal["firing", "resolved"]


class PostedAlert(msgspec.Struct, frozen=True):
    """One entry of ``alerts``; names are the format's own."""

    status: Status
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: datetime.datetime  # noqa: N815 - the format's own name
    endsAt: datetime.datetime  # noqa: N815 - the format's own name
    generatorURL: str  # noqa: N815 - the format's own name
    fingerprint: str


class Post(msgspec.Struct, frozen=True):
    """The whole body; names are the format's own."""

    version: Literal["4"]
    groupKey: str  # noqa: N815 - the format's own name
    receiver: str
    status: Status
    alerts: list[PostedAlert]
    groupLabels: dict[str, str]  # noqa: N815 - the format's own name
    commonLabels: dict[str, str]  # noqa: N815 - the format's own name
    commonAnnotations: dict[str, str]  # noqa: N815 - the format's own name
    externalURL: str  # noqa: N815 - the format's own name
    truncatedAlerts: int = 0  # noqa: N815 - the format's own name


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of one incident; event times in epoch seconds, ``arrived`` on the
    monotonic clock.
    """

    stream: str
    severity: str
    starts: float
    ends: float | None
    fired_at: float
    arrived: float
    summary: str
    description: str


def parse(body: bytes) -> Post:
    """A body that is the format. Raises ValueError with what is wrong."""
    try:
        post = msgspec.json.decode(body, type=Post)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if not post.alerts:
        raise ValueError("`alerts` is empty")
    for alert in post.alerts:
        absent = {"alertname", "stream", "severity"} - alert.labels.keys()
        if absent:
            raise ValueError(f"an alert has no label {', '.join(sorted(absent))}")
        if alert.startsAt.tzinfo is None or alert.endsAt.tzinfo is None:
            raise ValueError("a time has no zone")
        if alert.status == "resolved" and alert.endsAt < alert.startsAt:
            raise ValueError("a resolved alert ends before it starts")
    return post


class Receiver:
    """A webhook endpoint on loopback that keeps the incidents it was told of; a context
    manager.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._incidents: dict[tuple[str, float], Incident] = {}
        self._refused: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 < length <= MAX_BODY:
                    self.close_connection = True
                    self._answer(400, "a body of known length is wanted")
                    return
                try:
                    receiver.accept(self.rfile.read(length))
                except ValueError as error:
                    self._answer(400, str(error))
                else:
                    self._answer(200, "")

            def _answer(self, status: int, text: str) -> None:
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
                """Quiet: the terminal belongs to the view."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="receiver",
            daemon=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def accept(self, body: bytes) -> None:
        """Take one post. Raises ValueError where it is not the format; nothing of it is
        kept then but the reason.
        """
        try:
            post = parse(body)
        except ValueError as error:
            with self._lock:
                self._refused.append(str(error))
            raise
        now = self._clock()
        with self._lock:
            for alert in post.alerts:
                self._keep(alert, now)

    def incidents(self) -> list[Incident]:
        """All incidents so far in the order in which they arrived."""
        with self._lock:
            return list(self._incidents.values())

    def refused(self) -> list[str]:
        """Why posts were refused, one entry each."""
        with self._lock:
            return list(self._refused)

    def _keep(self, alert: PostedAlert, now: float) -> None:
        starts = alert.startsAt.timestamp()
        ends = alert.endsAt.timestamp() if alert.status == "resolved" else None
        key = (alert.fingerprint, starts)
        before = self._incidents.get(key)
        severity = alert.labels["severity"]
        notes = alert.annotations
        if before is None:
            fired = _event_time(notes.get("at"), starts)
            self._incidents[key] = Incident(
                alert.labels["stream"],
                severity,
                starts,
                ends,
                fired,
                now,
                notes.get("summary", ""),
                notes.get("description", ""),
            )
        else:
            self._incidents[key] = replace(
                before, severity=severity, ends=before.ends if ends is None else ends
            )


def _event_time(text: str | None, default: float) -> float:
    """The event time at which it fired, which the daemon adds as an annotation; a v4
    body need not have it.
    """
    try:
        return datetime.datetime.fromisoformat(text).timestamp() if text else default
    except ValueError:
        return default
