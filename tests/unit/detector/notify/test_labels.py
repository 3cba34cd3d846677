"""Configured labels are the same wherever an alert is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from detector.alerting.policy import AlertTuning
from detector.dead_letters.file import DeadLetterFile
from detector.history.incident_log import IncidentLog
from detector.names import bounded_tags
from detector.notify.labels import Labelling, tag_labels
from detector.notify.payload import OutgoingPost, alert_body, body
from detector.notify.routes import Route
from detector.pipeline.build import alert_composer
from detector.settings.alerting import AlertingSettings
from tests.fakes import fake_bundle
from tests.unit.detector.notify.alerts import fired

ALERT = fired("eu/host-1")
ALERTING = AlertingSettings(
    labels={"team": "core"}, stream_labels=r"(?P<cluster>[^/]+)/.*"
)
LABELLED = ALERTING.labelling()
LABELS = {
    "alertname": "StreamAnomaly",
    "severity": "warning",
    "stream": "eu/host-1",
    "team": "core",
    "cluster": "eu",
}


def test_an_alert_has_its_own_the_fixed_and_its_streams_labels() -> None:
    assert LABELLED(ALERT) == LABELS


def test_a_stream_that_does_not_match_as_a_whole_gives_no_labels() -> None:
    assert "cluster" not in LABELLED(replace(ALERT, stream="nowhere"))
    partly = Labelling(stream=re.compile("(?P<cluster>eu)"))
    assert "cluster" not in partly(ALERT)


def test_a_group_that_took_no_part_in_the_match_gives_no_label() -> None:
    optional = Labelling(stream=re.compile("(?P<site>[0-9]+)?.*"))
    assert "site" not in optional(ALERT)


@pytest.mark.parametrize("name", ["alertname", "severity", "stream"])
def test_no_fixed_label_replaces_an_alerts_own(name: str) -> None:
    assert Labelling({name: "x"})(ALERT)[name] != "x"


def test_the_webhook_has_them() -> None:
    post = OutgoingPost("hook", "{}:{}", {}, (ALERT,), "key")
    assert body(post, LABELLED).commonLabels == LABELS


def test_the_api_has_them(tmp_path: Path) -> None:
    composer = alert_composer(fake_bundle(tmp_path), AlertTuning())
    log = IncidentLog(LABELLED, composer)
    log.alerted(ALERT)
    assert [entry.labels for entry in log.alerts().firing] == [LABELS]


def test_dead_letters_have_them(tmp_path: Path) -> None:
    path = tmp_path / "dead-letters.ndjson"
    letters = DeadLetterFile(path, 1 << 20, LABELLED)
    letters.notification(ALERT, "refused", "hook")
    letters.close()
    assert json.loads(path.read_text())["alert"]["labels"] == LABELS


def test_a_fingerprint_does_not_depend_on_them() -> None:
    plain = alert_body(ALERT, Labelling())
    assert alert_body(ALERT, LABELLED).fingerprint == plain.fingerprint


TAGGED = replace(
    ALERT,
    tags={
        "k8s.pod": "web-1",
        "team": "other",
        "cluster": "other",
        "severity": "critical",
        "region": "north",
    },
)


def test_tags_are_labels_and_every_other_label_wins_over_them() -> None:
    assert LABELLED(TAGGED) == {**LABELS, "k8s_pod": "web-1", "region": "north"}


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("k8s.pod", "k8s_pod"),
        ("__name__", "_name__"),
        ("1st", "_1st"),
        ("größe", "gr__e"),
        ("a b\n", "a_b_"),
        ("", "_"),
    ],
)
def test_a_tag_gets_a_name_that_prometheus_takes(tag: str, label: str) -> None:
    assert tag_labels({tag: "x"}) == {label: "x"}


def test_of_tags_that_become_one_label_the_first_counts() -> None:
    assert tag_labels({"a.b": "1", "a-b": "2", "a_b": "3"}) == {"a_b": "2"}


def test_an_empty_tag_is_no_label() -> None:
    assert tag_labels({"rack": ""}) == {}


def test_a_tags_value_stays_text_in_the_posted_body() -> None:
    hostile = '"}], {{ .Labels }} <script>'
    alert = replace(ALERT, tags=bounded_tags({"note": hostile + "\x00\x1b"}))
    post = OutgoingPost("hook", "{}:{}", {}, (alert,), "key")
    sent = json.loads(msgspec.json.encode(body(post, LABELLED)))
    assert sent["alerts"][0]["labels"]["note"] == hostile + "%00%1B"


def test_a_route_matches_by_a_tag() -> None:
    route = Route("pager", label_patterns={"region": re.compile("north")})
    assert route.matches(LABELLED(TAGGED))
    assert not route.matches(LABELLED(ALERT))
