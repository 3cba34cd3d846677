"""The example files: what they set exists, and what they suggest works too."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from detector.settings import load as settings
from detector.web.server import ROUTES

DEPLOY = Path(__file__).parents[3] / "deploy"
TOML = DEPLOY / "streamwarden.toml"
KUBERNETES = (DEPLOY / "kubernetes.yaml").read_text()


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)


def test_the_settings_that_are_commented_out_load_too(tmp_path: Path) -> None:
    commented = re.compile(r"^# (?=\w+ = |\[\[)", re.MULTILINE)
    text, count = commented.subn("", TOML.read_text())
    assert count == 4
    path = tmp_path / "all.toml"
    path.write_text(text)
    loaded = settings.load(path)
    assert loaded.model.timezone == "Europe/Berlin"
    assert [own.zone for own in loaded.model.timezones] == ["America/New_York"]


def test_the_environment_of_the_pod_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = re.findall(r"- name: (DETECTOR_\w+)\n +value: (\S+)", KUBERNETES)
    assert len(pairs) == 5
    secret = tmp_path / "webhook"
    secret.write_text("secret")
    for name, value in pairs:
        monkeypatch.setenv(name, str(secret) if name.endswith("_FILE") else value)
    loaded = settings.load()
    assert loaded.kafka.topics == ("metrics",)
    assert len(loaded.alerting.destinations()) == 1


def test_the_probes_ask_for_routes_that_exist() -> None:
    paths = re.findall(r"httpGet: \{path: (\S+),", KUBERNETES)
    assert paths == ["/-/healthy", "/-/ready"]
    assert set(paths) <= ROUTES.keys()


def test_the_pod_has_ten_seconds_more_than_a_stop_may_take() -> None:
    (grace,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", KUBERNETES)
    assert float(grace) == settings.load().shutdown_deadline + 10
