"""Where dead letters go: always into a file, and into a topic if one is configured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from detector.dead_letters.file import DeadLetterFile
from detector.dead_letters.topic import DeadLetterTopic
from detector.events import Alert, Partition, RejectedRecord
from detector.pipeline.observer import NullObserver
from detector.recovery.editions import Edition
from detector.recovery.snapshot import Head, Page
from detector.recovery.store import Store

_CLOSE: Final = 2.0  # seconds for the topic, at the end


class DeadLetterPlaces(NullObserver):
    """Implements DeadLetters and Observer."""

    def __init__(self, file: DeadLetterFile, topic: DeadLetterTopic | None) -> None:
        self._file = file
        self._topic = topic

    @property
    def file(self) -> str:
        return self._file.file

    def rejected(self, record: RejectedRecord) -> None:
        self._file.rejected(record)
        if self._topic is not None:
            self._topic.rejected(record)

    def notification(self, alert: Alert, cause: str, receiver: str) -> None:
        self._file.notification(alert, cause, receiver)

    def summary(self, alerts: Sequence[Alert], cause: str, receiver: str) -> None:
        self._file.summary(alerts, cause, receiver)

    def sync(self) -> None:
        """Wait until what was rejected so far survives a kill."""
        self._file.sync()
        if self._topic is not None:
            self._topic.sync()

    def close(self) -> None:
        if self._topic is not None:
            self._topic.close(_CLOSE)
        self._file.close()


class LettersFirst:
    """A store that writes no page before the dead letters of its records are durable.

    A page skips the records that it has seen, so a record that was rejected after it
    would not be rejected again. Implements Store.
    """

    def __init__(self, store: Store, letters: DeadLetterPlaces) -> None:
        self._store = store
        self._letters = letters

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        self._letters.sync()
        self._store.write_pages(partition, pages)

    def editions(self, partition: Partition) -> Sequence[Edition]:
        return self._store.editions(partition)

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        return self._store.page(partition, edition, number)

    def remove(self, partition: Partition, edition: str) -> None:
        self._store.remove(partition, edition)

    def write_head(self, head: Head) -> None:
        self._store.write_head(head)

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        self._store.put(partition, name, data)

    def names(self, partition: Partition) -> Sequence[str]:
        return self._store.names(partition)

    def get(self, partition: Partition, name: str) -> bytes | None:
        return self._store.get(partition, name)

    def drop(self, partition: Partition, name: str) -> None:
        self._store.drop(partition, name)

    def close(self) -> None:
        self._store.close()
