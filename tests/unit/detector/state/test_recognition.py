"""Which metrics of unknown kind are taken for counters."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import F64, MetricKind
from detector.state.counters import fresh_counters
from tests.unit.detector.state.counter_series import Stepped, stepped

N = 1500
SEEDS = range(8)
HALF_DAY = 720  # points, one a minute


def noise(seed: int, scale: float = 1.0) -> F64:
    return np.random.default_rng(seed).normal(size=N) * scale


def recognised_at(found: Stepped) -> int | None:
    """The point from which on it was a counter, if it was one to the end."""
    if found.kinds[-1] != MetricKind.COUNTER:
        return None
    return found.kinds.index(MetricKind.COUNTER)


def counted(seed: int) -> F64:
    """A counter of 100±10 a point, from its start on."""
    return np.cumsum(100 + noise(seed, 10))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tick", [1.0, 60.0, 300.0])
def test_a_counter_from_its_start_is_recognised(seed: int, tick: float) -> None:
    at = recognised_at(stepped(counted(seed), tick=tick))
    assert at is not None
    assert 60 <= at <= 500


def test_one_that_is_larger_than_float32_tells_at_once() -> None:
    values = 1e13 + np.cumsum(1.2e5 + noise(0, 1e3))
    assert recognised_at(stepped(values)) == 64


def test_a_running_counter_is_recognised_after_more_than_half_a_day() -> None:
    at = recognised_at(stepped(5e5 + counted(0)))
    assert at is not None
    assert HALF_DAY < at < 1300


def test_resets_do_not_hide_a_counter() -> None:
    values = counted(1)
    resets = np.arange(N) // 200 * 200
    values -= np.where(resets > 0, values[resets], 0.0)
    assert recognised_at(stepped(values)) is not None


def test_a_constant_rate_from_nothing_is_a_counter() -> None:
    assert recognised_at(stepped(100.0 * np.arange(N))) == 64


def test_a_name_that_hints_needs_a_shorter_past() -> None:
    row = fresh_counters(1)
    row["hinted"] = 1
    assert recognised_at(stepped(5e5 + counted(2), row=row)) == 16


def test_the_change_to_a_rate_is_told_once_and_lasts() -> None:
    found = stepped(counted(3))
    at = recognised_at(found)
    assert found.changes == [at]
    assert found.is_rate == [i >= (at or 0) for i in range(N)]
    assert found.values[at] == pytest.approx(100 / 60, rel=0.5)


def morning(scale: float, tick: float) -> F64:
    """A temperature from its coldest to its warmest hour and on, 15 to 25 degrees."""
    phase = 2 * np.pi * np.arange(N) * tick / 86_400
    return 20 - 5 * np.cos(phase) + noise(0, scale)


GAUGES = {
    "noise": 100 + noise(0, 10),
    "counts": np.round(np.abs(noise(0, 3))),
    "a temperature that rises in the morning": morning(0.1, 60),
    "a precise thermometer": morning(0.001, 60),
    "a thermometer without noise": morning(0, 60),
    "a fast thermometer without noise": morning(0, 10),
    "a slow thermometer without noise": morning(0, 300),
    "a rounded thermometer": np.round(morning(0.001, 60), 1),
    "sunlight": np.maximum(0, -5000 * np.cos(2 * np.pi * np.arange(N) / 1440)),
    "a slow leak": 500 + 0.5 * np.arange(N) + noise(0),
    "a steep leak": 500 + 4 * np.arange(N) + noise(0),
    "a leak that never falls": 500 + 8 * np.arange(N) + noise(0),
    "a leak of bytes": 4e9 + 1e6 * (4 * np.arange(N) + noise(0)),
    "a time of the last backup": 1.7e9 + 3600 * (np.arange(N) // 60),
    "a constant": np.full(N, 7.0),
    "a buffer that is flushed": np.arange(N) % 20 * 1.0,
    "what is negative at first": -50 + 1.0 * np.arange(N),
    "a queue that grows after a normal past": np.concatenate(
        [np.abs(noise(0, 3))[:100], 100.0 * np.arange(N - 100)]
    ),
}


@pytest.mark.parametrize("name", GAUGES)
def test_no_gauge_is_taken_for_a_counter(name: str) -> None:
    found = stepped(GAUGES[name], tick=60.0)
    assert MetricKind.COUNTER not in found.kinds
    np.testing.assert_array_equal(found.values, GAUGES[name])


def test_a_gauge_is_a_gauge_for_good() -> None:
    values = np.concatenate([[5.0, 3.0], 10.0 * np.arange(N)])
    found = stepped(values)
    assert found.kinds[1:] == [MetricKind.GAUGE] * (N + 1)


def test_a_gauge_that_was_taken_for_a_counter_is_a_gauge_again() -> None:
    """A queue that grew from the first point on shrinks again."""
    queue = np.concatenate([100.0 * np.arange(300), 30_000 - 40.0 * np.arange(300)])
    found = stepped(queue)
    assert found.kinds[299] == MetricKind.COUNTER
    assert found.kinds[-1] == MetricKind.GAUGE
    assert found.changes == [64, 303]
    np.testing.assert_array_equal(found.values[303:], queue[303:])
    assert np.isnan(found.values[301:303]).all()
