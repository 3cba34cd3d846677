"""Time zones of the daemon, of streams, and of a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.model.bundle import load_bundle
from detector.model.settings import ModelSettings
from detector.settings.load import load, names_and_values
from tests.fakes import write_bundle
from tests.unit.detector.settings.files import written


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Atlantis",
        "Europe",
        "../Berlin",
        "/etc/localtime",
        "zone.tab",
        "é",
        "CEST",
    ],
)
def test_a_name_that_is_not_a_time_zone_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DETECTOR_MODEL__TIMEZONE", name)
    sentence = f"'{name}' is not a time zone: use a name such as Europe/Berlin"
    with pytest.raises(ConfigError, match=f"DETECTOR_MODEL__TIMEZONE: {sentence}"):
        load()


ZONES = """
[model]
timezone = "Europe/Berlin"
[[model.timezones]]
streams = "^us-"
zone = "America/New_York"
"""


def test_zones_of_streams_come_from_the_file_and_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = dict(names_and_values(load(written(tmp_path, ZONES))))
    assert shown["DETECTOR_MODEL__TIMEZONE"] == "Europe/Berlin"
    assert (
        shown["DETECTOR_MODEL__TIMEZONES"] == "{streams: ^us-, zone: America/New_York}"
    )
    monkeypatch.setenv("DETECTOR_MODEL__TIMEZONE", "")
    shown = dict(names_and_values(load(written(tmp_path, ZONES))))
    assert shown["DETECTOR_MODEL__TIMEZONE"] == ""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            '"^us-"',
            '"us-("',
            r"timezones in .*s\.toml, timezone 1, streams: 'us-\(' is not a regular .*: escape",
        ),
        (
            "America/New_York",
            "America/Gotham",
            r"timezones in .*s\.toml, timezone 1, zone: 'America/Gotham' is not a time zone: use",
        ),
        (
            'zone = "America/New_York"',
            'zone = "UTC"\nzones = "x"',
            r"no such setting: model\.timezones in .*s\.toml, timezone 1, zones",
        ),
        (
            'zone = "America/New_York"',
            "",
            r"model\.timezones in .*s\.toml, timezone 1, zone: it is missing: add it",
        ),
    ],
)
def test_a_fault_in_zones_of_streams_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(written(tmp_path, ZONES.replace(old, new)))


def test_a_bundle_with_an_unknown_zone_asks_for_the_setting(
    tmp_path: Path,
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle", timezone="Mars/Olympus"))
    with pytest.raises(
        ConfigError,
        match=r"'Mars/Olympus' is not a time zone.*DETECTOR_MODEL__TIMEZONE",
    ):
        ModelSettings().zones(bundle)
    assert ModelSettings(timezone="UTC").zones(bundle).only_utc
