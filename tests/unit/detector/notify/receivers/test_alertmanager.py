"""The alertmanager kind: what each alert says of its times, and clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from detector.errors import Permanent, Transient
from detector.events import Alert, Reason, Severity
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost, idempotency_key, post_key
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.alertmanager import AlertmanagerSettings
from detector.timestamps import seconds
from tests.fakes import FakeClock
from tests.unit.detector.notify.alerts import fired
from tests.unit.detector.notify.receivers.posts import backlog

NOW = 1_700_000_000.0
LEAD = 600.0
DAY = 86_400.0
PATH = "/api/v2/alerts"
FIRED = replace(fired("host-1", starts=NOW - 120), at=NOW - 60)
ESCALATED = replace(
    FIRED, severity=Severity.CRITICAL, reason=Reason.ESCALATED, at=NOW - 30
)


def resolved(alert: Alert, ends: float) -> Alert:
    return replace(alert, reason=Reason.RECOVERED, ends_at=ends, at=ends)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def second() -> Iterator[HTTPServer]:
    """Another Alertmanager of the same cluster."""
    with HTTPServer("127.0.0.1") as server:
        yield server


def deliver(clock: FakeClock, servers: list[str], *alerts: Alert) -> None:
    """One post to a cluster that nobody has posted to before."""
    cluster(clock, servers)(*alerts)


def cluster(clock: FakeClock, servers: list[str]) -> Any:
    made = {"name": "am", "url": servers, "lead": LEAD, "timeout": 2}
    settings = AlertmanagerSettings.model_validate(made)
    context = ReceiverContext(Labelling({"team": "core"}), "http://us", clock)
    receiver = settings.receiver(context)

    def post(*alerts: Alert) -> None:
        key = post_key([idempotency_key(alert) for alert in alerts])
        receiver.deliver(OutgoingPost("am", "{}:{}", {}, alerts, key))

    return post


def answers(server: HTTPServer, *statuses: int) -> str:
    """These in turn, then 200; the server's base address."""
    for status in statuses:
        server.expect_ordered_request(PATH).respond_with_data(status=status)
    if not statuses:
        server.expect_request(PATH).respond_with_data()
    return str(server.url_for(""))


def posted(server: HTTPServer, clock: FakeClock, *alerts: Alert) -> list[Any]:
    deliver(clock, [answers(server)], *alerts)
    return list(json.loads(server.log[0][0].data))


def times(entry: dict[str, Any]) -> tuple[float, float]:
    """Begin and end, relative to now."""
    return seconds(entry["startsAt"]) - NOW, seconds(entry["endsAt"]) - NOW


def test_the_body_is_a_list_of_alerts_as_the_api_takes_them(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    (entry,) = posted(httpserver, clock, FIRED)
    assert entry.keys() == {
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
    }
    assert entry["labels"] == {
        "alertname": "StreamAnomaly",
        "severity": "warning",
        "stream": "host-1",
        "team": "core",
    }
    assert entry["annotations"]["reason"] == "fired"


@pytest.mark.parametrize(
    ("starts", "expected"),
    [(-120.0, -120.0), (-3 * DAY, -3 * DAY), (DAY, 0.0)],
    ids=["just now", "in a backlog", "ahead of the wall clock"],
)
def test_a_firing_alert_ends_after_the_lead_whatever_its_event_time(
    httpserver: HTTPServer, clock: FakeClock, starts: float, expected: float
) -> None:
    (entry,) = posted(httpserver, clock, replace(FIRED, starts_at=NOW + starts))
    assert times(entry) == (expected, LEAD)


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        (-120.0, -10.0, (-120.0, -10.0)),
        (-3 * DAY, -2 * DAY, (-3 * DAY, -2 * DAY)),
        (-120.0, DAY, (-120.0, 0.0)),
        (DAY, 2 * DAY, (0.0, 0.0)),
    ],
    ids=["just now", "in a backlog", "end ahead", "all ahead"],
)
def test_a_resolved_alert_never_ends_after_now(
    httpserver: HTTPServer,
    clock: FakeClock,
    starts: float,
    ends: float,
    expected: tuple[float, float],
) -> None:
    fired = replace(FIRED, starts_at=NOW + starts)
    (entry,) = posted(httpserver, clock, resolved(fired, NOW + ends))
    assert times(entry) == expected


def test_a_later_attempt_has_a_later_end(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    post = cluster(clock, [answers(httpserver)])
    post(FIRED)
    clock.now += 200
    post(FIRED)
    ends = [json.loads(r.data)[0]["endsAt"] for r, _ in httpserver.log]
    assert seconds(ends[1]) - seconds(ends[0]) == 200


def test_an_escalation_ends_the_warning_and_begins_the_critical_alert(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    warning, critical = posted(httpserver, clock, ESCALATED)
    assert warning["labels"]["severity"] == "warning"
    assert times(warning) == (-120, -30)
    assert critical["labels"] == {**warning["labels"], "severity": "critical"}
    assert times(critical) == (-120, LEAD)


def test_the_end_of_a_critical_incident_ends_both(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    entries = posted(httpserver, clock, resolved(ESCALATED, NOW - 5))
    assert [entry["labels"]["severity"] for entry in entries] == ["warning", "critical"]
    assert [times(entry)[1] for entry in entries] == [-5, -5]


def test_an_incident_that_began_critical_ends_no_warning(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    fired = replace(ESCALATED, reason=Reason.FIRED)
    (entry,) = posted(httpserver, clock, fired)
    assert entry["labels"]["severity"] == "critical"


def test_every_alertmanager_of_a_cluster_gets_it(
    httpserver: HTTPServer, second: HTTPServer, clock: FakeClock
) -> None:
    deliver(clock, [answers(httpserver), answers(second)], FIRED)
    assert len(httpserver.log) == len(second.log) == 1


@pytest.mark.parametrize("status", [400, 503])
def test_one_that_takes_it_is_enough(
    httpserver: HTTPServer, second: HTTPServer, clock: FakeClock, status: int
) -> None:
    deliver(clock, [answers(httpserver, status), answers(second)], FIRED)
    assert len(second.log) == 1


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ((503, 503), Transient),
        ((400, 503), Transient),
        ((503, 400), Transient),
        ((400, 400), Permanent),
    ],
)
def test_if_none_takes_it_it_is_tried_again_unless_all_refuse(
    httpserver: HTTPServer,
    second: HTTPServer,
    clock: FakeClock,
    statuses: tuple[int, int],
    error: type[Exception],
) -> None:
    servers = [answers(httpserver, statuses[0]), answers(second, statuses[1])]
    with pytest.raises(error):
        deliver(clock, servers, FIRED)


def test_one_that_does_not_answer_is_left_out_for_a_minute(
    httpserver: HTTPServer, second: HTTPServer, clock: FakeClock
) -> None:
    post = cluster(clock, [answers(httpserver, 503, 200), answers(second)])
    post(FIRED)
    clock.now += 59
    post(FIRED)
    assert (len(httpserver.log), len(second.log)) == (1, 2)
    clock.now += 1
    post(FIRED)
    assert (len(httpserver.log), len(second.log)) == (2, 3)


def test_one_that_is_left_out_is_tried_if_nobody_else_takes_it(
    httpserver: HTTPServer, second: HTTPServer, clock: FakeClock
) -> None:
    servers = [answers(httpserver, 503, 200), answers(second, 200, 503)]
    post = cluster(clock, servers)
    post(FIRED)
    post(FIRED)
    assert len(httpserver.log) == 2


def test_the_summary_of_a_backlog_fires_for_the_lead_and_ends_by_itself(
    httpserver: HTTPServer, clock: FakeClock
) -> None:
    """Alertmanager tells nobody of an alert that never fired."""
    made = {"name": "am", "url": [answers(httpserver)], "lead": LEAD}
    settings = AlertmanagerSettings.model_validate(made)
    context = ReceiverContext(Labelling({"team": "core"}), "http://us", clock)
    settings.receiver(context).deliver(backlog())
    (entry,) = json.loads(httpserver.log[0][0].data)
    assert entry["labels"] == {
        "team": "core",
        "alertname": "StreamBacklog",
        "severity": "critical",
        "stream": "(backlog)",
    }
    starts, ends = times(entry)
    assert starts <= 0
    assert ends == LEAD
