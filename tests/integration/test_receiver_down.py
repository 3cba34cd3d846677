"""A receiver that is down, busy or refuses: scoring goes on, and what can be delivered
is, in order and under the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from detector.cli.main import main
from tests.integration.conftest import Start
from tests.integration.history import history, records, replayed
from tests.integration.stage import (
    WebhookReceiver,
    by_stream,
    dead_letters,
    notice,
    produce,
)


class BusyAtFirst:
    """Answers 503 to the first attempts of the first five posts, and 200 later."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def __call__(self, headers: Mapping[str, str]) -> int:
        key = headers["Idempotency-Key"]
        self.attempts.append(key)
        is_first = self.attempts.count(key) == 1
        is_early = len(set(self.attempts)) <= 5
        return 503 if is_first and is_early else 200


def test_what_a_dead_receiver_missed_arrives_in_order(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    rows = history()
    expected = replayed(rows, bundle, tmp_path)
    produce(broker, topic, records(rows))
    daemon = start()
    # It scores although nobody listens.
    daemon.await_value("detector_records_total", len(rows))
    daemon.await_value("detector_notifications_total", 2, outcome="retried")
    daemon.await_value("detector_notifications_waiting", len(expected))
    assert daemon.get("/-/ready")[0] == 200

    busy = BusyAtFirst()
    receiver.answer = busy
    receiver.start()
    receiver.await_notices(len(expected))
    assert by_stream(receiver.notices()) == by_stream(expected)
    keys = [p.headers["Idempotency-Key"] for p in receiver.accepted()]
    assert len(set(keys)) == len(expected)
    # A retry has the key of the first attempt.
    assert busy.attempts[:10] == [key for key in keys[:5] for _ in range(2)]
    daemon.await_value(
        "detector_notifications_total", len(expected), outcome="delivered"
    )
    assert daemon.value("detector_notifications_total", outcome="dead_lettered") == 0
    daemon.stop()


def test_what_a_dead_receiver_missed_survives_a_restart(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    rows = history()
    expected = replayed(rows, bundle, tmp_path)
    produce(broker, topic, records(rows))
    daemon = start(SHUTDOWN_DEADLINE="2")
    daemon.await_value("detector_records_total", len(rows))
    daemon.stop()
    receiver.start()
    daemon = start()
    receiver.await_notices(len(expected))
    assert sorted(receiver.notices()) == sorted(expected)
    assert daemon.value("detector_records_total") == 0
    daemon.stop()


def test_a_refusal_that_passes_loses_nothing(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    tmp_path: Path,
    bundle: Path,
) -> None:
    """As while a receiver is deployed: its proxy answers 404 at first."""
    rows = history()
    expected = replayed(rows, bundle, tmp_path)
    statuses = iter([404] * len(expected))
    receiver.answer = lambda headers: next(statuses, 200)
    receiver.start()
    produce(broker, topic, records(rows))
    daemon = start()
    daemon.await_value(
        "detector_notifications_total", len(expected), outcome="delivered"
    )
    daemon.stop()
    assert by_stream(receiver.notices()) == by_stream(expected)
    assert "event=notification_refused" in daemon.log_text()
    assert daemon.log_text().count("notification_dead_lettered") == 0


def test_a_refusal_that_lasts_is_dead_lettered_and_redriven(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = history()
    expected = replayed(rows, bundle, tmp_path)
    receiver.answer = lambda headers: 404
    receiver.start()
    produce(broker, topic, records(rows))
    daemon = start(ALERTING__RETRY_REFUSALS="0")
    daemon.await_value(
        "detector_notifications_total", len(expected), outcome="dead_lettered"
    )
    daemon.stop()
    assert len(receiver.posts()) == len(expected)
    letters = dead_letters(tmp_path / "a")
    kept = [letter for letter in letters if letter["kind"] == "notification"]
    assert by_stream([notice(k["alert"]) for k in kept]) == by_stream(expected)
    assert all("404" in k["reason"] for k in kept)
    assert "s3cret-path" not in daemon.log_text() + str(letters)

    # the receiver is corrected; who fires still is not known without a daemon
    receiver.answer = lambda headers: 200
    environment = {f"DETECTOR_{n}": v for n, v in daemon.settings.items()}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    over = {alert.stream for alert in expected if alert.status == "resolved"}
    assert main(["redrive", "--alerts"]) == 0
    assert {n.stream for n in receiver.notices()} == over
    assert main(["redrive", "--alerts", "--force"]) == 0
    assert sorted(receiver.notices()) == sorted(expected)
    assert main(["redrive", "--alerts", "--force"]) == 0
    assert len(receiver.notices()) == len(expected)
