"""A daemon with a budget for the whole fleet knows how many streams share it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import urllib3

from detector.app import Daemon
from detector.errors import ConfigError
from detector.settings.load import Settings
from tests.fakes import FakeClock, MemoryStore


def daemon(folder: Path, **alerting: Any) -> Daemon:
    settings = Settings.model_validate(
        {
            "kafka": {"topics": ("metrics",)},
            "recovery": {"dead_letters": folder},
            "web": {"listen": "127.0.0.1:0"},
            "alerting": alerting,
        }
    )
    return Daemon(settings, FakeClock(), MemoryStore())


def gauges(made: Daemon) -> tuple[float, float]:
    """The budget of a stream, and the number of streams that share the fleet's."""
    parts = made._parts
    parts.web.start()
    host, port = parts.web.address
    text = urllib3.request("GET", f"http://{host}:{port}/metrics").data.decode()
    parts.worker.close(timeout=5)
    parts.dead_letters.close()
    parts.web.stop()
    lines = [line.split() for line in text.splitlines() if line[0] != "#"]
    values = {line[0]: float(line[1]) for line in lines}
    return values["detector_false_alarms_per_week"], values["detector_fleet_streams"]


def test_a_fleet_s_budget_needs_the_number_of_its_streams(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs DETECTOR_ALERTING__FLEET_STREAMS"):
        daemon(tmp_path, false_alarms_per_week_total=48)


def test_the_gauges_show_a_stream_s_share_and_who_shares(tmp_path: Path) -> None:
    shared = daemon(tmp_path, false_alarms_per_week_total=48, fleet_streams=240)
    assert gauges(shared) == (0.2, 240)
    budget, streams = gauges(daemon(tmp_path, false_alarms_per_week=3))
    assert budget == 3
    assert math.isnan(streams)
