"""The harness' receiver takes Alertmanager's version 4 and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import urllib3

from deploy.harness.receiver import Receiver, parse

FIRING = "2026-01-05T10:00:00.000Z"


def post(status: str = "firing", **changes: Any) -> dict[str, Any]:
    labels = {"alertname": "StreamAnomaly", "stream": "host-001", "severity": "warning"}
    alert = {
        "status": status,
        "labels": labels,
        "annotations": {"summary": "s", "at": "2026-01-05T10:02:00.000Z"},
        "startsAt": FIRING,
        "endsAt": "0001-01-01T00:00:00Z"
        if status == "firing"
        else "2026-01-05T11:00:00.000Z",
        "generatorURL": "",
        "fingerprint": "869e12f3ec1052c0",
    } | changes
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "streamwarden",
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [alert],
    }


def body(**changes: Any) -> bytes:
    return json.dumps(post() | changes).encode()


def send(url: str, content: bytes) -> tuple[int, str]:
    answer = urllib3.request("POST", url, body=content, timeout=5, retries=False)
    return answer.status, answer.data.decode()


def test_a_resolution_ends_the_incident() -> None:
    with Receiver(clock=lambda: 5.0) as receiver:
        assert send(receiver.url, body())[0] == 200
        (incident,) = receiver.incidents()
        assert (incident.stream, incident.severity) == ("host-001", "warning")
        assert (incident.ends, incident.arrived) == (None, 5.0)
        assert incident.fired_at - incident.starts == 120
        assert send(receiver.url, json.dumps(post("resolved")).encode())[0] == 200
        (incident,) = receiver.incidents()
        assert incident.ends == incident.starts + 3600


def test_a_repeated_post_adds_nothing_and_an_escalation_changes_the_severity() -> None:
    labels = {"alertname": "StreamAnomaly", "stream": "host-001"}
    escalated = post(labels={**labels, "severity": "critical"})
    with Receiver() as receiver:
        receiver.accept(body())
        receiver.accept(body())
        receiver.accept(json.dumps(escalated).encode())
        (incident,) = receiver.incidents()
    assert incident.severity == "critical"


def test_a_body_of_unknown_length_is_refused() -> None:
    with Receiver() as receiver:
        status, text = send(receiver.url, b"")
    assert status == 400
    assert "length" in text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not json", "malformed"),
        (b"{}", "version"),
        (body(version="3"), "Invalid enum value"),
        (body(status="pending"), "Invalid enum value"),
        (body(alerts=[]), "empty"),
        (
            json.dumps(post(labels={"alertname": "x"})).encode(),
            "no label severity, stream",
        ),
        (json.dumps(post(startsAt="2026-01-05T10:00:00")).encode(), "no zone"),
        (json.dumps(post(startsAt="yesterday")).encode(), "RFC3339"),
        (
            json.dumps(post("resolved", endsAt="2026-01-05T09:00:00Z")).encode(),
            "ends before",
        ),
    ],
)
def test_another_body_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(content)
    with Receiver() as receiver:
        status, text = send(receiver.url, content)
        assert status == 400
        assert why in text
        assert receiver.incidents() == []
        assert len(receiver.refused()) == 1
