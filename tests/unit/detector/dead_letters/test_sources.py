"""Letters of a topic that are not whole are read from the log they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from detector.dead_letters.letter import KEPT, Letter, to_headers
from detector.dead_letters.sources import TopicLetters
from detector.events import Headers, Partition
from detector.kafka.scan import Scanner

LETTERS = Partition("letters", 0)
LONG = b"x" * (KEPT + 1)
HELD = Letter(
    partition=Partition("metrics", 3),
    offset=41,
    reason="future",
    detail="",
    key=b"k",
    value=LONG[:KEPT],
    is_whole=False,
)
WHOLE = replace(HELD, offset=42, is_whole=True)


@dataclass
class Record:
    """What is read of a record of Kafka."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int = 0


class Logs:
    """A scanner of two logs that, as the real one, has one scan at a time."""

    def __init__(self, original: Record | None, *letters: Letter) -> None:
        self.original = original
        self.letters = letters
        self.scanning = False

    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, 0)]

    def records(self, places: Mapping[Partition, range]) -> Iterator[Sequence[Record]]:
        self.scanning = True
        for letter in self.letters:
            yield [Record(letter.key, letter.value, to_headers(letter))]
        self.scanning = False

    def record(self, partition: Partition, offset: int) -> Record | None:
        assert not self.scanning
        assert (partition, offset) == (HELD.partition, HELD.offset)
        return self.original


def found(original: Record | None) -> list[Letter | None]:
    scanner: Any = Logs(original, HELD, WHOLE)
    source = TopicLetters(cast("Scanner", scanner), LETTERS.topic)
    return [source.whole(letter) for letter in source.letters()]


def test_the_original_goes_back_with_all_it_has() -> None:
    original = Record(b"k", LONG, [("trace", b"1")], 1_700_000_000_123)
    first, second = found(original)
    assert first is not None
    assert second is not None
    assert first.offset == WHOLE.offset
    assert (second.value, second.headers) == (LONG, original.headers)
    assert second.timestamp == original.timestamp


@pytest.mark.parametrize("original", [None, Record(b"k", b"another", ())])
def test_a_letter_whose_record_is_gone_is_not_put_back(original: Record | None) -> None:
    assert found(original)[1] is None
