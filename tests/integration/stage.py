"""What surrounds the daemon in these tests: a process to run it in, a webhook receiver,
a way to wait, a way to produce.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from deploy.harness.broker import Broker
from deploy.harness.daemon import Daemon
from deploy.harness.receiver import parse

POLL_S: Final = 0.05
_ASSIGNMENT = re.compile(r"event=partitions_(assigned|revoked|lost) partitions=(\S+)")


def eventually(
    condition: Callable[[], object], what: str, deadline: float = 30.0
) -> None:
    """Wait until ``condition`` is true; fail by ``what`` after ``deadline`` seconds."""
    pause = threading.Event()
    ends = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        pause.wait(POLL_S)


# -- Kafka -----------------------------------------------------------------------------


class Record(NamedTuple):
    """One record to produce; ``partition`` None: by the key."""

    key: bytes | None
    value: bytes | None
    partition: int | None = None


def produce(
    broker: Broker,
    topic: str,
    records: Iterable[Record],
    timestamp_ms: int | None = None,
) -> None:
    """All of them, in order within a partition, durable on return.

    ``timestamp_ms``: when they were produced; by default now.
    """
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap,
        linger_ms=20,
        batch_size=1 << 17,
        max_request_size=8 << 20,
    )
    try:
        sent = [
            producer.send(
                topic,
                key=r.key,
                value=r.value,
                partition=r.partition,
                timestamp_ms=timestamp_ms,
            )
            for r in records
        ]
        producer.flush(timeout=60)
        for future in sent:
            future.get(timeout=0)
    finally:
        producer.close()


def committed_and_end(
    broker: Broker, topic: str, group: str, partitions: int
) -> tuple[list[int], list[int]]:
    """The group's committed offset and the end of each partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False
    )
    try:
        all_of_them = [TopicPartition(topic, p) for p in range(partitions)]
        ends = consumer.end_offsets(all_of_them)
        return [consumer.committed(tp) or 0 for tp in all_of_them], [
            ends[tp] for tp in all_of_them
        ]
    finally:
        consumer.close(autocommit=False)


def await_all_committed(
    broker: Broker, topic: str, group: str, partitions: int
) -> None:
    """Wait until the group has committed the end of each partition."""

    def all_committed() -> bool:
        committed, ends = committed_and_end(broker, topic, group, partitions)
        return committed == ends

    eventually(all_committed, "the group's offsets reach the end")


# -- the daemon ------------------------------------------------------------------------


class DaemonProcess(Daemon):
    """``python -m detector run``, with what tests ask of it beyond the demo."""

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that carry these labels."""
        self.check_alive()
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return sum(
            s.value
            for f in families
            for s in f.samples
            if s.name == name and labels.items() <= s.labels.items()
        )

    def await_value(
        self, name: str, least: float, deadline: float = 30.0, **labels: str
    ) -> None:
        try:
            eventually(
                lambda: self.value(name, **labels) >= least,
                f"{name} {labels} at least {least:g}",
                deadline,
            )
        except AssertionError as error:
            found = self.value(name, **labels)
            log = self.log_text()[-3000:]
            raise AssertionError(f"{error}; it is {found:g}; the log:\n{log}") from None

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def owned(self) -> set[str]:
        """The partitions it says it has, from its log."""
        found: set[str] = set()
        for change, listed in _ASSIGNMENT.findall(self.log_text()):
            named = set() if listed == "none" else set(listed.split(","))
            found = found | named if change == "assigned" else found - named
        return found

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def status(self, timeout: float) -> int:
        """Its exit status; fails if it has not ended within ``timeout`` seconds."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"it had not ended after {timeout:g} s; the log:\n{self.log_text()[-3000:]}"
            ) from None


# -- the receiver ----------------------------------------------------------------------


class Notice(NamedTuple):
    """What identifies a notification to the person who gets it."""

    stream: str
    severity: str
    starts: str
    status: str


@dataclass(frozen=True, slots=True)
class Post:
    """One request as it came, and what it was answered."""

    headers: Mapping[str, str]
    body: bytes
    answer: int

    @property
    def alert(self) -> dict[str, Any]:
        (only,) = json.loads(self.body)["alerts"]
        return dict(only)

    @property
    def notice(self) -> Notice:
        return notice(self.alert)


def notice(alert: Mapping[str, Any]) -> Notice:
    return Notice(
        alert["labels"]["stream"],
        alert["labels"]["severity"],
        alert["startsAt"],
        alert["status"],
    )


def by_stream(notices: Sequence[Notice]) -> dict[str, list[Notice]]:
    """In each stream's order, which is the one that is promised: streams share a wave
    and overtake one another.
    """
    found: dict[str, list[Notice]] = {}
    for each in notices:
        found.setdefault(each.stream, []).append(each)
    return found


class WebhookReceiver:
    """Keeps every post; refuses connections until :meth:`start`.

    ``answer`` gives the status, but 400 goes to what is not the format.
    """

    def __init__(self, port: int) -> None:
        self.answer: Callable[[Mapping[str, str]], int] = lambda headers: 200
        self._posts: list[Post] = []
        self._lock = threading.Lock()
        self._server = HTTPServer("127.0.0.1", port, threaded=True)
        path = "/hooks/s3cret-path"
        self.url = self._server.url_for(path)
        self._server.expect_request(path, "POST").respond_with_handler(self._respond)

    def start(self) -> WebhookReceiver:
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server.is_running():
            self._server.stop()

    def _respond(self, request: Request) -> Response:
        return Response(status=self.take(dict(request.headers), request.get_data()))

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        try:
            parse(body)
            status = self.answer(headers)
        except ValueError:
            status = 400
        with self._lock:
            self._posts.append(Post(headers, body, status))
        return status

    def posts(self) -> list[Post]:
        """All of them, in order of arrival."""
        with self._lock:
            return list(self._posts)

    def accepted(self) -> list[Post]:
        return [p for p in self.posts() if p.answer == 200]

    def notices(self) -> list[Notice]:
        return [p.notice for p in self.accepted()]

    def await_notices(self, count: int) -> None:
        eventually(lambda: len(self.notices()) >= count, f"{count} notifications")


def dead_letters(store: Path) -> Sequence[dict[str, Any]]:
    """The lines of the daemon's dead-letter file."""
    path = store / "dead-letters.ndjson"
    return (
        [json.loads(line) for line in path.read_bytes().splitlines()]
        if path.exists()
        else []
    )
