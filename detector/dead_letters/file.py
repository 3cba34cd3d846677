"""Keeps what can't be used: rejected records and refused notifications.

It is one NDJSON file, rotated once at its size limit, so it can't fill the disk. A
record's first bytes are kept in base64. Topic, partition and offset say where Kafka has
the whole record. What is written survives the process at once, and the machine from
the next checkpoint on.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from detector.dead_letters.alert_letters import AlertLetter, summary_line
from detector.dead_letters.alert_letters import to_line as alert_line
from detector.dead_letters.letter import letter_of, to_line
from detector.errors import ConfigError
from detector.events import Alert, RejectedRecord
from detector.metrics import Metrics
from detector.notify.backlog_summary import post_body
from detector.notify.labels import Labelling
from detector.notify.payload import (
    OutgoingPost,
    alert_body,
    idempotency_key,
    post_key,
)
from detector.pipeline.observer import NullObserver

FILE_NAME = "dead-letters.ndjson"
_PLACE = "file"  # in metrics


class DeadLetterFile(NullObserver):
    """Implements DeadLetters and Observer. Thread-safe.

    Raises ConfigError if it can't be opened; a disk that fails later stops nothing.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        labelling: Labelling,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._labelling = labelling
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._failed = False
        self._synced = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise ConfigError(
                f"dead letters can't be kept in {path.parent} ({error.strerror}): make"
                " it writable, or name another in DETECTOR_RECOVERY__DEAD_LETTERS"
            ) from None
        self._log = structlog.get_logger("deadletter")

    @property
    def file(self) -> str:
        return str(self._path)

    def rejected(self, record: RejectedRecord) -> None:
        self._write(to_line(letter_of(record)))

    def notification(self, alert: Alert, cause: str, receiver: str) -> None:
        letter = AlertLetter(receiver, alert)
        body = alert_body(alert, self._labelling)
        self._write(alert_line(letter, cause, body))

    def summary(self, alerts: Sequence[Alert], cause: str, receiver: str) -> None:
        key = post_key([idempotency_key(alert) for alert in alerts])
        post = OutgoingPost(receiver, "", {}, tuple(alerts), key, sums_up=True)
        (body,) = post_body(post, self._labelling).alerts
        self._write(summary_line(receiver, cause, body))

    def sync(self) -> None:
        """What was written survives a crash of the machine once this returns.

        A disk that fails is logged, and stops nothing.
        """
        with self._lock:
            if self._synced:
                return
            self._synced = True
            descriptor = os.dup(self._file.fileno())
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._log.error("dead_letters_not_synced", cause=str(error))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _write(self, letter: dict[str, Any]) -> None:
        line = msgspec.json.encode(letter) + b"\n"
        with self._lock:
            try:
                if self._file.tell() + len(line) > self._max_bytes:
                    self._rotate()
                self._file.write(line)
                self._file.flush()
                self._failed = False
                self._synced = False
                self._count("written")
            except OSError as error:
                if not self._failed:
                    self._log.error("dead_letter_not_written", cause=str(error))
                self._failed = True
                self._count("failed")

    def _count(self, outcome: str) -> None:
        self._metrics.dead_letters.labels(_PLACE, outcome).inc()

    def _rotate(self) -> None:
        """If anything fails here, a file stays open."""
        # an earlier try renamed it, and then the disk had no room for the next
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_suffix(".1.ndjson"))
        full = self._file
        self._file = self._path.open("ab")
        full.close()
