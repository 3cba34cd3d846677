"""The log names the first of each kind, with its stream."""

from __future__ import annotations

import structlog

from detector.consumer.first_seen import FirstOccurrenceLog
from detector.errors import RejectReason
from detector.events import Partition, RejectedRecord

P = Partition("metrics", 3)


def rejected(
    reason: RejectReason, key: bytes | None, offset: int = 7
) -> RejectedRecord:
    return RejectedRecord(P, offset, reason, "why", key)


def test_a_rejection_names_its_stream_and_record() -> None:
    with structlog.testing.capture_logs() as lines:
        FirstOccurrenceLog().rejected(rejected(RejectReason.LATE, b"host-1/cpu"))
    (line,) = lines
    assert line["stream"] == "host-1/cpu"
    assert (line["topic"], line["partition"], line["offset"]) == ("metrics", 3, 7)
    assert (line["reason"], line["detail"]) == ("late", "why")


def test_a_rejection_without_a_key_names_no_stream() -> None:
    with structlog.testing.capture_logs() as lines:
        FirstOccurrenceLog().rejected(rejected(RejectReason.NO_STREAM, None))
    assert "stream" not in lines[0]


def test_only_the_first_rejection_of_each_reason_is_logged() -> None:
    log = FirstOccurrenceLog()
    with structlog.testing.capture_logs() as lines:
        for offset in range(3):
            log.rejected(rejected(RejectReason.LATE, b"a", offset))
            log.rejected(rejected(RejectReason.EMPTY, b"a", offset))
    assert [(line["reason"], line["offset"]) for line in lines] == [
        ("late", 0),
        ("empty", 0),
    ]


def test_only_the_first_split_stream_of_each_topic_is_logged() -> None:
    log = FirstOccurrenceLog()
    with structlog.testing.capture_logs() as lines:
        log.split("a", P, Partition("metrics", 4))
        log.split("b", P, Partition("metrics", 4))
        log.split("c", Partition("other", 0), Partition("other", 1))
    assert [line["stream"] for line in lines] == ["a", "c"]
    assert "inspect --topic other" in lines[1]["remedy"]
