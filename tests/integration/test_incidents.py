"""What the API lists of a real daemon, before and after a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.stage import (
    DaemonProcess,
    Record,
    WebhookReceiver,
    eventually,
    produce,
)

WARM = [0.0] * 5
LABELS = {"ALERTING__LABELS": '{"site": "north"}'}


def points(first: int, cpu: list[float]) -> list[Record]:
    """A point a minute of one stream."""
    start = 1_700_000_000 + 60 * first
    found = []
    for i, value in enumerate(cpu):
        record = {"timestamp": start + 60 * i, "cpu": value}
        found.append(Record(b"host-1", json.dumps(record).encode()))
    return found


def alerts(daemon: DaemonProcess) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.get("/api/v1/alerts")[1])
    return found


@pytest.mark.parametrize("partitions", [1])
def test_open_incidents_are_listed_after_a_restart(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    receiver.start()
    produce(broker, topic, points(0, [*WARM, 30, 90]))
    daemon = start(**LABELS)
    daemon.await_value("detector_scored_total", len(WARM) + 2)
    eventually(lambda: len(receiver.notices()) == 1, "a notification")
    (before,) = alerts(daemon)["firing"]
    assert before["labels"]["site"] == "north"
    daemon.stop()

    daemon = start(**LABELS)
    eventually(lambda: daemon.get("/-/ready")[0] == 200, "ready")
    (after,) = alerts(daemon)["firing"]
    assert after["labels"] == before["labels"]
    assert after["startsAt"] == before["startsAt"]
    assert "Firing now (1)" in daemon.get("/")[1]

    produce(broker, topic, points(len(WARM) + 2, [0.0] * 60))
    eventually(lambda: alerts(daemon)["resolved"] != [], "the end")
    (ended,) = alerts(daemon)["resolved"]
    assert ended["annotations"]["duration"].endswith("min")
    assert alerts(daemon)["firing"] == []
    (end,) = [p.alert for p in receiver.accepted() if p.alert["status"] == "resolved"]
    assert end["annotations"]["duration"] == ended["annotations"]["duration"]
