"""Event times: units, bounds and formats."""

from __future__ import annotations

import pytest

from detector.timestamps import (
    LATEST,
    check_form,
    likely_forms,
    rfc3339,
    seconds,
    seconds_of_any_unit,
    seconds_written,
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


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("31.12.2025", ["%d.%m.%Y"]),
        ("1.2.2025 7:05", ["%d.%m.%Y %H:%M"]),
        ("31.12.2025, 13:59:58", ["%d.%m.%Y, %H:%M:%S"]),
        ("31/12/2025", ["%d/%m/%Y"]),
        ("12/31/2025", ["%m/%d/%Y"]),
        ("1/2/2025 01:05:06 pm", ["%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"]),
        ("2025/12/31 13:59:58.123", ["%Y/%m/%d %H:%M:%S.%f"]),
        ("20251231", ["%Y%m%d"]),
        ("12345678", []),
        ("noon", []),
    ],
)
def test_how_a_date_may_be_written_is_told(text: str, forms: list[str]) -> None:
    assert likely_forms(text) == forms
    for form in forms:
        seconds_written(text, form)
        check_form(form)


def test_text_without_an_offset_is_utc_and_with_one_is_not() -> None:
    assert seconds_written("31.12.2025 13:00", "%d.%m.%Y %H:%M") == 1_767_186_000
    written = seconds_written("31.12.2025 13:00 +0100", "%d.%m.%Y %H:%M %z")
    assert written == 1_767_186_000 - 3600


@pytest.mark.parametrize("form", ["%H:%M", "%d.%m.", "today", "%Q"])
def test_a_notation_without_a_whole_date_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_form(form)
