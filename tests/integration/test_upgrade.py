"""Upgrades, downgrades, other bundles and lost stores, on a real daemon.

In each, a stream is in an incident that a receiver knows of. The receiver gets one end
for it, and no second beginning. What can be kept is kept, and the rest is counted.

``states/`` has directories that the daemons of before wrote: each fits the topic of
:data:`BEFORE`, and its incident began with the sixth point of ``host-1``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from deploy.harness.broker import Broker
from detector.recovery.editions import edition_name
from tests.fakes import write_bundle
from tests.integration.conftest import Start
from tests.integration.stage import (
    DaemonProcess,
    Notice,
    Record,
    WebhookReceiver,
    eventually,
    produce,
)
from tests.integration.test_incidents import alerts

STATES = Path(__file__).parent / "states"
WARM = [0.0] * 5
OUTAGE = [30.0, 90.0]
CALM = [0.0] * 120
STARTS = 1_700_000_000


def points(first: int, cpu: list[float]) -> list[Record]:
    """A point a minute of two streams; the second is always calm."""
    found = []
    for i, value in enumerate(cpu, first):
        point = {"timestamp": STARTS + 60 * i, "cpu": value, "mem": 1.0}
        calm = {"timestamp": STARTS + 60 * i, "cpu": 2.0, "mem": 1.0}
        found.append(Record(b"host-1", json.dumps(point).encode()))
        found.append(Record(b"host-2", json.dumps(calm).encode()))
    return found


BEFORE = points(0, WARM + OUTAGE)


def fired(receiver: WebhookReceiver) -> Notice:
    """The beginning of the incident, once it is there."""
    eventually(lambda: len(receiver.notices()) == 1, "a notification")
    return receiver.notices()[0]


def check_ended_once(receiver: WebhookReceiver, starts: str) -> None:
    eventually(lambda: receiver.notices()[-1:] != [], "a notification")
    eventually(lambda: receiver.notices()[-1].status == "resolved", "the end")
    assert {n.starts for n in receiver.notices()} == {starts}
    assert sum(n.status == "resolved" for n in receiver.notices()) == 1


def await_ready(daemon: DaemonProcess) -> None:
    eventually(lambda: daemon.get("/-/ready")[0] == 200, "ready")


@pytest.mark.parametrize("schema", [9, 10])
def test_an_upgrade_goes_on_and_leaves_the_files_of_before(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    tmp_path: Path,
    schema: int,
) -> None:
    """After a downgrade, the version of before finds what it wrote. So does this one,
    after a later version.
    """
    state = STATES / f"schema_{schema}"
    home = tmp_path / "a" / "partitions" / topic / "0"
    shutil.copytree(state, home, ignore=shutil.ignore_patterns("bundle"))
    later = home / "99-ffffffffffffffff"
    later.mkdir()
    (later / "head.swp").write_bytes(b"of a later version")
    receiver.start()
    produce(broker, topic, BEFORE)
    daemon = start(MODEL__BUNDLE=str(state / "bundle"))
    await_ready(daemon)
    assert daemon.value("detector_streams_firing") == 1
    produce(broker, topic, points(len(BEFORE) // 2, CALM))
    check_ended_once(receiver, "2023-11-14T22:18:20.000Z")
    daemon.await_value("detector_scored_total", 2 * len(CALM))
    assert daemon.value("detector_scored_total") == 2 * len(CALM)
    assert daemon.value("detector_state_resets_total") == 0
    assert daemon.value("detector_lost_records_total") == 0
    assert "event=states_moved" in daemon.log_text()
    daemon.stop()
    for file in state.glob("*.swp"):
        assert (home / file.name).read_bytes() == file.read_bytes()
    assert (later / "head.swp").read_bytes() == b"of a later version"


def test_going_back_to_a_bundle_finds_what_it_knew(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    receiver.start()
    another = write_bundle(tmp_path / "another", warm_up=4)
    produce(broker, topic, BEFORE)
    daemon = start()
    began = fired(receiver)
    daemon.stop()
    between = points(len(BEFORE) // 2, [80.0] * 3)
    produce(broker, topic, between)
    daemon = start(MODEL__BUNDLE=str(another))
    daemon.await_value("detector_scored_total", len(between))
    (listed,) = alerts(daemon)["firing"]
    assert listed["startsAt"] == began.starts
    assert daemon.value("detector_warm_up_records_total") == len(BEFORE)
    daemon.stop()
    daemon = start(MODEL__BUNDLE=str(bundle))
    await_ready(daemon)
    # its own states have the first records already
    assert daemon.value("detector_warm_up_records_total") == len(between)
    assert daemon.value("detector_state_resets_total", cause="taken_over") == 2
    assert daemon.value("detector_streams_firing") == 1
    produce(broker, topic, points(len(BEFORE) // 2 + 3, CALM))
    check_ended_once(receiver, began.starts)
    assert len(receiver.notices()) == 2
    daemon.stop()
    home = tmp_path / "a" / "partitions" / topic / "0"
    assert len(list(home.glob(f"{edition_name('')}*"))) == 2


def test_a_lost_volume_is_made_up_for_from_the_topic(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    receiver.start()
    produce(broker, topic, BEFORE)
    daemon = start()
    began = fired(receiver)
    daemon.stop()
    shutil.rmtree(tmp_path / "a")
    daemon = start()
    await_ready(daemon)
    assert daemon.value("detector_state_resets_total", cause="no_checkpoint") == 1
    assert daemon.value("detector_warm_up_records_total") == len(BEFORE)
    assert daemon.value("detector_scored_total") == 0
    assert daemon.value("detector_streams_firing") == 1
    goes_on = daemon.value("detector_recovered_incidents_total", outcome="goes_on")
    assert goes_on == 1
    assert "event=incidents_taken_up" in daemon.log_text()
    produce(broker, topic, points(len(BEFORE) // 2, CALM))
    check_ended_once(receiver, began.starts)
    daemon.stop()


def test_an_emptied_store_behind_a_short_log_leaves_no_incident_open(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """Nothing is left that the incident could be found in again."""
    receiver.start()
    changelog = f"{topic}-state"
    store = {
        "RECOVERY__STORE": f"kafka:{changelog}",
        "RECOVERY__DEAD_LETTERS": str(tmp_path / "dead"),
    }
    produce(broker, topic, BEFORE)
    daemon = start(**store)
    began = fired(receiver)
    daemon.stop()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_topics([changelog])
    admin.delete_records({TopicPartition(topic, 0): len(BEFORE)})
    admin.close()
    daemon = start(**store)
    check_ended_once(receiver, began.starts)
    annotations = receiver.accepted()[-1].alert["annotations"]
    assert annotations["reason"] == "lost"
    assert daemon.value("detector_state_resets_total", cause="no_checkpoint") == 1
    ended = daemon.value("detector_recovered_incidents_total", outcome="ended")
    assert ended == 1
    daemon.stop()
