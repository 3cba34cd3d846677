"""The daemon over Kafka raises what ``replay`` raises on the same data, and counts what
it read; both go by the zone of the bundle.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from tests.fakes import write_bundle
from tests.integration.conftest import Start
from tests.integration.history import history, records, replayed
from tests.integration.stage import WebhookReceiver, by_stream, eventually, produce


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Its scores follow the hour of a wall clock that is not UTC's."""
    return write_bundle(tmp_path / "bundle", by_the_hour=True, timezone="Asia/Kolkata")


@pytest.mark.parametrize("partitions", [4])
def test_alerts_over_kafka_are_those_of_replay(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    rows = history()
    expected = replayed(rows, bundle, tmp_path)
    assert {n.severity for n in expected} == {"warning", "critical"}
    assert {n.status for n in expected} == {"firing", "resolved"}
    produce(broker, topic, records(rows))
    receiver.start()
    daemon = start()
    daemon.await_value("detector_scored_total", sum(r.usable for r in rows))
    receiver.await_notices(len(expected))

    assert Counter(receiver.notices()) == Counter(expected)
    usable = sum(r.usable for r in rows)
    assert 0 < usable < len(rows)
    assert daemon.value("detector_records_total") == len(rows)
    assert daemon.value("detector_scored_total") == usable
    assert (
        daemon.value("detector_rejected_total", reason="no_features")
        == len(rows) - usable
    )
    assert daemon.value("detector_rejected_total") == len(rows) - usable
    assert daemon.value("detector_streams") == len({r.stream for r in rows})
    assert daemon.value("detector_notifications_total", outcome="delivered") == len(
        expected
    )
    assert daemon.value("detector_notifications_total", outcome="retried") == 0
    # an escalation and a return are posted as firing, and counted by their own names
    counted = {"firing": ("firing", "escalated", "returned"), "resolved": ("resolved",)}
    for status, names in counted.items():
        raised = sum(
            daemon.value("detector_alerts_total", status=name) for name in names
        )
        assert raised == sum(n.status == status for n in expected)
    daemon.await_value("detector_checkpoints_total", 1, outcome="written")
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")
    daemon.stop()

    assert by_stream(receiver.notices()) == by_stream(expected)
    for notices in by_stream(expected).values():
        order = [(n.starts, n.status) for n in notices]
        # "firing" sorts before "resolved", and incidents follow one another
        assert order == sorted(order)
