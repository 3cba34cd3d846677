"""Sends dead letters to where they came from, in transactions of Kafka."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from detector.dead_letters.letter import REDRIVEN, REDRIVES, Letter, own_headers
from detector.dead_letters.sources import LetterSource
from detector.dead_letters.topic import LARGEST
from detector.errors import ConfigError, Permanent, Transient
from detector.kafka.client import connected
from detector.kafka.scan import REQUEST_MS, Scanner
from detector.kafka.settings import KafkaSettings

_FLUSH: Final = 30.0  # seconds for the letters of a transaction


class KafkaSender:
    """Implements Sender. :func:`sender` makes one."""

    def __init__(
        self, settings: KafkaSettings, scanner: Scanner, source: LetterSource
    ) -> None:
        self._settings = settings
        self._scanner = scanner
        self._source = source
        self._width: dict[str, int] = {}
        self._producer: KafkaProducer | None = None

    def connect(self) -> None:
        """Ends what an earlier run began. Raises ConfigError."""
        self.close()
        group = self._settings.group_id
        try:
            self._producer = connected(
                KafkaProducer,
                **self._settings.connection(),
                bootstrap_timeout_ms=REQUEST_MS,
                # one for all runs: the next run ends the transactions of the last one
                transactional_id=f"{group}-redrive",
                max_request_size=LARGEST,
                max_block_ms=REQUEST_MS,
                allow_auto_create_topics=False,
            )
            self._producer.init_transactions()
        except KafkaError as error:
            raise ConfigError(
                f"no transaction can begin ({type(error).__name__}): `redrive` needs a"
                f" broker, and the right to write with transactional id {group}-redrive"
            ) from None

    def put_back(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self._check(letter)
        self._source.begin(letters)
        try:
            self._send(letters)
        except (KafkaError, ValueError, TypeError) as error:
            self.connect()  # which aborts the transaction
            self._source.end(letters, committed=False)
            raise Permanent(f"{type(error).__name__}: {error}") from error
        try:
            assert self._producer is not None
            self._producer.commit_transaction()
        except KafkaError as error:
            raise Transient(
                f"the broker did not confirm a transaction ({type(error).__name__}):"
                " run it again, and it sees what was put back"
            ) from error
        self._source.end(letters, committed=True)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _send(self, letters: Sequence[Letter]) -> None:
        """Raises KafkaError if one of them is refused."""
        assert self._producer is not None
        self._producer.begin_transaction()
        sent = [
            self._producer.send(
                letter.partition.topic,
                key=letter.key,
                value=letter.value or b"",
                headers=_headers(letter),
                partition=letter.partition.number,
                timestamp_ms=letter.timestamp,
            )
            for letter in letters
        ]
        self._source.within(self._producer, letters)
        self._producer.flush(timeout=_FLUSH)
        for future in sent:
            future.get(timeout=0)

    def _check(self, letter: Letter) -> None:
        """Raises Permanent if its partition is gone."""
        topic = letter.partition.topic
        if topic not in self._width:
            self._width[topic] = len(self._scanner.partitions(topic))
        if letter.partition.number >= self._width[topic]:
            raise Permanent(f"{letter.partition} does not exist any more")


@contextlib.contextmanager
def sender(
    settings: KafkaSettings, scanner: Scanner, source: LetterSource
) -> Iterator[KafkaSender]:
    """Raises ConfigError if no transaction can begin."""
    made = KafkaSender(settings, scanner, source)
    made.connect()
    try:
        yield made
    finally:
        made.close()


def _headers(letter: Letter) -> list[tuple[str, bytes]]:
    """The record's own, the letter that it comes from now, and the number of times."""
    own = own_headers(letter.headers)
    others = [pair for pair in own if pair[0] not in (REDRIVEN, REDRIVES)]
    times = str(letter.redrives + 1)
    return [*others, (REDRIVEN, letter.name.encode()), (REDRIVES, times.encode())]
