"""Logs the first of what may come a million times; the rest is counted only."""

from __future__ import annotations

from typing import Final

import structlog

from detector.errors import MissingReason, RejectReason
from detector.events import Partition, RejectedRecord
from detector.pipeline.observer import NullObserver

_LONGEST_NAME: Final = 200  # characters of a stream in a log line
_LONGEST_FIELD: Final = 100  # characters of a field in a log line
_MISSING: Final = 64  # metrics and reasons that are logged, each once


class FirstOccurrenceLog(NullObserver):
    """The first rejected record of each reason, the first missing value of each metric
    and reason, the first split stream of each topic, and each unknown field that the
    decoder reports. Implements Observer.
    """

    def __init__(self) -> None:
        self._split: set[str] = set()
        self._seen: set[RejectReason] = set()
        self._missing: set[tuple[str, MissingReason]] = set()
        self._log = structlog.get_logger("ingest")

    def rejected(self, record: RejectedRecord) -> None:
        if record.reason in self._seen:
            return
        self._seen.add(record.reason)
        self._log.warning(
            "record_rejected",
            reason=record.reason.value,
            detail=record.detail,
            **_stream(record),
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            note="the first of its kind; later ones are counted, not logged",
        )

    def missing(self, partition: Partition, metric: str, reason: MissingReason) -> None:
        cell = metric, reason
        if cell in self._missing or len(self._missing) >= _MISSING:
            return
        self._missing.add(cell)
        self._log.info(
            "value_missing",
            metric=metric[:_LONGEST_FIELD],
            reason=reason.value,
            topic=partition.topic,
            partition=partition.number,
            note="the first of its kind; the record's other values are scored",
        )

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        if one.topic in self._split:
            return
        self._split.add(one.topic)
        self._log.warning(
            "stream_on_two_partitions",
            stream=stream[:_LONGEST_NAME],
            partitions=f"{one},{other}",
            note="each partition keeps its own state of the stream; the first of its"
            " topic, others are in detector_split_streams_total",
            remedy=f"key records by stream; `streamwarden inspect --topic {one.topic}`"
            " names the streams, and the setting of common agents",
        )

    def unknown_field(self, field: str, partition: Partition, offset: int) -> None:
        self._log.info(
            "unknown_field",
            field=field[:_LONGEST_FIELD],
            topic=partition.topic,
            partition=partition.number,
            offset=offset,
            note="ignored",
        )


def _stream(record: RejectedRecord) -> dict[str, str]:
    """The point's stream, else the record's key; nothing if it has neither."""
    name = record.stream or (record.key or b"").decode(errors="replace")
    return {"stream": name[:_LONGEST_NAME]} if name else {}
