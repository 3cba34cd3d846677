"""A user's own receiver, small and strict: Alertmanager's webhook, version 4.

A post that is not in the format is refused with 400 and the reason, so the demo also
proves the daemon's payload. Fingerprint and ``startsAt`` name an incident. A repeated
post updates it and adds nothing, since delivery is at least once.

It needs the standard library and msgspec only: the demo's environment has no test
tools.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal

import msgspec

from deploy.harness.loopback import LoopbackServer

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
    """What is known of one incident.

    Attributes:
        starts: event time in epoch seconds, as ``ends`` and ``fired_at``.
        ends: None while it fires.
        fired_at: of the point at which it fired.
        arrived: monotonic time of the first post, in seconds.
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
    """A body in the format. Raises ValueError with what is wrong."""
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


class _Server(ThreadingHTTPServer):
    """Hands each body to ``accept``."""

    def __init__(self, accept: Callable[[bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accept = accept


class _Handler(BaseHTTPRequestHandler):
    """Answers 200, or 400 with the reason."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_BODY:
            self.close_connection = True
            self._answer(400, "the length of the body must be known")
            return
        try:
            self.server.accept(self.rfile.read(length))
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

    def log_message(self, *args: object) -> None:
        """Quiet: the terminal belongs to the view."""


class Receiver(LoopbackServer):
    """A webhook endpoint on loopback that keeps the incidents of its posts; a context
    manager.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._incidents: dict[tuple[str, float], Incident] = {}
        self._refused: list[str] = []
        super().__init__(_Server(self.accept), "receiver")

    @property
    def url(self) -> str:
        return f"{self.address}/alerts"

    def accept(self, body: bytes) -> None:
        """Take one post. Raises ValueError if it is not in the format, and keeps only
        the reason.
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
        """All incidents so far, in the order of their arrival."""
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
        severity = alert.labels["severity"]
        before = self._incidents.get(key)
        if before is not None:
            ends = before.ends if ends is None else ends
            self._incidents[key] = replace(before, severity=severity, ends=ends)
            return
        annotations = alert.annotations
        self._incidents[key] = Incident(
            stream=alert.labels["stream"],
            severity=severity,
            starts=starts,
            ends=ends,
            fired_at=_event_time(annotations.get("at"), starts),
            arrived=now,
            summary=annotations.get("summary", ""),
            description=annotations.get("description", ""),
        )


def _event_time(text: str | None, default: float) -> float:
    """Of the point at which it fired: the annotation ``at``, which the format does not
    require.
    """
    try:
        return datetime.datetime.fromisoformat(text).timestamp() if text else default
    except ValueError:
        return default
