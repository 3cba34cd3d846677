"""The daemon waits for a broker or a topic, says so, and goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import history, records
from tests.integration.stage import (
    WebhookReceiver,
    committed_and_end,
    eventually,
    produce,
)


def test_it_waits_for_broker_and_topic_and_survives_a_restart(
    tmp_path: Path, start: Start, receiver: WebhookReceiver
) -> None:
    rows = [row for row in history() if row.usable]
    half = len(rows) // 2
    receiver.start()
    broker = Broker(tmp_path / "kafka")
    daemon = start(KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap, KAFKA__TOPICS="late")
    eventually(lambda: daemon.get("/-/healthy")[0] == 200, "healthy without a broker")
    assert daemon.get("/-/ready")[0] == 503
    eventually(
        lambda: "event=waiting_for_broker" in daemon.log_text(),
        "it says what it waits for",
    )

    with broker:
        eventually(
            lambda: "event=no_partitions topics=late" in daemon.log_text(),
            "it says which topic it waits for",
        )
        assert "DETECTOR_KAFKA__SESSION_TIMEOUT_MS (" in daemon.log_text()
        # the client says so ten times a second
        assert daemon.log_text().count("Topic late not found") <= 1
        assert daemon.get("/-/ready")[0] == 503
        broker.create_topic("late")
        produce(broker, "late", records(rows[:half]))
        daemon.await_value("detector_scored_total", half, deadline=45)
        assert daemon.get("/-/ready")[0] == 200

        broker.kill()
        eventually(lambda: not broker.running, "the broker is gone")
        assert daemon.get("/-/healthy")[0] == 200
        broker.restart()
        produce(broker, "late", records(rows[half:]))
        daemon.await_value("detector_scored_total", len(rows), deadline=45)
        assert daemon.value("detector_scored_total") == len(rows)
        group = daemon.settings["KAFKA__GROUP_ID"]
        eventually(
            lambda: (
                committed_and_end(broker, "late", group, 1)
                == ([len(rows)], [len(rows)])
            ),
            "all committed",
        )

        broker.kill()
        began = time.monotonic()
        daemon.stop(timeout=40)
        # the default deadline: a dead broker does not delay the stop
        assert time.monotonic() - began < 20


def test_it_stops_in_time_while_it_waits_for_a_broker(
    tmp_path: Path, start: Start
) -> None:
    daemon = start(
        KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        KAFKA__TOPICS="none",
        SHUTDOWN_DEADLINE="5",
    )
    eventually(lambda: "event=waiting_for_broker" in daemon.log_text(), "it waits")
    assert "level=error" not in daemon.log_text()
    began = time.monotonic()
    daemon.stop(timeout=10)
    assert time.monotonic() - began < 5


ATTEMPTS = """
import threading
from detector.errors import Transient
from detector.ingest.sources import kafka_python as source_kafka
from detector.kafka.settings import KafkaSettings
source_kafka._REQUEST_MS = 200
for attempt in range(3):
    try:
        settings = KafkaSettings(bootstrap_servers=("127.0.0.1:1",), topics=("none",))
        source_kafka.KafkaSource(settings, None)
    except Transient:
        print(threading.active_count())
"""


def test_an_attempt_to_reach_a_broker_leaves_no_thread_behind() -> None:
    """A broker that is down for a night is tried thousands of times."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["1"] * 3
