"""Members of one group, each with its own store, share the partitions and take over
from each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import history, records
from tests.integration.stage import (
    DaemonProcess,
    WebhookReceiver,
    await_all_committed,
    committed_and_end,
    eventually,
    produce,
)

PARTITIONS = 4


def total(daemons: Sequence[DaemonProcess], name: str) -> float:
    return sum(daemon.value(name) for daemon in daemons)


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_member_takes_over_when_the_other_stops(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    rows = [row for row in history() if row.usable]
    third = len(rows) // 3
    receiver.start()
    members = [start("a"), start("b")]
    eventually(
        lambda: [len(m.owned()) for m in members] == [2, 2], "two partitions each"
    )
    assert not members[0].owned() & members[1].owned()

    produce(broker, topic, records(rows[:third]))
    eventually(lambda: total(members, "detector_scored_total") >= third, "all scored")
    for member in members:
        eventually(
            lambda of=member: of.value("detector_lag_records") == 0,  # type: ignore[misc]
            "no lag",
        )
        assert member.value("detector_scored_total") > 0
    assert total(members, "detector_scored_total") == third
    assert total(members, "detector_records_total") == third
    assert total(members, "detector_streams") == len({r.stream for r in rows})

    stopping, staying = members
    # it stops in the middle of these
    produce(broker, topic, records(rows[third : 2 * third]))
    stopping.stop()
    eventually(lambda: len(staying.owned()) == PARTITIONS, "all partitions")
    produce(broker, topic, records(rows[2 * third :]))
    group = staying.settings["KAFKA__GROUP_ID"]
    await_all_committed(broker, topic, group, PARTITIONS)
    # nothing came twice after the other's stop
    assert staying.value("detector_rejected_total") == 0
    staying.stop()


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_member_takes_over_when_the_other_is_killed(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    rows = [row for row in history() if row.usable]
    half = len(rows) // 2
    receiver.start()
    members = [
        start("a", KAFKA__SESSION_TIMEOUT_MS="3000"),
        start("b", KAFKA__SESSION_TIMEOUT_MS="3000", RECOVERY__INTERVAL="3600"),
    ]
    eventually(
        lambda: [len(m.owned()) for m in members] == [2, 2], "two partitions each"
    )
    produce(broker, topic, records(rows[:half]))
    eventually(
        lambda: total(members, "detector_scored_total") >= half, "the first half scored"
    )
    staying, dying = members
    mine = staying.value("detector_scored_total")
    dying.kill()  # it has committed nothing: all of its records are read again
    produce(broker, topic, records(rows[half:]))
    eventually(lambda: len(staying.owned()) == PARTITIONS, "all partitions")
    staying.await_value("detector_scored_total", len(rows))
    assert 0 < mine < half
    assert staying.value("detector_scored_total") == len(rows)
    staying.stop()
    committed, ends = committed_and_end(
        broker, topic, staying.settings["KAFKA__GROUP_ID"], PARTITIONS
    )
    assert committed == ends
