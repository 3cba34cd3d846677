"""A real Alertmanager: its own API lists, groups and silences what the daemon posts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3

from deploy.harness.alertmanager import Alertmanager
from deploy.harness.broker import Broker
from deploy.harness.processes import free_ports
from detector.clock import SystemClock
from detector.events import Alert, Reason, Severity
from detector.metrics import Metrics
from detector.notify.delivery import Delivery
from detector.notify.outbox import Outbox
from detector.notify.receiver import ReceiverContext
from detector.settings.alerting import AlertingSettings
from tests.fakes import DeadLetterList
from tests.integration.conftest import Start
from tests.integration.stage import Record, eventually, produce
from tests.unit.detector.notify import alerts

P = alerts.P
WALL = SystemClock().wall
Entry = dict[str, Any]


def call(manager: Alertmanager, path: str, body: object = None) -> Any:
    """The answer of its API."""
    answer = urllib3.request(
        "GET" if body is None else "POST",
        f"{manager.url}/api/v2/{path}",
        json=body,
        retries=False,
        timeout=5.0,
    )
    assert answer.status == 200, answer.data
    return answer.json()


def listed(manager: Alertmanager) -> dict[tuple[str, str], Entry]:
    """What fires, by stream and severity."""
    return {
        (alert["labels"]["stream"], alert["labels"]["severity"]): alert
        for alert in call(manager, "alerts")
    }


def fired(stream: str, starts: float | None = None) -> Alert:
    """The beginning of an incident; by default, of a minute ago."""
    return alerts.fired(stream, P, WALL() - 60 if starts is None else starts)


def escalated(alert: Alert) -> Alert:
    return replace(alert, severity=Severity.CRITICAL, reason=Reason.ESCALATED)


def resolved(alert: Alert) -> Alert:
    ends = alert.starts_at + 30
    return replace(alert, reason=Reason.RECOVERED, ends_at=ends, at=ends)


def settings_of(*managers: str, lead: float) -> AlertingSettings:
    receiver = {"name": "am", "kind": "alertmanager", "url": managers, "lead": lead}
    return AlertingSettings.model_validate(
        {
            "receivers": [receiver],
            "stream_labels": r"(?P<cluster>[^/]+)/.*",
            "retry_first": 0.02,
            "retry_max": 0.1,
        }
    )


@contextmanager
def outbox_to(*managers: str, lead: float = 600.0) -> Iterator[Outbox]:
    """An outbox that delivers to them, as the daemon composes it."""
    settings = settings_of(*managers, lead=lead)
    outbox = Outbox(settings.routing(), SystemClock())
    context = ReceiverContext(settings.labelling())
    receivers = {r.name: r.receiver(context) for r in settings.destinations()}
    metrics = Metrics(list(receivers))
    delivery = Delivery(outbox, receivers, DeadLetterList(), settings.retry(), metrics)
    delivery.start()
    yield outbox
    delivery.stop(0.01)


def test_its_api_lists_alerts_until_they_resolve(alertmanager: Alertmanager) -> None:
    first, second = fired("eu/a"), fired("us/b")
    with outbox_to(alertmanager.url) as outbox:
        outbox.put((P, 0), first)
        outbox.put((P, 0), second)
        assert outbox.drain(10)
        assert listed(alertmanager).keys() == {("eu/a", "warning"), ("us/b", "warning")}
        entry = listed(alertmanager)["eu/a", "warning"]
        assert entry["labels"]["cluster"] == "eu"
        assert entry["annotations"]["reason"] == "fired"
        outbox.put((P, 0), resolved(first))
        assert outbox.drain(10)
        assert listed(alertmanager).keys() == {("us/b", "warning")}


def test_an_escalation_leaves_one_alert_of_the_incident(
    alertmanager: Alertmanager,
) -> None:
    first = fired("eu/a")
    with outbox_to(alertmanager.url) as outbox:
        outbox.put((P, 0), first)
        outbox.put((P, 0), escalated(first))
        assert outbox.drain(10)
        assert listed(alertmanager).keys() == {("eu/a", "critical")}
        outbox.put((P, 0), resolved(escalated(first)))
        assert outbox.drain(10)
        assert not listed(alertmanager)


def test_it_groups_them_by_its_own_configuration(alertmanager: Alertmanager) -> None:
    with outbox_to(alertmanager.url) as outbox:
        for name in ("eu/a", "eu/b", "us/c"):
            outbox.put((P, 0), fired(name))
        outbox.put((P, 0), escalated(fired("us/d")))
        assert outbox.drain(10)

    def groups() -> list[tuple[str, int]]:
        found = call(alertmanager, "alerts/groups")
        return sorted((g["labels"]["severity"], len(g["alerts"])) for g in found)

    eventually(lambda: groups() == [("critical", 1), ("warning", 3)], "two groups")


def test_a_silence_on_a_stream_holds_through_an_escalation(
    alertmanager: Alertmanager,
) -> None:
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "stream", "value": "eu/a", "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "a person",
        "comment": "maintenance",
    }
    call(alertmanager, "silences", silence)
    first = fired("eu/a")

    def states() -> dict[tuple[str, str], str]:
        found = listed(alertmanager).items()
        return {key: alert["status"]["state"] for key, alert in found}

    with outbox_to(alertmanager.url) as outbox:
        outbox.put((P, 0), first)
        outbox.put((P, 0), fired("us/b"))
        assert outbox.drain(10)
        eventually(
            lambda: (
                states()
                == {("eu/a", "warning"): "suppressed", ("us/b", "warning"): "active"}
            ),
            "one of two silenced",
        )
        outbox.put((P, 0), escalated(first))
        assert outbox.drain(10)
        eventually(
            lambda: states().get(("eu/a", "critical")) == "suppressed",
            "the critical alert silenced",
        )


def test_an_incident_that_outlasts_the_lead_stays_listed(
    alertmanager: Alertmanager,
) -> None:
    lead = 6.0
    first = fired("eu/a", starts=1_700_000_000.0)
    with outbox_to(alertmanager.url, lead=lead) as outbox:
        outbox.put((P, 0), first)
        assert outbox.drain(10)
        ends = _moment(listed(alertmanager)["eu/a", "warning"]["endsAt"])

        def outlasted() -> bool:
            entry = listed(alertmanager)["eu/a", "warning"]  # never gone meanwhile
            return _moment(entry["endsAt"]) > ends + timedelta(seconds=lead)

        eventually(outlasted, "its first end is past, and it is listed")
    # Nobody refreshes it now.
    eventually(lambda: not listed(alertmanager), "it ran out")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_one_alertmanager_of_a_cluster_is_enough(alertmanager: Alertmanager) -> None:
    gone = f"http://127.0.0.1:{free_ports(1)[0]}"
    with outbox_to(gone, alertmanager.url) as outbox:
        outbox.put((P, 0), fired("eu/a"))
        assert outbox.drain(10)
    assert listed(alertmanager).keys() == {("eu/a", "warning")}


def outage(streams: int) -> list[Record]:
    """Quiet for four ticks, then far away for three, years before the wall clock."""
    found: list[Record] = []
    for tick in range(7):
        values = {"cpu": 0 if tick < 4 else 40, "mem": 0}
        point = json.dumps({"timestamp": 1_700_000_000 + 60 * tick, **values})
        keys = [b"s%d" % number for number in range(streams)]
        found.extend(Record(key, point.encode()) for key in keys)
    return found


def test_a_daemon_that_restarts_within_the_lead_keeps_its_incidents_listed(
    broker: Broker, topic: str, start: Start, alertmanager: Alertmanager
) -> None:
    receiver = {"name": "am", "kind": "alertmanager", "url": alertmanager.url}
    settings = {
        "ALERTING__WEBHOOK_URL": "",
        "ALERTING__RECEIVERS": json.dumps([receiver | {"lead": 30}]),
    }
    produce(broker, topic, outage(3))
    daemon = start(**settings)
    eventually(lambda: len(listed(alertmanager)) == 3, "three incidents")
    daemon.stop()
    stopped = datetime.now(UTC)
    daemon = start(**settings)

    def refreshed() -> bool:
        alerts = listed(alertmanager).values()
        assert len(alerts) == 3
        return all(
            _moment(a["endsAt"]) > stopped + timedelta(seconds=30) for a in alerts
        )

    eventually(refreshed, "the restarted daemon refreshes them")
    assert daemon.value("detector_records_total") == 0
    daemon.stop()
