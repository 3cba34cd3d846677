"""Dead letters in a topic of Kafka: the whole record, for `redrive` and for anybody.

Theory of operation. The pipeline hands letters over and never waits. A thread of this
module connects, sends, and learns what became of each. :meth:`DeadLetterTopic.sync`
waits for that before a checkpoint, so that no offset is committed past a letter that
is neither in the topic nor counted as failed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any, Final

import structlog
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from detector.dead_letters.letter import Letter, letter_of, to_headers
from detector.events import RejectedRecord
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.metrics import Metrics
from detector.pipeline.observer import NullObserver

#: Bytes of a letter: what a broker takes from a producer, with room for our headers.
LARGEST: Final = 16 << 20
#: Bytes of letters that wait in memory; more than that are only in the file.
MOST_WAITING: Final = 64 << 20
#: Seconds that a checkpoint waits for letters; later they count as failed.
SYNC_TIMEOUT: Final = 10.0
_CREATED_WITH: Final = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(LARGEST),
}
_TIMEOUT_MS: Final = 8000  # for all tries of one letter: less than a sync waits
_REQUEST_MS: Final = 4000  # for one request
_RETRY: Final = 1.0  # seconds until the broker is tried again
_PLACE: Final = "topic"  # in metrics


class DeadLetterTopic(NullObserver):
    """Implements Observer. Thread-safe."""

    def __init__(self, settings: KafkaSettings, topic: str, metrics: Metrics) -> None:
        self._settings = settings
        self._topic = topic
        self._metrics = metrics
        self._letters: queue.SimpleQueue[Letter | None] = queue.SimpleQueue()
        self._waiting = 0  # letters that are neither written nor failed
        self._bytes = 0  # of them
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._failed = False
        self._log = structlog.get_logger("deadletter")
        self._thread = threading.Thread(
            target=self._run,
            name="dead-letters",
            daemon=True,
        )
        self._thread.start()

    def rejected(self, record: RejectedRecord) -> None:
        letter = letter_of(record)
        size = _size(letter)
        with self._changed:
            fits = self._bytes + size <= MOST_WAITING
            if fits:
                self._waiting += 1
                self._bytes += size
        if fits:
            self._letters.put(letter)
        else:
            self._count_failed(f"{MOST_WAITING >> 20} MiB of letters wait already")

    def sync(self, timeout: float = SYNC_TIMEOUT) -> None:
        """Wait until each letter so far is in the topic, or has failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout)

    def close(self, timeout: float) -> None:
        """Write what waits, within ``timeout`` seconds."""
        self.sync(timeout)
        self._closed.set()
        self._letters.put(None)
        self._thread.join(timeout)

    # -- the thread --------------------------------------------------------------------

    def _run(self) -> None:
        first = self._letters.get()
        if first is None:
            return
        with self._producer() as producer:
            self._send(producer, first)
            while (letter := self._letters.get()) is not None:
                self._send(producer, letter)

    @contextlib.contextmanager
    def _producer(self) -> Iterator[KafkaProducer | None]:
        """A producer, once the broker answers; None if it is closed before that."""
        producer = None
        while producer is None and not self._closed.is_set():
            try:
                producer = self._connect()
            except KafkaError as error:
                self._log_fault(type(error).__name__)
                self._closed.wait(_RETRY)
        try:
            yield producer
        finally:
            if producer is not None:
                producer.close(timeout=_RETRY)

    def _connect(self) -> KafkaProducer:
        """Raises KafkaError."""
        connection = self._settings.connection()
        self._create(connection)
        return connected(
            KafkaProducer,
            **connection,
            bootstrap_timeout_ms=_REQUEST_MS,
            request_timeout_ms=_REQUEST_MS,
            delivery_timeout_ms=_TIMEOUT_MS,
            max_block_ms=_TIMEOUT_MS,
            max_request_size=LARGEST,
            linger_ms=20,
            allow_auto_create_topics=False,
        )

    def _create(self, connection: dict[str, Any]) -> None:
        """Make the topic if it is absent. Without the right to, sending says so."""
        admin = connected(
            KafkaAdminClient,
            **connection,
            bootstrap_timeout_ms=_REQUEST_MS,
            request_timeout_ms=_REQUEST_MS,
        )
        topic = NewTopic(self._topic, 1, -1, topic_configs=dict(_CREATED_WITH))
        try:
            if self._topic not in admin.list_topics():
                admin.create_topics([topic], wait_for_metadata=True)
                self._log.info("dead_letter_topic_created", topic=self._topic)
        except TopicAlreadyExistsError:
            pass
        except KafkaError as error:
            self._log_fault(f"the topic can't be created: {type(error).__name__}")
        finally:
            admin.close()

    def _send(self, producer: KafkaProducer | None, letter: Letter) -> None:
        if producer is None:
            self._settle(letter, "the daemon stops before a broker answers")
            return
        try:
            future = producer.send(
                self._topic,
                key=letter.key,
                value=letter.value or b"",
                headers=to_headers(letter),
            )
        # it raises whatever is wrong with a record, and no letter may end the thread
        except Exception as error:  # noqa: BLE001
            self._settle(letter, f"{type(error).__name__}: {error}")
            return
        future.add_callback(lambda _: self._settle(letter))
        future.add_errback(
            lambda error: self._settle(letter, f"{type(error).__name__}: {error}")
        )

    # -- what became of them -----------------------------------------------------------

    def _settle(self, letter: Letter, fault: str = "") -> None:
        """A letter is in the topic, or has failed."""
        if fault:
            self._count_failed(fault)
        else:
            self._failed = False
            self._metrics.dead_letters.labels(_PLACE, "written").inc()
        with self._changed:
            self._waiting -= 1
            self._bytes -= _size(letter)
            self._changed.notify_all()

    def _count_failed(self, fault: str) -> None:
        self._metrics.dead_letters.labels(_PLACE, "failed").inc()
        self._log_fault(fault)

    def _log_fault(self, fault: str) -> None:
        """Once, until a letter is written again."""
        if not self._failed:
            self._log.error(
                "dead_letter_not_written",
                topic=self._topic,
                cause=fault,
                note="the file has its first bytes; scoring goes on",
                remedy="make the topic writable, with max.message.bytes above the"
                " largest record",
            )
        self._failed = True


def _size(letter: Letter) -> int:
    return len(letter.key or b"") + len(letter.value or b"")
