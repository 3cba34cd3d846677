"""A restart under another bundle leaves no incident open, and forgets no stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from tests.fakes import write_bundle
from tests.integration.conftest import Start
from tests.integration.stage import WebhookReceiver, eventually, produce
from tests.integration.test_incidents import WARM, alerts, points

OUTAGE = [*WARM, 30, 90]


@pytest.mark.parametrize("partitions", [1])
def test_an_incident_goes_on_under_a_bundle_of_the_same_features(
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
    (before,) = alerts(daemon)["firing"]
    daemon.stop()

    newer = write_bundle(tmp_path / "newer", warm_up=4)
    daemon = start(MODEL__BUNDLE=str(newer))
    eventually(lambda: daemon.get("/-/ready")[0] == 200, "ready")
    (after,) = alerts(daemon)["firing"]
    assert after["startsAt"] == before["startsAt"]
    assert daemon.value("detector_state_resets_total", cause="taken_over") == 1

    produce(broker, topic, points(len(OUTAGE), [0.0] * 120))
    eventually(lambda: len(receiver.notices()) == 2, "the end")
    assert receiver.notices()[1].starts == before["startsAt"]
    assert receiver.notices()[1].status == "resolved"
    # the new points are scored, and no older one is scored again
    daemon.await_value("detector_scored_total", 120)
    assert daemon.value("detector_scored_total") == 120
    daemon.stop()


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
