"""What ``check`` finds out about a broker without one: sockets stand in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detector.cli.checks.broker import broker_faults
from detector.settings.load import load
from tests.unit.detector.cli.checks.listeners import (
    CERTIFICATE,
    closed_port,
    listening,
    tls_context,
)

Faults = Callable[..., list[str]]
LOGIN = {
    "SASL_MECHANISM": "PLAIN",
    "SASL_PLAIN_USERNAME": "alice",
    "SASL_PLAIN_PASSWORD": "pa55",
}


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    def found(*servers: str | int, **settings: str) -> list[str]:
        named = [s if isinstance(s, str) else f"127.0.0.1:{s}" for s in servers]
        given = {"TOPICS": "metrics", "BOOTSTRAP_SERVERS": ",".join(named)}
        for name, value in (given | settings).items():
            monkeypatch.setenv(f"DETECTOR_KAFKA__{name}", value)
        return list(broker_faults(load()))

    return found


def test_no_topics_is_the_first_fault(faults: Faults) -> None:
    (fault,) = faults(9, TOPICS="")
    assert fault.startswith("DETECTOR_KAFKA__TOPICS is not set")


def test_a_server_that_refuses_is_named_with_what_to_start(faults: Faults) -> None:
    port = closed_port()
    (fault,) = faults(port)
    assert fault.startswith(f"no broker answers at 127.0.0.1:{port}, which refuses")


def test_every_server_that_fails_is_named(faults: Faults) -> None:
    (fault,) = faults("broker.invalid:9092", closed_port())
    assert "broker.invalid:9092 does not resolve" in fault
    assert "no broker answers at 127.0.0.1" in fault


@pytest.mark.parametrize("file", ["SSL_CAFILE", "SSL_CERTFILE"])
def test_a_tls_file_that_does_not_exist_is_named(faults: Faults, file: str) -> None:
    (fault,) = faults(9, SECURITY_PROTOCOL="SSL", **{file: "/no/file.pem"})
    assert fault.startswith(f"DETECTOR_KAFKA__{file}: /no/file.pem can't be read (No")


def test_a_tls_file_that_is_not_pem_is_named(faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    (fault,) = faults(9, SECURITY_PROTOCOL="SSL", SSL_CAFILE=f"{tmp_path}/ca.pem")
    assert f"{tmp_path}/ca.pem can't be used for TLS" in fault


def test_a_broker_whose_certificate_is_not_trusted_is_named(faults: Faults) -> None:
    with listening(tls_context()) as port:
        (fault,) = faults(port, SECURITY_PROTOCOL="SSL")
    assert "has no trusted certificate (self-signed certificate)" in fault
    assert fault.endswith("set DETECTOR_KAFKA__SSL_CAFILE")


@pytest.mark.parametrize(
    ("protocol", "wanted"), [("PLAINTEXT", "SSL"), ("SASL_PLAINTEXT", "SASL_SSL")]
)
def test_a_broker_that_speaks_tls_unexpectedly_is_named(
    faults: Faults, protocol: str, wanted: str
) -> None:
    with listening(tls_context()) as port:
        (fault,) = faults(port, SECURITY_PROTOCOL=protocol, **LOGIN)
    assert fault == (
        f"127.0.0.1:{port} speaks TLS: set DETECTOR_KAFKA__SECURITY_PROTOCOL to {wanted}"
    )


def test_a_server_that_is_not_a_broker_is_named(faults: Faults) -> None:
    with listening() as port:
        (fault,) = faults(port, SECURITY_PROTOCOL="SASL_PLAINTEXT", **LOGIN)
    assert f"127.0.0.1:{port} accepts connections but does not answer as" in fault


def test_a_trusted_certificate_leads_on_to_the_login(faults: Faults) -> None:
    with listening(tls_context()) as port:
        tls = {"SECURITY_PROTOCOL": "SASL_SSL", "SSL_CAFILE": str(CERTIFICATE)}
        (fault,) = faults(port, **tls, **LOGIN)
    assert "does not answer as a broker" in fault
