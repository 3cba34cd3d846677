"""A daemon that comes back to a backlog of hours, and is killed while it reads it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from detector.notify.backlog_summary import NO_STREAM
from tests.integration.conftest import Start
from tests.integration.history import history, records, replayed
from tests.integration.stage import Notice, Post, WebhookReceiver, eventually, produce

PARTITIONS = 4
HOURS = 3


def summaries(receiver: WebhookReceiver) -> list[Post]:
    """Each once: a kill may repeat one, under the same key."""
    found = {
        post.headers["Idempotency-Key"]: post
        for post in receiver.accepted()
        if post.notice.stream == NO_STREAM
    }
    return list(found.values())


def told(receiver: WebhookReceiver) -> set[Notice]:
    return {notice for notice in receiver.notices() if notice.stream != NO_STREAM}


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_an_old_backlog_is_summed_up_and_what_is_open_is_told(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    bundle: Path,
    tmp_path: Path,
) -> None:
    rows = [row for row in history() if row.usable]
    produced = int((time.time() - HOURS * 3600) * 1000)
    produce(broker, topic, records(rows), produced)
    last = {notice.stream: notice for notice in replayed(rows, bundle, tmp_path)}
    still_open = {
        notice.stream for notice in last.values() if notice.status != "resolved"
    }
    began = Counter(
        (notice.stream, notice.starts) for notice in replayed(rows, bundle, tmp_path)
    )
    receiver.start()
    slow = {"KAFKA__MAX_POLL_RECORDS": "100"}
    daemon = start(**slow)
    daemon.await_value("detector_backlog_alerts_total", 10)
    daemon.kill()

    daemon = start(**slow)
    eventually(lambda: summaries(receiver), "the summary")
    eventually(lambda: len(told(receiver)) >= len(still_open), "what is open")
    (summary,) = summaries(receiver)
    annotations = summary.alert["annotations"]
    assert int(annotations["incidents"]) == len(began)
    assert int(annotations["open"]) == len(still_open)
    assert {notice.stream for notice in told(receiver)} == still_open
    assert {notice.status for notice in told(receiver)} == {"firing"}
    assert daemon.value("detector_backlog_partitions") == 0
    assert daemon.value("detector_streams_firing") == len(still_open)
