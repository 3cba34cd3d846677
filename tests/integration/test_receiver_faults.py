"""A receiver that fails in every way one can: what it missed arrives once it is well,
in order, and nobody else waits for it.
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
from detector.events import Alert, Partition, Reason, Severity
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

P = Partition("metrics", 0)
STREAMS = 2000
TICKS = 7
SPILLED = 800  # at least


def alert(number: int) -> Alert:
    return Alert(
        P, f"host-{number}", Severity.WARNING, Reason.FIRED, 60.0, None, 60.0, 7.0, 6.0
    )


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
def test_one_that_fails_is_told_all_once_it_is_well_and_its_neighbour_at_once(
    mode: str,
) -> None:
    ill = FailingReceiver(free_ports(1)[0])
    well = FailingReceiver(free_ports(1)[0])
    ill.mode = mode
    outbox = Outbox(Routing(["r0", "r1"]))
    metrics = Metrics(["r0", "r1"])

    def value(outcome: str) -> float:
        return (
            metrics.registry.get_sample_value(
                "detector_posts_total", {"receiver": "r0", "outcome": outcome}
            )
            or 0.0
        )

    for number in range(20):
        outbox.put((P, 0), alert(number))
    with delivering(outbox, [ill, well], metrics):
        eventually(
            lambda: len(well.taken) == 20,
            "20 notifications at the receiver that is well",
        )
        eventually(
            lambda: value("retried") or value("delivered"),
            "an attempt at the one that is not",
        )
        assert not ill.taken or mode == "slow"
        ill.mode = "ok"
        eventually(
            lambda: len(ill.taken) == 20, "20 notifications at the one that was not"
        )
        assert outbox.drain(10)
    assert value("dead_lettered") == 0
    ill.close()
    well.close()


def storm() -> list[Record]:
    """Every stream is quiet for four ticks, and then none is."""
    rows = [
        (tick, stream, 0.0 if tick < 4 else 40.0)
        for tick in range(TICKS)
        for stream in range(STREAMS)
    ]
    return [
        Record(
            b"s%d" % s,
            json.dumps(
                {"timestamp": 1_700_000_000 + 60 * t, "cpu": cpu, "mem": 0}
            ).encode(),
        )
        for t, s, cpu in rows
    ]


def told(receiver: WebhookReceiver) -> list[tuple[str, str, str]]:
    """Stream, reason and beginning of each notification, in order of arrival."""
    alerts = [
        a for post in receiver.accepted() for a in json.loads(post.body)["alerts"]
    ]
    return [
        (a["labels"]["stream"], a["annotations"]["reason"], a["startsAt"])
        for a in alerts
    ]


def test_a_storm_waits_in_the_store_survives_a_kill_and_arrives_whole_in_few_posts(
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
    eventually(lambda: len(set(told(receiver))) >= STREAMS, f"{STREAMS} notifications")
    eventually(
        lambda: daemon.value("detector_notifications_waiting") == 0, "nothing waits"
    )
    assert {stream for stream, _, _ in told(receiver)} == {
        f"s{i}" for i in range(STREAMS)
    }
    assert len(set(told(receiver))) == STREAMS
    sizes = [len(json.loads(post.body)["alerts"]) for post in receiver.accepted()]
    # what is raised meanwhile goes out as it comes, in many posts
    assert sum(size for size in sizes if size >= 50) >= SPILLED
    daemon.stop()
