"""Batches that the client can't read, with their place.

A batch may fail its checksum, name a codec that nobody knows, or hold bytes that its
codec refuses. The broker may also refuse to give a partition. kafka-python (3.0.12)
then raises whatever its codec raises, without a place, and the next poll loops for
ever over what is left of the batch. The classes here name the place and end the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaError, OffsetOutOfRangeError

_Fetched = Any  # the library's classes are untyped


# the library's classes are untyped
class UnreadableError(KafkaError):  # type: ignore[misc]
    """Records of one partition can't be read.

    Attributes:
        offset: the first that can't be read.
        end: where reading could go on behind them; None if only the broker can tell.
        cause: what is wrong, in words.
    """

    def __init__(
        self, tp: TopicPartition, offset: int, end: int | None, cause: str
    ) -> None:
        super().__init__(f"{tp.topic}/{tp.partition} at offset {offset}: {cause}")
        self.tp = tp
        self.offset = offset
        self.end = end
        self.cause = cause

    def __str__(self) -> str:
        return str(self.args[0])  # the library's own has the name of the class too


def name_unreadable(consumer: KafkaConsumer) -> None:
    """Let polls of this consumer raise UnreadableError for what it can't read."""
    fetcher = consumer._fetcher
    fetcher.PartitionRecords = _PlacedRecords
    fetcher._parse_fetched_data = _placed(fetcher._parse_fetched_data)


class _PlacedRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch, which end where they can't be read."""

    def take(self, n: int | None = None) -> list[Any]:
        try:
            return list(super().take(n))
        # every codec has exceptions of its own, and none has a common base
        except Exception as error:
            self.drain()
            offset = max(self.next_fetch_offset, self._batches.first_offset())
            end = self._batches.end(offset)
            raise UnreadableError(
                self.topic_partition, offset, end, in_words(error)
            ) from error

    def _unpack_records(
        self, tp: TopicPartition, records: _Fetched, *deserializers: object
    ) -> Any:
        self._batches = _Batches(records)
        return super()._unpack_records(tp, self._batches, *deserializers)


class _Batches:
    """The batches of one fetch; remembers the last one that was taken."""

    def __init__(self, records: _Fetched) -> None:
        self._records = records
        self._last: _Fetched = None

    def next_batch(self) -> _Fetched:
        self._last = None  # taking one may fail
        self._last = self._records.next_batch()
        return self._last

    def first_offset(self) -> int:
        return int(self._last.base_offset) if self._last is not None else 0

    def end(self, offset: int) -> int:
        """Where to go on behind the last batch, after ``offset``.

        The header of a corrupt batch may be wrong too. So the next batch counts if it
        came with the fetch, and a wrong length costs a step of one record.
        """
        following = self._following()
        ends = [following] if following is not None else []
        if self._last is not None and self._last.magic == 2:
            ends.append(int(self._last.next_offset))
        return min((end for end in ends if end > offset), default=offset + 1)

    def _following(self) -> int | None:
        """The first offset of the next batch of the fetch; None if there is none."""
        try:
            batch = self._records.next_batch()
        except Exception:  # noqa: BLE001 - it is unreadable too, however it fails
            return None
        return None if batch is None else int(batch.base_offset)


def _placed(parse: Callable[[_Fetched], _Fetched]) -> Callable[[_Fetched], _Fetched]:
    """``parse``, with the place of what a broker refuses."""

    def parsed(fetch: _Fetched) -> _Fetched:
        try:
            return parse(fetch)
        except OffsetOutOfRangeError:
            raise
        except KafkaError as error:
            raise UnreadableError(
                fetch.topic_partition, fetch.fetched_offset, None, in_words(error)
            ) from error

    return parsed


def in_words(error: Exception) -> str:
    """An error of any library, with its name: some have no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
