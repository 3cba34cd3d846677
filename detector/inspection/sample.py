"""Some records of each partition of a topic, the newest ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kafka.consumer.fetcher import ConsumerRecord

from detector.errors import ConfigError
from detector.events import Partition, RawBatch
from detector.kafka.scan import Scanner

#: Records of all partitions together.
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read of a topic.

    Attributes:
        held: the offsets that the log of each partition holds.
        batches: the records that were read, at least one each.
        unreadable: places that can't be read, in words.
    """

    topic: str
    held: dict[Partition, range]
    batches: Sequence[RawBatch]
    unreadable: Sequence[str] = ()

    @property
    def records(self) -> int:
        return sum(map(len, self.batches))


def take_sample(scanner: Scanner, topic: str, records: int) -> Sample:
    """The newest ``records`` records of each partition, fewer if there are many.

    Raises ConfigError if the topic does not exist.
    """
    partitions = scanner.partitions(topic)
    if not partitions:
        raise ConfigError(
            f"topic {topic} does not exist: create it, or correct --topic"
        )
    held = scanner.bounds(partitions)
    each = max(1, min(records, MOST // len(partitions)))
    newest = {
        partition: range(max(offsets.start, offsets.stop - each), offsets.stop)
        for partition, offsets in held.items()
    }
    batches = [_raw_batch(found) for found in scanner.records(newest)]
    return Sample(topic, held, batches, scanner.unreadable())


def _raw_batch(records: Sequence[ConsumerRecord]) -> RawBatch:
    first = records[0]
    return RawBatch(
        partition=Partition(first.topic, first.partition),
        offsets=[r.offset for r in records],
        timestamps=[r.timestamp for r in records],
        timestamp_types=[r.timestamp_type for r in records],
        keys=[r.key for r in records],
        values=[r.value for r in records],
        headers=[r.headers for r in records],
    )
