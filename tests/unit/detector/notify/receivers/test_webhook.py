"""The webhook kind: Alertmanager's body at one address."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from detector.events import Alert, FeatureDeviation, Reason
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost, idempotency_key, post_key
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.webhook import WebhookSettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.alerts import fired

# Two posts of Alertmanager itself: firing and resolved.
EXAMPLES = json.loads((Path(__file__).parent / "data/webhook-v4.json").read_text())
FIRING = replace(
    fired("host-1", starts=1_700_000_000.5),
    at=1_700_000_060.0,
    deviations=(FeatureDeviation("cpu", "%", 97.0, 31.0, 0.8),),
)
RESOLVED = replace(
    FIRING,
    reason=Reason.RECOVERED,
    ends_at=1_700_000_600.0,
    at=1_700_000_600.0,
    score=1.0,
)


def posted(server: HTTPServer, *alerts: Alert) -> dict[str, object]:
    """The body that a receiver gets."""
    server.expect_request("/hook").respond_with_data()
    context = ReceiverContext(Labelling({"team": "core"}), "http://us", FakeClock())
    settings = WebhookSettings(name="hook", url=SecretStr(server.url_for("/hook")))
    key = post_key([idempotency_key(alert) for alert in alerts])
    post = OutgoingPost("hook", "{}:{}", {}, alerts, key)
    settings.receiver(context).deliver(post)
    request, _ = server.log[0]
    assert request.headers["Idempotency-Key"] == key
    return dict(json.loads(request.data))


def assert_same_shape(ours: object, theirs: object) -> None:
    """Same keys and types all the way down; labels and annotations may differ."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if "status" in theirs:
            assert set(ours) == set(theirs)
        for key in set(theirs) & set(ours):
            assert_same_shape(ours[key], theirs[key])
    if isinstance(theirs, list) and isinstance(ours, list):
        assert_same_shape(ours[0], theirs[0])


@pytest.mark.parametrize(
    ("alert", "example"),
    [(FIRING, EXAMPLES[0]), (RESOLVED, EXAMPLES[1])],
    ids=["firing", "resolved"],
)
def test_the_body_has_alertmanagers_shape(
    httpserver: HTTPServer, alert: Alert, example: object
) -> None:
    assert_same_shape(posted(httpserver, alert), example)


def test_times_are_event_time_and_the_labels_are_there(httpserver: HTTPServer) -> None:
    body = posted(httpserver, RESOLVED)
    assert isinstance(body["alerts"], list)
    (entry,) = body["alerts"]
    assert entry["startsAt"] == "2023-11-14T22:13:20.500Z"
    assert entry["endsAt"] == "2023-11-14T22:23:20.000Z"
    assert entry["generatorURL"] == "http://us"
    assert entry["labels"] == {
        "alertname": "StreamAnomaly",
        "severity": "warning",
        "stream": "host-1",
        "team": "core",
    }
