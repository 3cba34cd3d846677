"""Secrets come from files too, and are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.settings.load import load, names_and_values


def test_a_secret_may_come_from_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret")
    )
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    settings = load()
    assert settings.alerting.webhook_secret is not None
    assert settings.alerting.webhook_secret.get_secret_value() == "hunter2"
    shown = repr(settings) + str(dict(names_and_values(settings)))
    assert "hunter2" not in shown
    assert "token-9" not in shown


def test_credentials_come_from_files_and_are_masked_in_every_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_BEARER_TOKEN_FILE", str(tmp_path / "token")
    )
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_HEADERS", '{"X-Scope": "sc0pe"}')
    settings = load()
    receiver = settings.alerting.webhook()
    assert receiver is not None
    assert receiver.sent_headers() == {
        "Authorization": "Bearer t0ken",
        "X-Scope": "sc0pe",
    }
    shown = repr(settings) + repr(receiver) + str(dict(names_and_values(settings)))
    assert not any(secret in shown for secret in ("token-9", "t0ken", "sc0pe"))


def test_a_table_of_secrets_comes_from_a_file_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headers").write_text('{"X-Scope": "sc0pe"}')
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/")
    variable = "DETECTOR_ALERTING__WEBHOOK_HEADERS_FILE"
    monkeypatch.setenv(variable, str(tmp_path / "headers"))
    settings = load()
    assert settings.alerting.webhook_headers["X-Scope"].get_secret_value() == "sc0pe"
    (tmp_path / "headers").write_text("X-Scope: sc0pe")
    with pytest.raises(
        ConfigError, match=rf"{variable}: .* \(it is not JSON\)"
    ) as caught:
        load()
    assert "sc0pe" not in str(caught.value)


def test_receivers_come_from_a_file_since_they_hold_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "receivers").write_text('[{"name": "pager", "url": "http://p/t0ken"}]')
    monkeypatch.setenv("DETECTOR_ALERTING__RECEIVERS_FILE", f"{tmp_path}/receivers")
    (receiver,) = load().alerting.destinations()
    assert (receiver.name, receiver.host) == ("pager", "p")


def test_a_secret_given_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_SECRET", "y")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret")
    )
    with pytest.raises(ConfigError, match="both set"):
        load()
