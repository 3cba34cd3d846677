"""Receivers that can't be reached, each with its own sentence."""

from __future__ import annotations

import json

import pytest

from detector.cli.checks.receivers import receiver_faults
from detector.settings.load import load
from tests.unit.detector.cli.checks.listeners import (
    CERTIFICATE,
    closed_port,
    listening,
    tls_context,
)


def faults(monkeypatch: pytest.MonkeyPatch, url: str, **settings: str) -> list[str]:
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", url)
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_ALERTING__WEBHOOK_{name}", value)
    return list(receiver_faults(load()))


def test_a_receiver_that_accepts_a_connection_is_not_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening() as port:
        assert faults(monkeypatch, f"http://127.0.0.1:{port}/t0ken") == []


def test_no_receiver_is_not_a_fault() -> None:
    assert list(receiver_faults(load())) == []


def test_a_closed_port_is_named_without_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = closed_port()
    (fault,) = faults(monkeypatch, f"http://127.0.0.1:{port}/t0ken")
    assert f"receiver streamwarden: 127.0.0.1:{port} refuses connections" in fault
    assert "t0ken" not in fault


def test_each_alertmanager_of_a_cluster_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = closed_port()
    with listening() as open_port:
        urls = [f"http://127.0.0.1:{number}" for number in (open_port, port)]
        cluster = {"name": "am", "kind": "alertmanager", "url": urls}
        monkeypatch.setenv("DETECTOR_ALERTING__RECEIVERS", json.dumps([cluster]))
        (fault,) = receiver_faults(load())
    assert f"receiver am: 127.0.0.1:{port} refuses connections" in fault


def test_a_name_that_does_not_resolve_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = faults(monkeypatch, "http://receiver.invalid/t0ken")
    assert fault.startswith("receiver streamwarden: receiver.invalid does not resolve")


def test_a_certificate_that_is_not_trusted_is_named_and_one_that_is_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening(tls_context()) as port:
        url = f"https://127.0.0.1:{port}/"
        (fault,) = faults(monkeypatch, url)
        assert "has no trusted certificate (self-signed certificate)" in fault
        assert faults(monkeypatch, url, TLS_CA=str(CERTIFICATE)) == []


def test_a_receiver_without_tls_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as port:
        (fault,) = faults(monkeypatch, f"https://127.0.0.1:{port}/")
    assert f"127.0.0.1:{port} does not speak TLS" in fault


def test_a_ca_file_that_does_not_exist_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = faults(monkeypatch, "https://127.0.0.1:9/", TLS_CA="/no/ca.pem")
    assert "/no/ca.pem can't be used for TLS" in fault


def test_a_ca_file_is_read_although_no_address_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = faults(monkeypatch, "http://127.0.0.1:9/", TLS_CA="/no/ca.pem")
    assert "/no/ca.pem can't be used for TLS" in fault
