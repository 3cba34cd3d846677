"""Settings become parts, or one sentence says why they can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.compose import make_decoder
from detector.errors import ConfigError
from detector.settings.load import Settings
from tests.fakes import fake_bundle, raw_batch


def decoded(settings: Settings, tmp_path: Path, value: bytes) -> list[str | bytes]:
    decoder = make_decoder(fake_bundle(tmp_path), settings, lambda *field: None)
    return list(decoder.decode(raw_batch([value], b"key", timestamp=60_000)).names)


def with_format(name: str) -> Settings:
    return Settings.model_validate({"kafka": {"format": name}})


def test_records_are_json_unless_another_format_is_set(tmp_path: Path) -> None:
    assert decoded(Settings(), tmp_path, b'{"stream": "a", "cpu": 1}') == ["a"]
    assert decoded(with_format("influx"), tmp_path, b"m,host=a cpu=1") == ["a/m"]


def test_an_unknown_format_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'xml'.*influx, json"):
        decoded(with_format("xml"), tmp_path, b"")
