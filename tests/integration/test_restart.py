"""Stopped, killed and started again, a daemon alerts as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import history, records, replayed
from tests.integration.stage import (
    Notice,
    WebhookReceiver,
    committed_and_end,
    eventually,
    produce,
)

STREAMS = 40
PARTITIONS = 4


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_stop_and_a_start_lose_and_repeat_nothing(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    rows = history(seed=11)
    half = len(rows) // 2
    expected = replayed(rows, bundle, tmp_path)
    receiver.start()
    produce(broker, topic, records(rows[:half]))
    daemon = start(RECOVERY__INTERVAL="3600")  # the checkpoint is that of the stop
    daemon.await_value("detector_records_total", half)
    daemon.stop(timeout=20)
    group = daemon.settings["KAFKA__GROUP_ID"]
    committed, ends = committed_and_end(broker, topic, group, PARTITIONS)
    assert committed == ends

    produce(broker, topic, records(rows[half:]))
    daemon = start()
    daemon.await_value("detector_records_total", len(rows) - half)
    receiver.await_notices(len(expected))
    daemon.stop()
    assert Counter(receiver.notices()) == Counter(expected)
    assert daemon.log_text().count("event=started") - PARTITIONS == PARTITIONS


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_kills_lose_no_alert_and_invent_none(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    """A kill may hit a backlog, a checkpoint or a delivery. An alert that is sent
    again has the same identity.
    """
    rows = history(seed=13)
    expected = replayed(rows, bundle, tmp_path)
    receiver.start()
    settings = {
        "KAFKA__GROUP_INSTANCE_ID": "one",
        "RECOVERY__INTERVAL": "0.02",
        "KAFKA__MAX_POLL_RECORDS": "200",
    }
    kills = 3
    share = len(rows) // kills
    for kill in range(kills):
        produce(broker, topic, records(rows[kill * share : (kill + 1) * share]))
        daemon = start(**settings)
        daemon.await_value("detector_scored_total", 500 * (kill + 1))
        daemon.signal(signal.SIGKILL)
        assert daemon.status(timeout=5) == -signal.SIGKILL
    produce(broker, topic, records(rows[kills * share :]))
    daemon = start(**settings)
    eventually(
        lambda: set(receiver.notices()) >= set(expected),
        f"{len(expected)} notifications",
        40,
    )
    group = daemon.settings["KAFKA__GROUP_ID"]

    def all_committed() -> bool:
        """The last records raise nothing."""
        committed, ends = committed_and_end(broker, topic, group, PARTITIONS)
        return committed == ends and sum(ends) == len(rows)

    eventually(all_committed, "the group's offsets reach the end")
    daemon.stop()
    assert all_committed()
    assert set(receiver.notices()) == set(expected)
    keys: dict[str, set[Notice]] = {}
    for post in receiver.accepted():
        keys.setdefault(post.headers["Idempotency-Key"], set()).add(post.notice)
    assert all(len(notices) == 1 for notices in keys.values())
    assert len(keys) == len(expected)


def test_a_second_signal_ends_the_draining(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    """The receiver is down: the first signal waits a quarter of the deadline for it."""
    produce(broker, topic, records(history()))
    daemon = start(SHUTDOWN_DEADLINE="400")
    daemon.await_value("detector_notifications_waiting", 1)
    daemon.signal(signal.SIGTERM)
    eventually(lambda: "event=draining" in daemon.log_text(), "it drains")
    daemon.signal(signal.SIGTERM)
    assert daemon.status(timeout=5) == 128 + signal.SIGTERM


def test_a_partition_waits_for_a_state_that_is_unreadable(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """The daemon keeps the partition, names the fault, and goes on by itself."""
    rows = [row for row in history(ticks=30) if row.usable]
    receiver.start()
    produce(broker, topic, records(rows))
    blocked = tmp_path / "a" / "partitions" / topic / "0" / "head.swp"
    blocked.mkdir(parents=True)
    daemon = start()
    eventually(
        lambda: "can't be read" in daemon.get("/-/healthy")[1], "health names the fault"
    )
    assert daemon.get("/-/ready")[0] == 503
    assert daemon.value("detector_records_total") == 0
    blocked.rmdir()
    daemon.await_value("detector_scored_total", len(rows))
    assert daemon.get("/-/ready")[0] == 200
    daemon.stop()


def test_a_store_that_is_gone_is_a_reset_that_the_log_explains(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    rows = [row for row in history(ticks=30) if row.usable]
    half = len(rows) // 2
    receiver.start()
    produce(broker, topic, records(rows[:half]))
    daemon = start()
    daemon.await_value("detector_scored_total", half)
    assert daemon.value("detector_state_resets_total") == 0
    daemon.stop()
    shutil.rmtree(tmp_path / "a" / "partitions")
    produce(broker, topic, records(rows[half:]))
    daemon = start()
    daemon.await_value("detector_scored_total", len(rows) - half)
    assert daemon.value("detector_state_resets_total", cause="no_checkpoint") == 1
    assert "event=states_reset" in daemon.log_text()
    assert "remedy=" in daemon.log_text()
    daemon.stop()
