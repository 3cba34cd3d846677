"""What would be rejected again is found as the daemon would find it."""

from __future__ import annotations

import json

import pytest

from detector.cli.main import main
from detector.cli.redrive import Trial
from detector.dead_letters.letter import Letter
from detector.errors import RejectReason
from detector.events import Partition
from detector.settings.load import Settings, load

AT = 1_700_000_000  # epoch seconds


def letter(value: bytes, stamp: int | None = AT * 1000) -> Letter:
    return Letter(
        Partition("metrics", 0),
        7,
        "malformed",
        "",
        key=b"k",
        value=value,
        timestamp=stamp,
    )


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in given.items():
        monkeypatch.setenv(f"DETECTOR_{name}", value)
    return load(None)


@pytest.mark.parametrize("stamp", [AT * 1000, None])
def test_a_record_whose_cause_is_gone_has_no_fault(
    monkeypatch: pytest.MonkeyPatch, stamp: int | None
) -> None:
    value = json.dumps({"ts": AT, "cpu": 1}).encode()
    trial = Trial(settings(monkeypatch))
    assert trial.fault(letter(value, stamp)) is None
    other = Trial(settings(monkeypatch, KAFKA__FORMAT="influx"))
    assert other.fault(letter(value, stamp)) == RejectReason.MALFORMED.value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"one", "malformed"),
        (b'{"ts": "31.12.2025", "cpu": 1}', "timestamp"),
        (json.dumps({"ts": AT + 7200, "cpu": 1}).encode(), "future"),
    ],
)
def test_a_cause_that_lasts_is_named(
    monkeypatch: pytest.MonkeyPatch, value: bytes, reason: str
) -> None:
    assert Trial(settings(monkeypatch)).fault(letter(value)) == reason


def test_a_reason_that_nobody_knows_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["redrive", "--reason", "broken"]) == 2
    said = capsys.readouterr().err
    assert all(reason.value in said for reason in RejectReason)
