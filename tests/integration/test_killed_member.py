"""A killed daemon has its partitions back at once, however long a session is."""

from __future__ import annotations

import json
from collections.abc import Container
from functools import partial
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import history, records
from tests.integration.stage import WebhookReceiver, eventually, produce

# Longer than a test waits: who waits for a session's end fails.
LONG_SESSION = {"KAFKA__SESSION_TIMEOUT_MS": "300000"}
LONG_REBALANCE = {"KAFKA__REBALANCE_TIMEOUT_MS": "300000"}
PARTITIONS = 4


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_killed_daemon_reads_on_without_waiting_for_its_session(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    rows = [row for row in history() if row.usable]
    half = len(rows) // 2
    receiver.start()
    member = tmp_path / "a" / "member.json"
    daemon = start(**LONG_SESSION, **LONG_REBALANCE)
    produce(broker, topic, records(rows[:half]))
    daemon.await_value("detector_scored_total", half)
    daemon.kill()
    for _ in range(3):  # in the middle of a join, with the id that it joins with
        known = {"", _member(member)}
        daemon = start(**LONG_SESSION, **LONG_REBALANCE)
        eventually(partial(_is_new, member, known), "another member id")
        daemon.kill()

    daemon = start(**LONG_SESSION, **LONG_REBALANCE)
    produce(broker, topic, records(rows[half:]))
    eventually(lambda: len(daemon.owned()) == PARTITIONS, "all partitions")
    # seconds of this start: the log also has those of the first one
    daemon.await_value("detector_recovery_seconds", 1e-6, phase="join")
    assert "event=recovered" in daemon.log_text()
    daemon.stop()
    assert not member.exists()


def _is_new(file: Path, known: Container[str]) -> bool:
    return _member(file) not in known


def _member(file: Path) -> str:
    """The member id in a file; "" if there is none at this moment."""
    try:
        found: str = json.loads(file.read_text())["member"]
    except FileNotFoundError:
        return ""
    return found


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_second_daemon_never_removes_one_that_runs(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    receiver.start()
    members = [start("a"), start("b")]
    eventually(
        lambda: [len(m.owned()) for m in members] == [2, 2], "two partitions each"
    )
    members[1].kill()
    members[1] = start("b")
    eventually(
        lambda: sorted(len(m.owned()) for m in members) == [2, 2], "shared again"
    )
    assert "partitions_lost" not in members[0].log_text()
