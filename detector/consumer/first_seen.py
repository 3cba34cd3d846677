"""first_seen."""

from __future__ import annotations

import structlog

from detector.errors import RejectReason
from detector.events import Partition, RejectedRecord
from detector.pipeline.observer import NullObserver


class FirstOccurrenceLog(NullObserver):
    """Logs the first rejected record of each reason, the first split stream, and each
    unknown field once; the rest is counted. Implements Observer.
    """

    def __init__(self) -> None:
        self._split = False
        self._seen: set[RejectReason] = set()
        self._log = structlog.get_logger("ingest")

    def rejected(self, record: RejectedRecord) -> None:
        if record.reason in self._seen:
            return
        self._seen.add(record.reason)
        where = {
            "topic": record.partition.topic,
            "partition": record.partition.number,
            "offset": record.offset,
        }
        self._log.warning(
            "record_rejected",
            reason=record.reason.value,
            detail=record.detail,
            **where,
            more="counted, not logged",
        )

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        if not self._split:
            remedy = (
                "key records by stream: each partition holds a state of its own for it"
            )
            self._log.warning(
                "stream_on_two_partitions",
                stream=stream[:200],
                partitions=f"{one},{other}",
                remedy=remedy,
            )
        self._split = True

    def unknown_field(self, field: str, partition: Partition, offset: int) -> None:
        self._log.info(
            "unknown_field",
            field=field[:100],
            topic=partition.topic,
            partition=partition.number,
            offset=offset,
            more="ignored",
        )
