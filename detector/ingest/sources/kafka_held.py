"""Partitions that wait because their next records can't be read, or decoded.

A partition that can't be read is paused, so that others go on, and is tried again: a
broker may mend it from a replica, or retention may delete it. Skipping loses records,
so it happens only where a setting allows it. Records whose schema can't be fetched
wait in the same way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import IllegalStateError

from detector.clock import Clock
from detector.ingest.sources.kafka_records import to_partition
from detector.kafka.unreadable import UnreadableError
from detector.metrics import Metrics

#: Seconds until a partition that can't be read is tried again.
RETRY: Final = 30.0
#: What the client raises for a partition that was revoked a moment ago.
NOT_OURS: Final = (ValueError, KeyError, IllegalStateError)
_SKIPPED: Final = "skipped"
_HELD: Final = "held"


@dataclass(slots=True)
class _Held:
    """A partition that waits.

    Attributes:
        retry_at: monotonic seconds.
    """

    cause: str
    retry_at: float


class HeldPartitions:
    """Of one consumer.

    ``may_skip`` says of which topics unreadable batches are skipped.
    """

    def __init__(
        self,
        consumer: KafkaConsumer,
        may_skip: Callable[[str], bool],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._may_skip = may_skip
        self._metrics = metrics
        self._clock = clock
        self._held: dict[TopicPartition, _Held] = {}
        self._reported: dict[TopicPartition, int] = {}
        self._log = structlog.get_logger("kafka")

    def found(self, error: UnreadableError) -> None:
        """Skip what can't be read, or hold its partition back."""
        with contextlib.suppress(*NOT_OURS):
            if error.end is not None and self._may_skip(error.tp.topic):
                self._consumer.seek(error.tp, error.end)
                self._report_skipped(error, error.end)
            else:
                self._hold(error.tp, str(error), RETRY)
                self._report_held(error)
        self._metrics.held_partitions.set(len(self._held))

    def wait(self, tp: TopicPartition, offset: int, cause: str, seconds: float) -> None:
        """Hold a partition back whose record at ``offset`` can't be decoded now."""
        with contextlib.suppress(*NOT_OURS):
            self._hold(tp, f"{to_partition(tp)} at offset {offset}: {cause}", seconds)
            self._report_waiting(tp, offset, cause)
        self._metrics.held_partitions.set(len(self._held))

    def _hold(self, tp: TopicPartition, cause: str, seconds: float) -> None:
        self._consumer.pause(tp)
        self._held[tp] = _Held(cause, self._clock.monotonic() + seconds)

    def retry(self) -> None:
        """Let the partitions that have waited long enough be read again."""
        if not self._held:
            return
        now = self._clock.monotonic()
        assigned = self._consumer.assignment()
        for tp, held in list(self._held.items()):
            if tp not in assigned or now >= held.retry_at:
                self.release(tp)

    def release(self, tp: TopicPartition) -> None:
        """Let a partition be read again now; nothing if it is not held."""
        if self._held.pop(tp, None) is None:
            return
        with contextlib.suppress(*NOT_OURS):
            self._consumer.resume(tp)
        self._metrics.held_partitions.set(len(self._held))

    def fault(self) -> str:
        """Which partitions wait and why, in words; "" if none waits."""
        return "; ".join(held.cause for held in self._held.values())

    def _report_skipped(self, error: UnreadableError, end: int) -> None:
        self._metrics.unreadable_batches.labels(_SKIPPED).inc()
        self._metrics.unreadable_records.inc(end - error.offset)
        self._log.error(
            "unreadable_batch_skipped",
            topic=error.tp.topic,
            partition=error.tp.partition,
            offset=error.offset,
            next_offset=end,
            cause=error.cause,
            note="its records are lost; DETECTOR_KAFKA__SKIP_UNREADABLE allows it",
        )

    def _report_waiting(self, tp: TopicPartition, offset: int, cause: str) -> None:
        """Count each time, and log once for each place."""
        self._metrics.decoding_waits.inc()
        if self._reported.get(tp) == offset:
            return
        self._reported[tp] = offset
        self._log.warning(
            "partition_waits",
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            cause=cause,
            note="others go on, and nothing is lost; it is tried again all the time",
        )

    def _report_held(self, error: UnreadableError) -> None:
        """Once for each place: the same one is found again at each try."""
        if self._reported.get(error.tp) == error.offset:
            return
        self._reported[error.tp] = error.offset
        self._metrics.unreadable_batches.labels(_HELD).inc()
        self._log.error(
            "partition_unreadable",
            topic=error.tp.topic,
            partition=error.tp.partition,
            offset=error.offset,
            cause=error.cause,
            note=f"{to_partition(error.tp)} waits, others go on; it is tried again"
            f" every {RETRY:g} s",
            remedy=_remedy(error),
        )


def _remedy(error: UnreadableError) -> str:
    if error.end is None:
        return "see the broker's log, and whether this user may read the topic"
    return (
        "restore the partition from a replica, or lose the batch with"
        " DETECTOR_KAFKA__SKIP_UNREADABLE=true"
    )
