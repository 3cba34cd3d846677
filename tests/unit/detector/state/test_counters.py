"""Rates of counters and deltas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import MetricKind
from detector.state.counter_defaults import single_metrics
from tests.unit.detector.state.counter_series import stepped

NAN = math.nan
COUNTER = MetricKind.COUNTER
DELTA = MetricKind.DELTA


def assert_rates(found: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_counter_is_its_growth_in_a_second() -> None:
    found = stepped([7, 67, 67, 187], kind=COUNTER)
    assert_rates(found.values, [NAN, 1, 0, 2])
    assert found.is_rate == [True] * 4


def test_an_interval_counts_as_long_as_it_is() -> None:
    found = stepped([0, 60, 660], kind=COUNTER, times=[0, 60, 360])
    assert_rates(found.values, [NAN, 1, 2])


@pytest.mark.parametrize("kind", [COUNTER, DELTA])
def test_a_corrected_clock_gives_no_rate_once(kind: MetricKind) -> None:
    values = [60, 120, 180, 240] if kind is COUNTER else [60, 60, 60, 60]
    found = stepped(values, kind=kind, times=[0, 3600, 120, 180])
    assert np.isnan(found.values[2])
    assert found.values[3] == 1
    assert found.is_reset == [False] * 4


def test_a_corrected_clock_leaves_no_negative_rate_of_an_unknown_kind() -> None:
    found = stepped([60, 120, 180], times=[0, 3600, 120])
    assert found.row["rises"] == 2
    assert np.isnan(found.row["rate"])


def test_small_growth_of_a_large_counter_keeps_its_digits() -> None:
    found = stepped([1e15, 1e15 + 3, 1e15 + 9], kind=COUNTER, tick=1)
    assert_rates(found.values, [NAN, 3, 6])


def test_a_reset_that_nobody_states_gives_no_rate() -> None:
    found = stepped([1e6, 1e6 + 60, 20, 80], kind=COUNTER)
    assert_rates(found.values, [NAN, 1, NAN, 1])
    assert found.is_reset == [False, False, True, False]


def test_a_reset_that_the_start_time_states_gives_the_rate_since_then() -> None:
    found = stepped([600, 660, 90, 150], kind=COUNTER, starts=[-600, -600, 75, 75])
    assert_rates(found.values, [NAN, 1, 2, 1])
    assert found.is_reset == [False, False, True, False]


def test_a_restart_is_seen_although_the_value_is_higher() -> None:
    found = stepped([60, 120, 450], kind=COUNTER, starts=[-60, -60, 75])
    assert_rates(found.values, [NAN, 1, 10])


def test_a_short_time_since_a_restart_tells_no_rate() -> None:
    found = stepped([600, 660, 50], kind=COUNTER, starts=[-600, -600, 119])
    assert_rates(found.values, [NAN, 1, NAN])


def test_a_start_time_that_jitters_is_no_restart() -> None:
    starts = [-600, -599.2, -600.6, -590]
    found = stepped([600, 660, 720, 780], kind=COUNTER, starts=starts)
    assert_rates(found.values, [NAN, 1, 1, 1])


def test_values_of_another_process_give_no_rate() -> None:
    values = [600, 660, 60_000, 720]
    found = stepped(values, kind=COUNTER, starts=[-600, -600, -60_000, -600])
    assert_rates(found.values, [NAN, 1, NAN, NAN])


@pytest.mark.parametrize("bits", [32, 64])
def test_a_wrap_goes_on_at_its_rate(bits: int) -> None:
    modulus = 2.0**bits
    step = modulus / 1024
    grown = modulus - 2.5 * step + step * np.arange(6)
    found = stepped(grown % modulus, kind=COUNTER, tick=step)
    assert_rates(found.values, [NAN, 1, 1, 1, 1, 1])
    assert not any(found.is_reset)


def test_a_signed_counter_wraps_to_negative_values() -> None:
    step = 2.0**20
    grown = 2.0**31 - 2.5 * step + step * np.arange(6)
    signed = np.where(grown >= 2.0**31, grown - 2.0**32, grown)
    found = stepped(signed, kind=COUNTER, tick=step)
    assert_rates(found.values, [NAN, 1, 1, 1, 1, 1])


def test_a_restart_far_below_a_wrap_is_no_wrap() -> None:
    found = stepped([3e9, 3e9 + 60, 5, 65], kind=COUNTER)
    assert_rates(found.values, [NAN, 1, NAN, 1])


@settings(deadline=None)
@given(
    st.lists(
        st.floats(0, 2.0**64) | st.integers(0, 1000).map(float),
        min_size=2,
        max_size=30,
    ),
    st.lists(st.none() | st.integers(-2000, 2000), min_size=30, max_size=30),
)
def test_no_rate_is_negative(values: list[float], starts: list[int | None]) -> None:
    began = [NAN if start is None else float(start) for start in starts]
    found = stepped(values, kind=COUNTER, starts=began[: len(values)])
    known = found.values[~np.isnan(found.values)]
    assert (known >= 0).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e12), min_size=3, max_size=30), st.integers(1, 29))
def test_no_reset_gives_more_than_was_counted(values: list[float], at: int) -> None:
    grown = np.cumsum(values)
    grown[at:] -= grown[min(at, len(grown) - 1)]
    found = stepped(grown, kind=COUNTER)
    known = found.values[~np.isnan(found.values)] * 60
    assert (known <= max(values) * 1.000001 + 1e-3).all()


def test_a_delta_is_divided_by_the_time_since_its_start() -> None:
    found = stepped([60, 60, 30], kind=DELTA, starts=[-30, 0, 60])
    assert_rates(found.values, [2, 1, 0.5])


def test_a_delta_without_a_start_counts_since_the_point_before() -> None:
    found = stepped([60, 60, 30], kind=DELTA)
    assert_rates(found.values, [NAN, 1, 0.5])


def test_a_gauge_is_its_value() -> None:
    found = stepped([3, 2, 5], kind=MetricKind.GAUGE)
    assert_rates(found.values, [3, 2, 5])
    assert found.is_rate == [False] * 3


def test_what_the_producer_states_may_change() -> None:
    first = stepped([3, 2, 5], kind=MetricKind.GAUGE)
    again = stepped([65, 125], kind=COUNTER, times=[180, 240], row=first.row)
    assert_rates(again.values, [1, 1])
    assert again.changes == [0]


def named(name: str, values: list[float]) -> tuple[list[float], list[bool], list[int]]:
    row = single_metrics().row_of(name).copy()
    found = stepped(values, row=row)
    return found.values.tolist(), found.is_rate, found.changes


def test_a_counter_by_its_name_is_one_from_its_first_value_on() -> None:
    values, is_rate, _ = named("web/requests_total", [60, 120, 120])
    assert math.isnan(values[0])
    assert values[1:] == [1, 0]
    assert all(is_rate)


def test_a_name_is_wrong_about_what_falls_a_little_again_and_again() -> None:
    values, is_rate, changes = named("web/jobs_total", [50, 60, 55, 58, 57, 59, 56, 50])
    assert is_rate == [True] * 6 + [False] * 2
    assert values[6:] == [56, 50]
    assert changes == [0, 6]


def test_falls_far_apart_do_not_undo_a_counter() -> None:
    rises = np.arange(1, 101) * 60.0
    saw = np.concatenate([rises + 6000 * k - 500 * k for k in range(6)])
    _, is_rate, _ = named("web/requests_total", saw.tolist())
    assert all(is_rate)


def test_what_the_producer_states_is_never_undone() -> None:
    found = stepped([50, 60, 55, 58, 57, 59, 56, 50], kind=COUNTER)
    assert all(found.is_rate)
