"""Between kafka-python's types and ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kafka import OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from detector.events import Partition, RawBatch
from detector.ports import Committed

_NO_COLUMNS: Sequence[tuple[()]] = ((),) * len(ConsumerRecord._fields)


def raw_batch(
    tp: TopicPartition, records: Sequence[ConsumerRecord], end: int
) -> RawBatch:
    """The columns of polled records. They are tuples: this runs in C."""
    transposed = zip(*records, strict=True) if records else _NO_COLUMNS
    columns = dict(zip(ConsumerRecord._fields, transposed, strict=True))
    return RawBatch(
        partition=to_partition(tp),
        offsets=columns["offset"],
        timestamps=columns["timestamp"],
        timestamp_types=columns["timestamp_type"],
        keys=columns["key"],
        values=columns["value"],
        headers=columns["headers"],
        end=end,
    )


def to_partition(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


def to_tp(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def to_commit(
    offsets: Mapping[Partition, Committed],
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        to_tp(partition): OffsetAndMetadata(committed.offset, committed.note, -1)
        for partition, committed in offsets.items()
    }


def in_words(partitions: Iterable[TopicPartition]) -> str:
    """For the log: ``topic/0,topic/1``, or ``none``."""
    return ",".join(str(to_partition(tp)) for tp in sorted(partitions)) or "none"
