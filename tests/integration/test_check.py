"""``detector check`` against a real broker: silence and 0 where the daemon would run, a
sentence and 2 where it would not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from detector.cli.main import main
from tests.fakes import write_bundle

SECRETS = {
    "ALERTING__WEBHOOK_URL": "https://hooks.example/services/t0ken-in-path",
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
) -> Check:
    """Runs it as configured for this test's topic, but for what is given; status,
    output and errors.
    """
    common: Mapping[str, str] = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": topic,
        "MODEL__BUNDLE": str(bundle),
        "RECOVERY__STORE": f"local:{tmp_path / 'state'}",
    }

    def run(**settings: str) -> tuple[int, str, str]:
        for name in [n for n in os.environ if n.startswith("DETECTOR_")]:
            monkeypatch.delenv(name)
        for name, value in {**common, **SECRETS, **settings}.items():
            monkeypatch.setenv(f"DETECTOR_{name}", value)
        status = main(["check"])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_all_is_well(check: Check, topic: str, broker: Broker) -> None:
    status, out, err = check()
    assert (status, err) == (0, "")
    assert f"DETECTOR_KAFKA__TOPICS={topic}\n" in out
    assert f"DETECTOR_KAFKA__BOOTSTRAP_SERVERS={broker.bootstrap}\n" in out
    assert "configuration OK" in out


def test_the_zone_in_force_is_shown_wherever_it_comes_from(
    check: Check, bundle: Path
) -> None:
    assert "wall clocks: UTC, the zone of the bundle\n" in check()[1]
    write_bundle(bundle, timezone="Asia/Kolkata")
    assert "wall clocks: Asia/Kolkata, the zone of the bundle\n" in check()[1]
    assert "wall clocks: Europe/Berlin\n" in check(MODEL__TIMEZONE="Europe/Berlin")[1]


def test_a_pattern_of_topics_is_no_fault(check: Check) -> None:
    assert check(KAFKA__TOPICS="^metrics-.*")[0] == 0


def test_no_secret_is_shown_whatever_is_wrong(check: Check) -> None:
    for settings in (
        {},
        {"KAFKA__TOPICS": "nowhere"},
        {"ALERTING__WEBHOOK_URL": "ftp://hooks.example/t0ken-in-path"},
    ):
        _, out, err = check(**settings)
        for secret in ("t0ken-in-path", *SECRETS.values()):
            assert secret not in out + err
    assert check()[1].count("=********\n") == len(SECRETS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"KAFKA__TOPICS": "nowhere"}, "topic nowhere does not exist"),
        ({"KAFKA__TOPICS": ""}, "DETECTOR_KAFKA__TOPICS is not set"),
        ({"KAFKA__TOPIC": "x"}, "no such setting: DETECTOR_KAFKA__TOPIC"),
        ({"MODEL__BUNDLE": "/nowhere"}, "/nowhere"),
        (
            {"MODEL__TIMEZONE": "Mars/Olympus"},
            "DETECTOR_MODEL__TIMEZONE: 'Mars/Olympus' is no time zone",
        ),
        (
            {"RECOVERY__STORE": "local:/dev/null/state"},
            "state can't be kept in /dev/null/state",
        ),
        (
            {"ALERTING__FALSE_ALARMS_PER_WEEK": "none"},
            "DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK",
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


def test_a_broker_that_does_not_answer_is_a_sentence_too(
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
