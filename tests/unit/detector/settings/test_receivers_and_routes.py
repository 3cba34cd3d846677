"""Receivers and routes as a file gives them, with the place of each fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.events import Severity
from detector.notify.receivers.http_settings import HttpSettings
from detector.settings.load import load, names_and_values
from tests.unit.detector.notify.alerts import fired
from tests.unit.detector.settings.files import RECEIVERS, ROUTES, written


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"USER": "u"},
            "DETECTOR_ALERTING__WEBHOOK_USER and DETECTOR_ALERTING__WEBHOOK_PASSWORD"
            " are set together",
        ),
        (
            {"USER": "u", "PASSWORD": "p4ss", "BEARER_TOKEN": "t0ken"},
            "give one of DETECTOR_ALERTING__WEBHOOK_BEARER_TOKEN",
        ),
        ({"BEARER_TOKEN": "t0ken\nX: y"}, "cannot be sent in a header"),
        ({"HEADERS": '{"a b": "x"}'}, "is not the name of a header"),
        ({"HEADERS": '{"idempotency-key": "x"}'}, "set by the daemon itself"),
        ({"TLS_KEY": "/k"}, "without DETECTOR_ALERTING__WEBHOOK_TLS_CERTIFICATE"),
    ],
)
def test_a_receiver_that_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_ALERTING__WEBHOOK_{name}", value)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load()
    assert not any(
        secret in str(caught.value) for secret in ("token-9", "p4ss", "t0ken")
    )


def test_receivers_and_routes_come_from_the_file_without_showing_a_secret(
    tmp_path: Path,
) -> None:
    settings = load(written(tmp_path, RECEIVERS + ROUTES))
    pager, desk = settings.alerting.destinations()
    assert isinstance(pager, HttpSettings)
    assert (pager.host, pager.sent_headers()["Authorization"], desk.name) == (
        "pager",
        "Bearer t0ken",
        "desk",
    )
    alert = replace(fired("eu/host-1"), severity=Severity.CRITICAL)
    routing = settings.alerting.routing()
    assert [
        (t.receiver, t.repeat_interval, t.wait, dict(t.group.labels))
        for t in routing.targets(alert)
    ] == [
        ("pager", 3600, 0, {"alertname": "StreamAnomaly", "stream": "eu/host-1"}),
        ("desk", 0, 30, {"cluster": "eu"}),
    ]
    shown = repr(settings) + str(dict(names_and_values(settings)))
    assert not any(secret in shown for secret in ("token-9", "t0ken", "sc0pe"))
    assert "name: pager" in shown


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'receiver = "pager"',
            'receiver = "nobody"',
            r"^alerting\.routes in .*s\.toml: route 1: no receiver is called nobody;"
            r" there are: desk, pager",
        ),
        (
            '"eu|us"',
            '"(eu"',
            r"^alerting\.routes in .*s\.toml, route 1 \(receiver pager\), match_regex:"
            r" cluster: '\(eu' is not a regular",
        ),
        (
            '"critical"',
            '"loud"',
            r"s\.toml, route 1 \(receiver pager\), severity: 'loud' is not a severity",
        ),
        (
            '["cluster"]',
            '["clustr"]',
            r"route 2 \(receiver desk\): no label is called clustr; is it cluster\?",
        ),
        ("group_wait = 30", 'severity = "warning"', "the last one has conditions"),
        (
            "group_wait = 30",
            "group_weight = 30",
            r"no such setting: alerting\.routes in .*, route 2 \(receiver desk\), group_w",
        ),
        ('name = "desk"', 'name = "pager"', "two receivers are called pager"),
        ('"(?P<cluster>[^/]+)/.*"', '"[^/]+/.*"', "no named group"),
        (
            'team = "core"}\nstream',
            'severity = "core"}\nstream',
            "'severity' cannot be a label",
        ),
        (
            "http://desk/",
            "desk/token-9",
            r"^alerting\.receivers in .*s\.toml, receiver 2 \(desk\), url: it is not a http",
        ),
        (
            'url = "http://desk/"',
            'url_file = "/no/such"',
            r"s\.toml, receiver 2 \(desk\): url_file: /no/such can't be read",
        ),
        (
            'url = "http://desk/"',
            'url = "http://desk/"\nuser = "u"',
            r"s\.toml, receiver 2 \(desk\): user and password are set together",
        ),
        (
            'receiver = "desk"',
            'receiver = ""',
            "none leads to receiver desk: add a route for it, or remove it",
        ),
    ],
)
def test_a_fault_in_receivers_or_routes_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in RECEIVERS + ROUTES
    with pytest.raises(ConfigError, match=sentence) as caught:
        load(written(tmp_path, (RECEIVERS + ROUTES).replace(old, new)))
    assert "token-9" not in str(caught.value)
