"""What a person reads of a value: unit, prefix, and as many digits as it needs."""

from __future__ import annotations

import pytest

from detector.alerting.quantities import metric_in_words, observed_and_expected
from detector.events import FeatureDeviation


def _in_words(
    name: str, unit: str, observed: float, expected: float, *, is_rate: bool = False
) -> tuple[str, str]:
    deviation = FeatureDeviation(name, unit, observed, expected, 1.0, is_rate=is_rate)
    return observed_and_expected(deviation)


@pytest.mark.parametrize(
    ("unit", "observed", "expected", "words"),
    [
        ("%", 93.0, 41.3, ("93 %", "41 %")),
        ("bytes", 1.5e9, 1.2e9, ("1.4 GiB", "1.1 GiB")),
        ("MB", 2048.0, 1024.0, ("2 GiB", "1 GiB")),
        ("bit", 2.5e6, 1.1e6, ("2.5 Mbit", "1.1 Mbit")),
        ("ms", 3500.0, 35.0, ("3.5 s", "35 ms")),
        ("ns", 350.0, 12_000.0, ("350 ns", "12 µs")),
        ("s", 90.0, 7200.0, ("90 s", "2 h")),
        ("celsius", 21.3, 35.0, ("21.3 °C", "35 °C")),
        ("1/s", 38.89, 122.5, ("38.9/s", "120/s")),
        ("widgets", 4.0, 2.0, ("4 widgets", "2 widgets")),
        ("", 0.0, 2157.0, ("0", "2,200")),
        ("", 21_570_000.0, 1234.0, ("21.6 M", "1,200")),
        ("", -3.5, 4.0, ("-3.5", "4")),
    ],
)
def test_a_value_has_its_unit_with_a_prefix_that_makes_it_short(
    unit: str, observed: float, expected: float, words: tuple[str, str]
) -> None:
    assert _in_words("x", unit, observed, expected) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("node_memory_free_bytes", "2 KiB"),
        ("receive_bytes_total", "2 KiB"),
        ("bytes_per_second", "2 KiB"),
        ("disk.used_percent", "2,050 %"),
        ("request_duration_seconds_max", "34.1 min"),
        ("took_ms", "2.05 s"),
        ("sales_us", "2,050"),
        ("sales_gb", "2,050"),
        ("kilometers", "2,050"),
        ("", "2,050"),
    ],
)
def test_the_ending_of_a_name_tells_the_unit_only_if_it_can_mean_nothing_else(
    name: str, words: str
) -> None:
    assert _in_words(name, "", 2048.0, 1.0)[0] == words


def test_the_unit_that_the_bundle_states_goes_before_the_name() -> None:
    assert _in_words("heap_bytes", "%", 50.0, 20.0) == ("50 %", "20 %")


def test_a_counter_is_shown_as_a_rate_without_its_ending() -> None:
    counter = FeatureDeviation(
        "receive_bytes_total", "/s", 3e6, 1024.0, 1.0, is_rate=True
    )
    assert observed_and_expected(counter) == ("2.86 MiB/s", "1 KiB/s")
    assert metric_in_words(counter) == "receive bytes"


@pytest.mark.parametrize("unit", ["", "bytes", "s", "%"])
def test_two_values_that_differ_never_read_the_same(unit: str) -> None:
    observed, expected = _in_words("x", unit, 2_000_000_640.0, 2_000_000_000.0)
    assert observed != expected


def test_an_expected_value_is_rounded_only_where_the_deviation_stays_clear() -> None:
    assert _in_words("x", "", 0.0, 122.5) == ("0", "120")
    assert _in_words("x", "", 124.0, 122.5) == ("124", "122")
    assert _in_words("x", "", 50.0001, 50.0) == ("50.0001", "50")
