"""Configured labels are the same wherever an alert is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from detector.alerting.policy import AlertTuning
from detector.dead_letters.file import DeadLetterFile
from detector.history.incident_log import IncidentLog
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost, alert_body, body
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
    letters.notification(ALERT, "refused")
    letters.close()
    assert json.loads(path.read_text())["alert"]["labels"] == LABELS


def test_a_fingerprint_does_not_depend_on_them() -> None:
    plain = alert_body(ALERT, Labelling())
    assert alert_body(ALERT, LABELLED).fingerprint == plain.fingerprint
