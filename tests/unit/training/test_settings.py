"""Settings of the fit: a file, flags, and the daemon's own rules of alerting."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.alerting.policy import AlertTuning
from detector.errors import ConfigError
from training.settings import load

STEPS = "DETECTOR_ALERTING__BREACHING_STEPS"


def toml(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_flags_override_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path / "c.toml", "seed = 3\nsteps = 7\n")
    settings = load(path, seed=5, steps=None, allow_worse=True)
    assert (settings.seed, settings.steps, settings.allow_worse) == (5, 7, True)


def test_the_rules_are_the_daemon_s_defaults() -> None:
    assert load(None).alerting == AlertTuning()


def test_the_environment_overrides_the_file_s_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml(
        tmp_path / "c.toml",
        "[alerting]\nbreaching_steps = 2\nmin_hours_between_incidents = 1.5\n",
    )
    given = load(path).alerting
    assert (given.breach_steps, given.min_gap) == (2, 5400.0)
    monkeypatch.setenv(STEPS, "3")
    given = load(path).alerting
    assert (given.breach_steps, given.min_gap) == (3, 5400.0)


def test_a_fault_of_a_flag_names_the_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, steps=0, allow_worse=True)
    assert str(caught.value) == "--steps: give a whole number, 1 or more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alerting = 3\n", "is not a table"),
        ("[alerting]\nbreaching_steps = 0\n", "breaching_steps"),
        ("[alerting]\nbreach = 1\n", "breach"),
        ("stepz = 3\n", "stepz"),
        ("fit_share = 0.9\nvalidation_share = 0.09\n", "less than 5 %"),
        ("steps = 0\n", r"^steps in .*c\.toml: give a whole number, 1 or more$"),
        ("steps = \n", "is not TOML"),
        ("step = 5\n", r"no such setting: step in .*c\.toml: did you mean steps\?"),
    ],
)
def test_a_fault_names_the_setting(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(toml(tmp_path / "c.toml", text))
