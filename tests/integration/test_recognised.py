"""Records of many producers on one real topic, without a setting for any of them."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.harness.broker import Broker
from detector.errors import MissingReason
from tests.integration.conftest import Start
from tests.integration.stage import Record, WebhookReceiver, eventually, produce
from tests.unit.detector.ingest.producers import CASES, Case


def apart() -> Iterator[Case]:
    """The cases that need no mapping, each with streams of its own."""
    seen: set[str] = set()
    for case in CASES:
        # the name of this one has its topic in it
        is_of_topic = any(stream.startswith("metrics/") for stream in case.points)
        if case.mapping or is_of_topic or not seen.isdisjoint(case.points):
            continue
        seen.update(case.points)
        yield case


def test_each_record_is_told_by_its_content(
    broker: Broker, topic: str, receiver: WebhookReceiver, start: Start
) -> None:
    cases = list(apart())
    receiver.start()
    daemon = start(MODEL__BUNDLE="")
    records = [
        Record(case.key.encode() if case.key else None, case.data) for case in cases
    ]
    produce(broker, topic, records)
    daemon.await_value("detector_records_total", len(cases))
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")
    assert daemon.value("detector_rejected_total") == 0
    for reason in MissingReason:
        expected = sum(list(case.missing.values()).count(reason) for case in cases)
        found = daemon.value("detector_missing_values_total", reason=reason.value)
        assert found == expected
    without_points = sum(not case.points for case in cases)
    assert daemon.value("detector_records_without_points_total") == without_points
    streams = {stream for case in cases for stream in case.points}
    assert daemon.value("detector_streams") == len(streams)
