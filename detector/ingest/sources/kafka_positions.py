"""How far each partition is read, records that nobody gets included.

A log holds more than records: the markers at the end of transactions, the records of
aborted ones, and gaps that compaction left. kafka-python moves its position over them.
What was read up to there is told as the end of a batch, so that lag becomes 0 and the
group's offset reaches the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from detector.events import RawBatch
from detector.ingest.sources.kafka_records import raw_batch


class Positions:
    """Of one consumer: the offset up to which each started partition was given."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._subscription = consumer._subscription
        self._given: dict[TopicPartition, int] = {}

    def set(self, tp: TopicPartition, offset: int) -> None:
        """Reading goes on at ``offset``."""
        self._given[tp] = offset

    def batches(
        self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> list[RawBatch]:
        """A batch for each partition that was read on, some without a record."""
        made = []
        for tp, given in list(self._given.items()):
            position = self._position(tp)
            if position is None:
                del self._given[tp]  # it is not ours any more
                continue
            records = polled.get(tp, ())
            last = records[-1].offset + 1 if records else given
            end = max(last, position)
            if records or end > given:
                self._given[tp] = end
                made.append(raw_batch(tp, records, end))
        return made

    def _position(self, tp: TopicPartition) -> int | None:
        """The client's own, which asks no broker."""
        state = self._subscription.assignment.get(tp)
        if state is None or state.position is None:
            return None
        return int(state.position.offset)
