"""States in a changelog follow their partition to its owner."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import history, records, replayed
from tests.integration.stage import (
    WebhookReceiver,
    await_all_committed,
    eventually,
    produce,
)

PARTITIONS = 4


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_members_with_one_changelog_alert_as_one_would(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    """A second member joins and the first one leaves, so partitions move twice."""
    rows = history(seed=17)
    expected = replayed(rows, bundle, tmp_path)
    receiver.start()
    store = {
        "RECOVERY__STORE": f"kafka:{topic}-state",
        "RECOVERY__DEAD_LETTERS": str(tmp_path / "dead"),
    }
    third = len(rows) // 3
    first = start("a", **store)
    produce(broker, topic, records(rows[:third]))
    first.await_value("detector_records_total", third)
    second = start("b", **store)
    eventually(
        lambda: len(first.owned()) == len(second.owned()) == PARTITIONS // 2,
        "two partitions each",
    )
    produce(broker, topic, records(rows[third : 2 * third]))
    eventually(
        lambda: (
            second.value("detector_lag_records") == 0
            and second.value("detector_records_total") > 0
        ),
        "the second keeps up",
    )
    first.stop()
    eventually(lambda: len(second.owned()) == PARTITIONS, "all partitions")
    produce(broker, topic, records(rows[2 * third :]))
    group = second.settings["KAFKA__GROUP_ID"]
    await_all_committed(broker, topic, group, PARTITIONS)
    receiver.await_notices(len(expected))
    second.stop()
    assert Counter(receiver.notices()) == Counter(expected)


def test_records_that_retention_took_are_counted_and_named(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    rows = [row for row in history(streams=10, ticks=60) if row.usable]
    third = len(rows) // 3
    receiver.start()
    produce(broker, topic, records(rows[:third]))
    daemon = start()
    daemon.await_value("detector_scored_total", third)
    daemon.stop()
    produce(broker, topic, records(rows[third:]))
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_records({TopicPartition(topic, 0): 2 * third})
    admin.close()
    daemon = start()
    daemon.await_value("detector_scored_total", len(rows) - 2 * third)
    assert daemon.value("detector_lost_records_total") == third
    assert "event=records_lost" in daemon.log_text()
    assert daemon.value("detector_streams") == 10
    assert daemon.value("detector_rejected_total") == 0
    daemon.stop()
