"""Event times: units, bounds and formats."""

from __future__ import annotations

import pytest

from detector.timestamps import (
    LATEST,
    rfc3339,
    seconds,
    seconds_of_any_unit,
    unit_hint,
)


@pytest.mark.parametrize(
    "stamp",
    [1_767_225_600, "1767225600", "2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00"],
)
def test_numbers_and_iso_8601_mean_the_same_moment(stamp: float | str) -> None:
    assert seconds(stamp) == 1_767_225_600.0


def test_other_text_is_not_a_time() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        seconds("yesterday")


@pytest.mark.parametrize(
    ("digits", "text"),
    [(3, "2026-01-01T00:00:00.988Z"), (0, "2026-01-01T00:00:01Z")],
)
def test_rfc_3339_is_rounded_and_in_utc(digits: int, text: str) -> None:
    assert rfc3339(1_767_225_600.9876, digits) == text


@pytest.mark.parametrize(
    ("power", "unit"), [(1, "milliseconds"), (2, "microseconds"), (3, "nanoseconds")]
)
def test_a_time_in_another_unit_gets_the_divisor(power: int, unit: str) -> None:
    hint = unit_hint(1_767_225_600.0 * 1000**power)
    assert hint == f"; divide {unit} by 1{',000' * power}"


def test_a_possible_time_gets_no_hint() -> None:
    assert unit_hint(LATEST - 1) == ""


@pytest.mark.parametrize(
    ("number", "time"),
    [
        (1_700_000_000, 1.7e9),
        (1_700_000_000_500, 1.7e9 + 0.5),
        (1_700_000_000_500_000, 1.7e9 + 0.5),
        (1_700_000_000_500_000_000, 1.7e9 + 0.5),
        (4_102_444_799, 4_102_444_799.0),
        (4_102_444_800, 4_102_444.8),
        (-1, -1.0),
        (2**63 - 1, 9_223_372_036.854775807),
    ],
)
def test_the_magnitude_tells_the_unit(number: int, time: float) -> None:
    assert seconds_of_any_unit(number) == time
