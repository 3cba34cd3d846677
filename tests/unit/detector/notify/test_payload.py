"""One incident is one alert: what names it never changes, what describes it may."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from detector.events import Alert, FeatureDeviation, Partition, Reason, Severity
from detector.notify.labels import Labelling
from detector.notify.payload import (
    OutgoingPost,
    alert_body,
    body,
    fingerprint,
    idempotency_key,
    post_key,
)
from detector.notify.routes import Routing
from tests.unit.detector.notify.alerts import fired

LABELLING = Labelling()
DEVIATIONS = (
    FeatureDeviation("cpu", "%", 97.0, 31.0, 0.8),
    FeatureDeviation("mem", "", 5.0, 4.0, 0.2),
    FeatureDeviation("net", "B", 1.0, 1.0, 0.0),
)
FIRING = replace(fired("host-1", starts=1.7e9), at=1.7e9 + 60, deviations=DEVIATIONS)
RESOLVED = replace(FIRING, reason=Reason.RECOVERED, ends_at=1.7e9 + 600)


def alone(alert: Alert) -> OutgoingPost:
    (target,) = Routing(["hook"]).targets(alert)
    return OutgoingPost(
        "hook",
        target.group.key,
        dict(target.group.labels),
        (alert,),
        idempotency_key(alert),
    )


def test_severity_status_and_partition_do_not_change_a_fingerprint() -> None:
    same_incident = (
        FIRING,
        RESOLVED,
        replace(FIRING, severity=Severity.CRITICAL),
        replace(FIRING, partition=Partition("m", 9)),
    )
    names = {alert_body(alert, LABELLING).fingerprint for alert in same_incident}
    assert names == {fingerprint("host-1")}
    assert fingerprint("host-2") not in names
    assert len(fingerprint("host-1")) == 16


def test_an_idempotency_key_names_one_notification() -> None:
    different = [
        FIRING,
        RESOLVED,
        replace(FIRING, reason=Reason.ESCALATED),
        replace(FIRING, stream="host-2"),
        replace(FIRING, starts_at=1.7e9 + 0.001),
    ]
    assert len({idempotency_key(alert) for alert in different}) == len(different)
    same = replace(FIRING, score=99.0, at=1.8e9, deviations=())
    assert idempotency_key(same) == idempotency_key(FIRING)


RETURNED = replace(FIRING, reason=Reason.RETURNED, repeats=5, repeats_since=1.7e9)


def test_each_return_of_an_incident_is_a_notification_of_its_own() -> None:
    later = replace(RETURNED, at=RETURNED.at + 600)
    assert idempotency_key(RETURNED) != idempotency_key(later)
    assert idempotency_key(later) == idempotency_key(replace(later, score=99.0))


def test_a_repeated_incident_says_how_often_it_came() -> None:
    notes = alert_body(RETURNED, LABELLING).annotations
    assert notes["repeats"] == "5 times since 2023-11-14T22:13:20Z"
    assert notes["repeats"] in notes["summary"]
    assert "repeats" not in alert_body(FIRING, LABELLING).annotations
    resolved = replace(RESOLVED, repeats=2, repeats_since=1.7e9)
    assert alert_body(resolved, LABELLING).annotations["repeats"].startswith("2 times")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.RECOVERED, "its own recent past again"),
        (Reason.ACCEPTED, "the new normal"),
        (Reason.ENDED, "score is back to normal"),
        (Reason.EXPIRED, "no longer reported"),
    ],
)
def test_each_end_has_its_own_words(reason: Reason, words: str) -> None:
    body = alert_body(replace(RESOLVED, reason=reason), LABELLING)
    assert words in body.annotations["summary"]


def test_a_resolved_incident_says_how_long_it_lasted() -> None:
    resolved = alert_body(RESOLVED, LABELLING).annotations
    assert resolved["duration"] == "10 min"
    assert "It lasted 10 min." in resolved["description"]
    assert "duration" not in alert_body(FIRING, LABELLING).annotations


@pytest.mark.parametrize(
    ("alert", "status", "end"),
    [
        (FIRING, "firing", "0001-01-01T00:00:00Z"),
        (RESOLVED, "resolved", "2023-11-14T22:23:20.000Z"),
    ],
)
def test_firing_has_no_end_and_resolved_has_one(
    alert: Alert, status: str, end: str
) -> None:
    body = alert_body(alert, LABELLING)
    assert (body.status, body.endsAt) == (status, end)


def test_annotations_hold_observed_and_expected_values_of_contributors() -> None:
    notes = alert_body(FIRING, LABELLING).annotations
    assert notes["observed"] == "cpu=97 mem=5"
    assert notes["expected"] == "cpu=31 mem=4"
    assert notes["contributions"] == "cpu=0.8 mem=0.2"
    assert "cpu 97 % (expected 31 %)" in notes["description"]
    assert (notes["reason"], notes["score"], notes["threshold"]) == ("fired", "7", "6")


@pytest.mark.parametrize(
    "stream", ['a"b', "back\\slash", "Zürich 🌊", "a\nb", "{}", "<script>"]
)
def test_any_stream_name_arrives_as_it_is(stream: str) -> None:
    sent = msgspec.json.decode(
        msgspec.json.encode(body(alone(replace(FIRING, stream=stream)), LABELLING))
    )
    assert sent["alerts"][0]["labels"]["stream"] == stream
    assert sent["groupLabels"]["stream"] == stream
    assert sent["groupKey"].endswith(
        f"stream={msgspec.json.encode(stream).decode()}" + "}"
    )


def test_a_post_fires_while_one_of_its_alerts_does_and_has_what_they_share() -> None:
    other = replace(RESOLVED, stream="host-2")
    post = OutgoingPost("hook", "{}:{}", {"cluster": "eu"}, (FIRING, other), "key")
    made = body(post, Labelling({"cluster": "eu"}), "http://us")
    assert (made.receiver, made.status, made.groupLabels) == (
        "hook",
        "firing",
        {"cluster": "eu"},
    )
    assert [(a.status, a.labels["stream"]) for a in made.alerts] == [
        ("firing", "host-1"),
        ("resolved", "host-2"),
    ]
    assert made.commonLabels == {
        "alertname": "StreamAnomaly",
        "severity": "warning",
        "cluster": "eu",
    }
    assert {"score", "threshold", "at"} <= made.commonAnnotations.keys()
    assert "summary" not in made.commonAnnotations
    assert body(replace(post, alerts=(RESOLVED, other)), LABELLING).status == "resolved"


def test_a_posts_key_is_that_of_its_only_alert_or_one_of_all_in_order() -> None:
    keys = [idempotency_key(FIRING), idempotency_key(RESOLVED)]
    assert post_key(keys[:1]) == keys[0]
    assert post_key(keys) == post_key(list(keys))
    assert len({post_key(keys), post_key(keys[::-1]), *keys}) == 4
