"""A restart under a bundle of other features leaves no incident open."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from tests.fakes import write_bundle
from tests.integration.conftest import Start
from tests.integration.stage import WebhookReceiver, eventually, produce
from tests.integration.test_incidents import WARM, points

OUTAGE = [*WARM, 30, 90]


@pytest.mark.parametrize("partitions", [1])
def test_an_incident_ends_at_its_receivers_with_its_features(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    tmp_path: Path,
) -> None:
    receiver.start()
    produce(broker, topic, points(0, OUTAGE))
    daemon = start()
    eventually(lambda: len(receiver.notices()) == 1, "a notification")
    daemon.stop()

    other = write_bundle(tmp_path / "other", features=("disk", "swap"))
    daemon = start(MODEL__BUNDLE=str(other))
    eventually(lambda: len(receiver.notices()) == 2, "the end")
    fired, ended = [post.alert for post in receiver.accepted()]
    assert ended["status"] == "resolved"
    assert ended["startsAt"] == fired["startsAt"]
    assert ended["annotations"]["reason"] == "replaced"
    assert "another bundle took over" in ended["annotations"]["summary"]
    daemon.stop()
