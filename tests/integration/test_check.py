"""``check`` against a real broker: status 0 if the daemon would run, else status 2
and a sentence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from detector.cli.main import main
from tests.fakes import write_bundle
from tests.unit.detector.cli.checks.listeners import listening

TOKEN = "t0ken-in-path"
SECRETS = {
    "ALERTING__WEBHOOK_SECRET": "hmac-k3y",
    "KAFKA__SASL_PLAIN_PASSWORD": "sasl-pa55",
    "KAFKA__SSL_PASSWORD": "ssl-pa55",
}

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    broker: Broker,
    topic: str,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Check]:
    """Runs it as configured for this test's topic, but for what is given.

    Gives exit status, output and errors.
    """
    common: Mapping[str, str] = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": topic,
        "MODEL__BUNDLE": str(bundle),
        "RECOVERY__STORE": f"local:{tmp_path / 'state'}",
        "WEB__LISTEN": "127.0.0.1:0",
    }

    def run(**settings: str) -> tuple[int, str, str]:
        for name in [n for n in os.environ if n.startswith("DETECTOR_")]:
            monkeypatch.delenv(name)
        receiver = {"ALERTING__WEBHOOK_URL": f"http://127.0.0.1:{port}/{TOKEN}"}
        for name, value in {**common, **SECRETS, **receiver, **settings}.items():
            monkeypatch.setenv(f"DETECTOR_{name}", value)
        status = main(["check"])
        out, err = capsys.readouterr()
        return status, out, err

    with listening() as port:
        yield run


def test_a_configuration_that_works_is_status_0_and_creates_nothing(
    check: Check, topic: str, broker: Broker, tmp_path: Path
) -> None:
    status, out, err = check()
    assert (status, err) == (0, "")
    assert f"DETECTOR_KAFKA__TOPICS={topic}\n" in out
    assert f"DETECTOR_KAFKA__BOOTSTRAP_SERVERS={broker.bootstrap}\n" in out
    assert out.endswith("configuration OK\n")
    assert not (tmp_path / "state").exists()


def test_the_effective_time_zone_is_shown_with_its_source(
    check: Check, bundle: Path
) -> None:
    assert "wall clocks: UTC, the zone of the bundle\n" in check()[1]
    write_bundle(bundle, timezone="Asia/Kolkata")
    assert "wall clocks: Asia/Kolkata, the zone of the bundle\n" in check()[1]
    assert "wall clocks: Europe/Berlin\n" in check(MODEL__TIMEZONE="Europe/Berlin")[1]


def test_a_pattern_that_matches_a_topic_is_not_a_fault(check: Check) -> None:
    assert check(KAFKA__TOPICS="^metrics-.*")[0] == 0


def test_a_pattern_that_matches_the_topic_of_the_store_is_a_remark(
    check: Check,
) -> None:
    status, out, err = check(
        KAFKA__TOPICS="^metrics", RECOVERY__STORE="kafka:metrics-s"
    )
    assert (status, err) == (0, "")
    assert "input topics: ^metrics without metrics-s, which the daemon writes" in out


def test_no_receiver_is_a_remark_and_status_0(check: Check) -> None:
    status, out, err = check(ALERTING__WEBHOOK_URL="", ALERTING__WEBHOOK_SECRET="")
    assert (status, err) == (0, "")
    assert "receivers: none, so alerts are only logged and counted" in out


def test_no_secret_is_shown_whatever_the_fault(check: Check) -> None:
    for settings in (
        {},
        {"KAFKA__TOPICS": "nowhere"},
        {"ALERTING__WEBHOOK_URL": f"ftp://hooks.example/{TOKEN}"},
        {"ALERTING__WEBHOOK_URL": f"http://hooks.invalid/{TOKEN}"},
    ):
        _, out, err = check(**settings)
        for secret in (TOKEN, *SECRETS.values()):
            assert secret not in out + err
    assert check()[1].count("=********\n") == len(SECRETS) + 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"KAFKA__TOPICS": "nowhere"}, "topic nowhere does not exist"),
        ({"KAFKA__TOPICS": ""}, "DETECTOR_KAFKA__TOPICS is not set"),
        ({"KAFKA__TOPICS": "^nothing"}, "matches ^nothing (it has "),
        (
            {"ALERTING__WEBHOOK_URL": "http://hooks.invalid/"},
            "receiver streamwarden: hooks.invalid does not resolve",
        ),
        ({"KAFKA__FORMAT": "xml"}, "there is no format 'xml'; use one of "),
        ({"KAFKA__TOPIC": "x"}, "no such setting: DETECTOR_KAFKA__TOPIC"),
        ({"MODEL__BUNDLE": "/nowhere"}, "/nowhere"),
        (
            {"MODEL__TIMEZONE": "Mars/Olympus"},
            "DETECTOR_MODEL__TIMEZONE: 'Mars/Olympus' is not a time zone",
        ),
        (
            {"RECOVERY__STORE": "local:/dev/null/state"},
            "state can't be kept in /dev/null/state",
        ),
        (
            {"ALERTING__FALSE_ALARMS_PER_WEEK": "none"},
            "DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK",
        ),
        (
            {"ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL": "48"},
            "FALSE_ALARMS_PER_WEEK_TOTAL needs DETECTOR_ALERTING__FLEET_STREAMS",
        ),
    ],
)
def test_a_fault_is_one_sentence_and_status_2(
    check: Check, settings: dict[str, str], sentence: str
) -> None:
    status, _, err = check(**settings)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("streamwarden: ")
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("file", ["model.onnx", "streams.npz", "manifest.json"])
def test_a_damaged_bundle_is_refused_with_what_to_do(
    check: Check, bundle: Path, file: str
) -> None:
    data = bytearray((bundle / file).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (bundle / file).write_bytes(bytes(data))
    status, _, err = check()
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "again" in err


def test_every_fault_is_named_at_once(check: Check, bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    status, _, err = check(
        KAFKA__TOPICS="nowhere,nor-here", RECOVERY__STORE="local:/dev/null/state"
    )
    assert status == 2
    assert [line.startswith("streamwarden: ") for line in err.splitlines()] == [
        True
    ] * 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"SECURITY_PROTOCOL": "SSL"},
            "does not speak TLS: set DETECTOR_KAFKA__SECURITY_PROTOCOL to PLAINTEXT",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "SSL_CAFILE": "/no/ca.pem"},
            "DETECTOR_KAFKA__SSL_CAFILE: /no/ca.pem can't be read",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN"},
            "does not speak TLS: set DETECTOR_KAFKA__SECURITY_PROTOCOL to SASL_PLAIN",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN"},
            "does not use SASL: set DETECTOR_KAFKA__SECURITY_PROTOCOL to PLAINTEXT",
        ),
    ],
)
def test_security_settings_that_the_listener_does_not_have_are_named(
    check: Check, settings: dict[str, str], sentence: str
) -> None:
    user = {"SASL_PLAIN_USERNAME": "alice"} | settings
    status, _, err = check(**{f"KAFKA__{name}": v for name, v in user.items()})
    assert status == 2
    assert len(err.splitlines()) == 1
    assert sentence in err


@pytest.fixture(scope="module")
def login_broker() -> Iterator[Broker]:
    with Broker(sasl_users={"alice": "in-w0nderland"}) as broker:
        broker.create_topic("metrics")
        yield broker


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, ""),
        (
            {"SASL_PLAIN_PASSWORD": "wr0ng"},
            "refuses the login of alice (KafkaTimeoutError): correct DETECTOR_KAFKA__SASL_",
        ),
        (
            {"SASL_MECHANISM": "SCRAM-SHA-256"},
            "does not support SCRAM-SHA-256 (it offers: PLAIN)",
        ),
        (
            {"SECURITY_PROTOCOL": "PLAINTEXT"},
            "wants a login (PLAIN): set DETECTOR_KAFKA__SECURITY_PROTOCOL to SASL_",
        ),
    ],
)
def test_a_login_that_the_broker_does_not_accept_is_named(
    check: Check, login_broker: Broker, settings: dict[str, str], sentence: str
) -> None:
    login = {
        "BOOTSTRAP_SERVERS": login_broker.sasl_bootstrap,
        "TOPICS": "metrics",
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SASL_MECHANISM": "PLAIN",
        "SASL_PLAIN_USERNAME": "alice",
        "SASL_PLAIN_PASSWORD": "in-w0nderland",
    }
    status, _, err = check(**{f"KAFKA__{k}": v for k, v in (login | settings).items()})
    assert status == (2 if sentence else 0)
    assert sentence in err
    assert "w0nderland" not in err


def test_a_broker_that_does_not_answer_is_a_sentence_in_a_shell_too(
    bundle: Path, tmp_path: Path
) -> None:
    """In a process of its own, as a user runs it."""
    settings = {
        "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "DETECTOR_KAFKA__TOPICS": "metrics",
        "DETECTOR_MODEL__BUNDLE": str(bundle),
        "DETECTOR_RECOVERY__STORE": f"local:{tmp_path / 'state'}",
    }
    command = [sys.executable, "-m", "detector", "check"]
    done = subprocess.run(
        command,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "streamwarden: no broker answers at 127.0.0.1:1"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_faults_come_last_and_topics_are_looked_at_whatever_else_is_wrong(
    check: Check, topic: str
) -> None:
    status, out, err = check(WEB__LISTEN="192.0.2.1:9")
    assert status == 2
    assert f"topic {topic}: no record to look at" in out
    assert "configuration OK" not in out
    assert err.count("streamwarden: ") == 1
