"""Where `redrive` reads dead letters, and where it notes what it put back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from detector.dead_letters.letter import (
    KEPT,
    PREFIX,
    REDRIVEN,
    Letter,
    NotALetter,
    from_line,
    from_record,
)
from detector.errors import ConfigError
from detector.events import Partition
from detector.kafka.scan import Scanner

#: Header of a record in the letters' topic that lists what was put back.
NOTE: Final = PREFIX + "note"
#: Beside the file of letters: what was put back.
LEDGER_NAME: Final = "dead-letters.redriven.ndjson"
_BEGUN: Final = "begun"
DONE: Final = "done"
_UNDONE: Final = "undone"


class LetterSource(Protocol):
    """Letters, and the ledger of those that were put back."""

    @property
    def name(self) -> str:
        """For a sentence."""

    def letters(self) -> Iterator[Letter]: ...

    def done(self) -> set[str]:
        """Names of the letters that were put back; to be called before letters."""
        ...

    def whole(self, letter: Letter) -> Letter | None:
        """The letter with all its bytes; None if they are gone."""
        ...

    def begin(self, letters: Sequence[Letter]) -> None:
        """These are about to be put back."""
        ...

    def within(self, producer: KafkaProducer, letters: Sequence[Letter]) -> None:
        """Note it in the transaction that puts them back."""
        ...

    def end(self, letters: Sequence[Letter], committed: bool) -> None:
        """They were put back, or not."""
        ...


class TopicLetters:
    """Letters in a topic; the ledger is in it too. Implements LetterSource."""

    def __init__(self, scanner: Scanner, topic: str) -> None:
        """Raises ConfigError if the topic does not exist."""
        self._scanner = scanner
        self._topic = topic
        self.name = f"topic {topic}"
        self._places: dict[Partition, range] = {}
        self._partitions = scanner.partitions(topic)
        if not self._partitions:
            raise ConfigError(
                f"topic {topic} of dead letters does not exist: the daemon makes it"
                " with the first record that it rejects"
            )

    def letters(self) -> Iterator[Letter]:
        """Those that are not whole come last: one scan ends before another begins."""
        not_whole: list[Letter] = []
        for record in self._records():
            # notes, and what others write into the topic
            with contextlib.suppress(NotALetter):
                letter = from_record(record.key, record.value, record.headers)
                if letter.is_whole:
                    yield letter
                else:
                    not_whole.append(letter)
        yield from not_whole

    def done(self) -> set[str]:
        self._places = self._scanner.bounds(self._partitions)
        names: set[str] = set()
        for record in self._records():
            if any(name == NOTE for name, _ in record.headers):
                names.update((record.value or b"").decode().splitlines())
        return names

    def whole(self, letter: Letter) -> Letter | None:
        """From the log of its topic if the letter has its first bytes only."""
        return _whole(self._scanner, letter)

    def begin(self, letters: Sequence[Letter]) -> None:
        """The transaction notes it."""

    def within(self, producer: KafkaProducer, letters: Sequence[Letter]) -> None:
        names = "\n".join(letter.name for letter in letters)
        producer.send(self._topic, value=names.encode(), headers=[(NOTE, b"1")])

    def end(self, letters: Sequence[Letter], committed: bool) -> None:
        """The transaction noted it."""

    def _records(self) -> Iterator[ConsumerRecord]:
        for records in self._scanner.records(self._places):
            yield from records


class FileLetters:
    """Letters in a file, with the ledger beside it. Implements LetterSource."""

    def __init__(self, scanner: Scanner, path: Path) -> None:
        """Raises ConfigError if there is no such file."""
        self._scanner = scanner
        self.name = str(path)
        rotated = path.with_suffix(".1.ndjson")
        self._files = [each for each in (rotated, path) if each.exists()]
        self._ledger = path.with_name(LEDGER_NAME)
        if not self._files:
            raise ConfigError(f"{path} does not exist: name the file of dead letters")

    def letters(self) -> Iterator[Letter]:
        for file in self._files:
            for line in json_lines(file):
                # notifications, and what a crash left of a line
                with contextlib.suppress(NotALetter):
                    yield from_line(line)

    def done(self) -> set[str]:
        """Also those of a run that ended between its commit and its note."""
        begun: dict[str, Mapping[str, int]] = {}
        done: set[str] = set()
        for line in json_lines(self._ledger) if self._ledger.exists() else ():
            names = line.get("names", ())
            if line.get("state") == _BEGUN:
                begun.update(dict.fromkeys(names, line.get("ends", {})))
                continue
            for name in names:
                begun.pop(name, None)
            if line.get("state") == DONE:
                done.update(names)
        return done | self._sent(begun)

    def whole(self, letter: Letter) -> Letter | None:
        """From the log of its topic if the file has its first bytes only."""
        return _whole(self._scanner, letter)

    def begin(self, letters: Sequence[Letter]) -> None:
        partitions = sorted({letter.partition for letter in letters})
        bounds = self._scanner.bounds(partitions)
        ends = {str(partition): held.stop for partition, held in bounds.items()}
        self._note(_BEGUN, letters, ends)

    def within(self, producer: KafkaProducer, letters: Sequence[Letter]) -> None:
        """A file is no part of a transaction."""

    def end(self, letters: Sequence[Letter], committed: bool) -> None:
        self._note(DONE if committed else _UNDONE, letters, {})

    def _sent(self, begun: Mapping[str, Mapping[str, int]]) -> set[str]:
        """Which of these are in the logs, behind where a run began to send them."""
        starts: dict[str, int] = {}
        for ends in begun.values():
            for partition, offset in ends.items():
                starts[partition] = min(offset, starts.get(partition, offset))
        partitions = {_partition(name): offset for name, offset in starts.items()}
        bounds = self._scanner.bounds(list(partitions))
        places = {
            partition: range(max(held.start, partitions[partition]), held.stop)
            for partition, held in bounds.items()
        }
        found: set[str] = set()
        for records in self._scanner.records(places):
            for record in records:
                names = [text for name, text in record.headers if name == REDRIVEN]
                found.update((text or b"").decode() for text in names)
        return found & begun.keys()

    def _note(
        self, state: str, letters: Sequence[Letter], ends: Mapping[str, int]
    ) -> None:
        names = [letter.name for letter in letters]
        line = json.dumps({"state": state, "names": names, "ends": ends})
        try:
            with self._ledger.open("a") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{self._ledger} can't be written ({error.strerror}): it notes what was"
                " put back, so make its directory writable"
            ) from None


def _whole(scanner: Scanner, letter: Letter) -> Letter | None:
    """The letter, from its topic's log if it is not whole; None if it is gone there."""
    if letter.is_whole:
        return letter
    record = scanner.record(letter.partition, letter.offset)
    if record is None or (letter.value or b"") != (record.value or b"")[:KEPT]:
        return None
    return Letter(
        partition=letter.partition,
        offset=letter.offset,
        reason=letter.reason,
        detail=letter.detail,
        key=record.key,
        value=record.value,
        headers=record.headers,
        timestamp=record.timestamp,
    )


def json_lines(path: Path) -> Iterable[Mapping[str, Any]]:
    """The JSON objects of a file; a line that is none is left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, Mapping):
                yield found


def _partition(name: str) -> Partition:
    topic, _, number = name.rpartition("/")
    return Partition(topic, int(number))
