"""Environment over TOML over defaults; every fault names its setting; secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config import load, names_and_values
from detector.errors import ConfigError


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[kafka]\ntopics = ["a"]\ngroup_id = "from-file"\n[recovery]\ninterval = 5\n')
    monkeypatch.setenv("DETECTOR_KAFKA__TOPICS", "b, c")
    settings = load(file)
    assert settings.kafka.topics == ("b", "c")
    assert settings.kafka.group_id == "from-file"
    assert settings.recovery.interval == 5
    assert settings.web.listen == "127.0.0.1:8080"


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    settings = load()
    assert settings.alerting.webhook_secret is not None
    assert settings.alerting.webhook_secret.get_secret_value() == "hunter2"
    shown = repr(settings) + str(dict(names_and_values(settings)))
    assert "hunter2" not in shown
    assert "token-9" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DETECTOR_WEB__LISTEN", "nowhere"),
        ("DETECTOR_ALERTING__WEBHOOK_URL", "ftp://x"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "-1"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "nan"),
        ("DETECTOR_RECOVERY__STORE", "s3:bucket"),
        ("DETECTOR_KAFKA__TOPICS", "^(a"),
        ("DETECTOR_KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
        ("DETECTOR_KAFKA__TOPIC", "misspelt"),
        ("DETECTOR_KAFKA__SASL_PLAIN_PASSWORD_FILE", "/no/such/file"),
    ],
)
def test_a_faulty_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name if "PROTOCOL" not in name else "sasl_mechanism"):
        load()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"USER": "u"}, "user and password are set together"),
        ({"USER": "u", "PASSWORD": "p4ss", "BEARER_TOKEN": "t0ken"}, "give one of bearer_token"),
        ({"BEARER_TOKEN": "t0ken\nX: y"}, "what a header can't carry"),
        ({"HEADERS": '{"a b": "x"}'}, "no name of a header"),
        ({"HEADERS": '{"idempotency-key": "x"}'}, "set by the daemon itself"),
        ({"TLS_KEY": "/k"}, "without tls_certificate"),
    ],
)
def test_a_receiver_that_contradicts_itself_is_refused(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_ALERTING__WEBHOOK_{name}", value)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load()
    assert not any(secret in str(caught.value) for secret in ("token-9", "p4ss", "t0ken"))


def test_authorisation_comes_from_files_and_is_masked_to_the_last_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_BEARER_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_HEADERS", '{"X-Scope": "sc0pe"}')
    settings = load()
    receiver = settings.alerting.webhook()
    assert receiver is not None
    assert receiver.sent_headers() == {"Authorization": "Bearer t0ken", "X-Scope": "sc0pe"}
    shown = repr(settings) + repr(receiver) + str(dict(names_and_values(settings)))
    assert not any(secret in shown for secret in ("token-9", "t0ken", "sc0pe"))


def test_a_secret_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_SECRET", "y")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigError, match="both set"):
        load()


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[kafka")
    with pytest.raises(ConfigError, match=r"s\.toml"):
        load(tmp_path / "s.toml")
