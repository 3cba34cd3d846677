"""A receiver that fails in every way one can: what it missed arrives once it works, in
order, and no other receiver waits for it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from deploy.harness.broker import Broker
from deploy.harness.processes import free_ports
from detector.metrics import Metrics
from detector.notify.delivery import Delivery, RetryPolicy
from detector.notify.outbox import Outbox
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.webhook import Webhook, WebhookSettings
from detector.notify.routes import Routing
from tests.chaos.receiver import MODES, FailingReceiver
from tests.fakes import DeadLetterList
from tests.integration.conftest import Start
from tests.integration.stage import Record, WebhookReceiver, eventually, produce
from tests.unit.detector.notify.alerts import P, fired

STREAMS = 2000
TICKS = 7
SPILLED = 800  # at least


@contextmanager
def delivering(
    outbox: Outbox, receivers: Sequence[FailingReceiver], metrics: Metrics
) -> Iterator[None]:
    settings = [
        WebhookSettings(name=f"r{i}", url=SecretStr(r.url), timeout=1)
        for i, r in enumerate(receivers)
    ]
    hooks = {s.name: Webhook(s, ReceiverContext()) for s in settings}
    delivery = Delivery(
        outbox,
        hooks,
        DeadLetterList(),
        RetryPolicy(0.02, 0.1),
        metrics,
        seed=1,
    )
    delivery.start()
    yield
    delivery.stop(0.01)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "ok"])
def test_what_a_receiver_missed_arrives_once_it_works_and_delays_no_other(
    mode: str,
) -> None:
    failing = FailingReceiver(free_ports(1)[0])
    working = FailingReceiver(free_ports(1)[0])
    failing.mode = mode
    outbox = Outbox(Routing(["r0", "r1"]))
    metrics = Metrics(["r0", "r1"])

    def value(outcome: str) -> float:
        labels = {"receiver": "r0", "outcome": outcome}
        found = metrics.registry.get_sample_value("detector_posts_total", labels)
        return found or 0.0

    for number in range(20):
        outbox.put((P, 0), fired(f"host-{number}"))
    with delivering(outbox, [failing, working], metrics):
        eventually(
            lambda: len(working.taken) == 20,
            "20 notifications at the one that works",
        )
        eventually(
            lambda: value("retried") or value("delivered"),
            "an attempt at the one that fails",
        )
        assert not failing.taken or mode == "slow"
        failing.mode = "ok"
        eventually(
            lambda: len(failing.taken) == 20, "20 notifications at the one that failed"
        )
        assert outbox.drain(10)
    assert value("dead_lettered") == 0
    failing.close()
    working.close()


def storm() -> list[Record]:
    """Every stream is quiet for four ticks, and then anomalous."""
    keys = [b"s%d" % number for number in range(STREAMS)]
    found: list[Record] = []
    for tick in range(TICKS):
        values = {"cpu": 0.0 if tick < 4 else 40.0, "mem": 0}
        point = json.dumps({"timestamp": 1_700_000_000 + 60 * tick, **values})
        found.extend(Record(key, point.encode()) for key in keys)
    return found


def received(receiver: WebhookReceiver) -> list[tuple[str, str, str]]:
    """Stream, reason and beginning of each notification, in order of arrival."""
    alerts = [
        a for post in receiver.accepted() for a in json.loads(post.body)["alerts"]
    ]
    return [
        (a["labels"]["stream"], a["annotations"]["reason"], a["startsAt"])
        for a in alerts
    ]


def test_a_storm_spills_survives_a_kill_and_arrives_in_few_posts(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver
) -> None:
    route = json.dumps([{"receiver": "streamwarden", "group_by": ["alertname"]}])
    grouped = {"ALERTING__ROUTES": route, "ALERTING__QUEUE_IN_MEMORY": "100"}
    produce(broker, topic, storm())
    daemon = start(**grouped)
    daemon.await_value("detector_alerts_total", STREAMS)
    daemon.await_value("detector_notifications_spilled", SPILLED)
    daemon.signal(signal.SIGKILL)
    daemon.status(10)

    receiver.start()
    daemon = start(**grouped)
    eventually(
        lambda: len(set(received(receiver))) >= STREAMS, f"{STREAMS} notifications"
    )
    eventually(
        lambda: daemon.value("detector_notifications_waiting") == 0, "nothing waits"
    )
    assert {stream for stream, _, _ in received(receiver)} == {
        f"s{i}" for i in range(STREAMS)
    }
    assert len(set(received(receiver))) == STREAMS
    sizes = [len(json.loads(post.body)["alerts"]) for post in receiver.accepted()]
    # What is raised meanwhile leaves as it comes, in many posts.
    assert sum(size for size in sizes if size >= 50) >= SPILLED
    daemon.stop()
