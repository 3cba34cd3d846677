"""Receivers by kind, the ``webhook_`` settings, and what routing follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from detector.errors import ConfigError
from detector.notify.receivers.alertmanager import AlertmanagerSettings
from detector.notify.receivers.webhook import WebhookSettings
from detector.settings.alerting import AlertingSettings
from tests.unit.detector.notify.alerts import fired

WEBHOOK = {"name": "hook", "url": "http://hook/token"}
MANAGER = {"name": "am", "kind": "alertmanager", "url": "http://am:9093"}


def receivers(*tables: dict[str, Any], **settings: Any) -> AlertingSettings:
    return AlertingSettings.model_validate({"receivers": tables, **settings})


def test_a_receiver_without_a_kind_is_a_webhook() -> None:
    (receiver,) = receivers(WEBHOOK).destinations()
    assert isinstance(receiver, WebhookSettings)


def test_the_kind_selects_the_settings() -> None:
    hook, manager = receivers({**WEBHOOK, "kind": "webhook"}, MANAGER).destinations()
    assert isinstance(hook, WebhookSettings)
    assert isinstance(manager, AlertmanagerSettings)
    assert manager.host == "am:9093"


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        (MANAGER | {"kind": "pager"}, (), "kind: there is no 'pager'; one of webhook,"),
        (WEBHOOK | {"lead": 60}, ("lead",), "Extra inputs"),
        (MANAGER | {"lead": 0}, ("lead",), "greater than 0"),
        (MANAGER | {"url": "am:9093"}, ("url",), "http:// or https://"),
        (MANAGER | {"url": []}, ("url",), "at least 1 item"),
        (MANAGER | {"url": "http://am/?a=b"}, ("url",), "no query"),
    ],
    ids=["kind", "other kind's", "lead", "address", "no address", "query"],
)
def test_a_fault_has_the_place_that_the_operator_wrote(
    table: dict[str, Any], place: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        receivers(WEBHOOK | {"name": "first"}, table)
    (fault,) = caught.value.errors()
    assert fault["loc"] == ("receivers", 1, *place)


@pytest.mark.parametrize(
    "url",
    [
        "http://a:9093,http://b:9093/prefix/",
        "http://a:9093\nhttp://b:9093/prefix",
        ["http://a:9093/", "http://b:9093/prefix"],
    ],
)
def test_a_cluster_has_several_addresses(url: object, tmp_path: Path) -> None:
    (receiver,) = receivers(MANAGER | {"url": url}).destinations()
    assert receiver.addresses == [
        "http://a:9093/api/v2/alerts",
        "http://b:9093/prefix/api/v2/alerts",
    ]
    assert receiver.host == "a:9093,b:9093"


@pytest.mark.parametrize("table", [WEBHOOK, MANAGER], ids=["webhook", "alertmanager"])
@pytest.mark.parametrize("name", ["url", "secret", "bearer_token", "password"])
def test_every_secret_may_be_in_a_file(
    table: dict[str, Any], name: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("http://in-file\n")
    others = {key: value for key, value in table.items() if key != name}
    user = {"user": "me"} if name == "password" else {}
    (receiver,) = receivers({**others, **user, f"{name}_file": file}).destinations()
    held = getattr(receiver, name)
    assert (held[0] if isinstance(held, tuple) else held) == SecretStr("http://in-file")
    assert "in-file" not in repr(receiver)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "http://other/"),
        ("secret", "s3cret"),
        ("bearer_token", "t0ken"),
        ("headers", {"X-Team": "core"}),
        ("tls_ca", Path("ca.pem")),
        ("tls_certificate", Path("own.pem")),
        ("tls_verify", False),
        ("timeout", 3.0),
    ],
)
def test_a_webhook_setting_is_the_receivers(name: str, value: object) -> None:
    given = {"webhook_url": "http://hook/", f"webhook_{name}": value}
    webhook = AlertingSettings.model_validate(given).webhook()
    expected = WebhookSettings.model_validate(
        {"name": "streamwarden", "url": "http://hook/", name: value}
    )
    assert webhook == expected


def test_every_setting_of_a_receiver_but_its_template_is_a_webhook_setting() -> None:
    prefix = "webhook_"
    names = {
        name.removeprefix(prefix)
        for name in AlertingSettings.model_fields
        if name.startswith(prefix)
    }
    of_the_file = {"name", "kind", "preset", "template", "template_file"}
    others = WebhookSettings.model_fields.keys() - names
    assert others == {*of_the_file, "content_type", "fields"}
    assert names <= WebhookSettings.model_fields.keys()


@pytest.mark.parametrize("url", ["streamwarden", "ftp://us"])
def test_the_external_address_is_checked(url: str) -> None:
    with pytest.raises(ValidationError, match="http:// or https:// address"):
        AlertingSettings(external_url=url)


def test_an_alertmanager_gets_what_fires_again_within_its_lead_and_in_one_post() -> (
    None
):
    settings = receivers(MANAGER | {"lead": 90}, WEBHOOK)
    manager, hook = settings.routing().targets(fired("host-1"))
    assert (manager.repeat_interval, hook.repeat_interval) == (30, 0)
    assert manager.max_alerts > hook.max_alerts == 1
    assert manager.group.labels == ()


# -- the budget of the whole fleet -----------------------------------------------------


def test_each_stream_gets_an_equal_share_of_the_fleet_s_budget() -> None:
    settings = AlertingSettings(false_alarms_per_week_total=48)
    assert settings.tuning(240).false_alarms_per_week == 0.2
    assert settings.tuning(24).false_alarms_per_week == 2


def test_a_stated_number_of_streams_counts_whatever_the_data_has() -> None:
    settings = AlertingSettings(false_alarms_per_week_total=48, fleet_streams=240)
    assert settings.stream_budget() == settings.stream_budget(3) == 0.2


def test_a_fleet_s_budget_without_a_number_of_streams_says_which_to_set() -> None:
    settings = AlertingSettings(false_alarms_per_week_total=48)
    with pytest.raises(ConfigError, match="needs DETECTOR_ALERTING__FLEET_STREAMS"):
        settings.tuning()


def test_a_share_beyond_any_stream_s_budget_is_refused() -> None:
    settings = AlertingSettings(false_alarms_per_week_total=30_003)
    with pytest.raises(ConfigError, match=r"is 10001 for each of 3 streams"):
        settings.tuning(3)
