"""Wrong clocks, swapped neighbours and equal times over a real topic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import START, TICK
from tests.integration.stage import Record, dead_letters, eventually, produce

COUNT: Final = 200


def minutes(count: int = COUNT) -> list[float]:
    return [START + TICK * tick for tick in range(count)]


def one_from_2099() -> list[float]:
    return [*minutes()[:100], 4_070_908_800.0, *minutes()[100:]]


def one_from_next_month() -> list[float]:
    return [*minutes()[:100], START + 30 * 86_400, *minutes()[100:]]


def an_hour_ahead() -> list[float]:
    ahead = [time + 3600 for time in minutes()[100:160]]
    return [*minutes()[:100], *ahead, *minutes()[160:]]


def neighbours_swapped() -> list[float]:
    times = minutes()
    for k in (20, 50, 52, 120):
        times[k], times[k + 1] = times[k + 1], times[k]
    return times


def three_a_second() -> list[float]:
    return [START + k // 3 for k in range(COUNT)]


@pytest.mark.parametrize(
    ("times", "future"),
    [
        (one_from_2099(), [100]),
        (one_from_next_month(), [100]),
        (an_hour_ahead(), []),
        (neighbours_swapped(), []),
        (three_a_second(), []),
    ],
    ids=["2099", "next month", "an hour ahead", "swapped", "three a second"],
)
def test_a_wrong_stamp_costs_its_own_point_and_no_other(
    broker: Broker,
    topic: str,
    start: Start,
    tmp_path: Path,
    times: Sequence[float],
    future: Sequence[int],
) -> None:
    records = [
        Record(b"s", json.dumps({"timestamp": time, "cpu": k % 7}).encode())
        for k, time in enumerate(times)
    ]
    daemon = start()
    produce(broker, topic, records)
    daemon.await_value("detector_records_total", len(records))
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")
    assert daemon.value("detector_scored_total") == COUNT
    assert daemon.value("detector_points_held") == 0
    letters = dead_letters(tmp_path / "a")
    found = [(letter["offset"], letter["reason"]) for letter in letters]
    assert found == [(offset, "future") for offset in future]
    assert all("`s`" in letter["detail"] for letter in letters)
