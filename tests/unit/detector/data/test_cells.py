"""Cells of text as numbers: units, thousands, decimal marks, and what is no number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from detector.data.cells import Cells, read_cells, unknown_units


def read(*cells: str | None, decimal: str = ".") -> Cells:
    found = read_cells(pa.chunked_array([list(cells)]), decimal)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("12.5 %", "13%"), [12.5, 13]),
        (("1 GiB", "2 MiB", "3 B"), [2**30, 2**21, 3]),
        (("1 GB", "2 kB"), [1e9, 2e3]),
        (("3 MB/s", "4 kB/s"), [3e6, 4e3]),
        (("8 Mbps",), [8e6]),
        (("3 ms", "2 s", "1.5 min"), [0.003, 2, 90]),
        (("2 hours", "1 day"), [7_200, 86_400]),
        (("4 K", "3.5 Mil", "7"), [4_000, 3.5e6, 7]),
        (("20 °C", "21 °C"), [20, 21]),
        (("12 req/s",), [12]),
        (("1.2 kW", "850 W", "3 mW"), [1200, 850, 0.003]),
        (("230 V", "0.4 kV"), [230, 400]),
        (("1013 hPa", "101.3 kPa"), [101_300, 101_300]),
        (("12 Requests", "7 requests"), [12, 7]),
        (("45 m/s", "50 m/s"), [45, 50]),
        (("1,234.5", "12,000"), [1234.5, 12_000]),
        (("1'234.5",), [1234.5]),
        (("1\u202f234",), [1234]),
        (("1e3", "-.5", "+7"), [1000, -0.5, 7]),
        (("1,5", "2,25"), [1.5, 2.25]),
        (("1.234,5", "2,5"), [1234.5, 2.5]),
    ],
)
def test_a_cell_may_have_a_unit_and_any_notation(
    cells: tuple[str, ...], values: list[float]
) -> None:
    found = read(*cells)
    np.testing.assert_allclose(found.values, values)
    assert found.bad == 0


def test_the_decimal_mark_of_the_file_decides_about_thousands() -> None:
    assert read("1,234").values.tolist() == [1234]
    assert read("1,234", decimal=",").values.tolist() == [1.234]


def test_words_for_nothing_are_missing_and_other_text_is_counted() -> None:
    found = read("1", "N/A", "-", None, "undefined", "broken", "2")
    assert np.isnan(found.values).tolist() == [False, *[True] * 5, False]
    assert (found.bad, found.first_bad) == (1, (6, "broken"))


def test_a_cell_in_another_unit_than_the_column_is_no_number() -> None:
    found = read("1 GiB", "2 GiB", "5 ms")
    assert (found.base, found.bad, found.first_bad) == ("bytes", 1, (3, "5 ms"))


@pytest.mark.parametrize(
    "cells",
    [
        ("web-1", "web-2"),
        ("2026-03-01", "2026-03-02"),
        ("10.0.0.1", "10.0.0.2"),
        ("5 errors in 3 minutes",),
        ("1", "a", "b"),
    ],
)
def test_a_column_of_mostly_text_is_no_metric(cells: tuple[str, ...]) -> None:
    assert read_cells(pa.chunked_array([list(cells)])) is None


@pytest.mark.parametrize("cell", ["12 apples", "3 Main Street", "7a", "0 ff", "9 mb"])
def test_a_word_that_is_no_unit_is_reported_and_makes_no_number(cell: str) -> None:
    word = cell.lstrip("0123456789 ")
    column = pa.chunked_array([[cell, cell, "n/a"]])
    assert read_cells(column) is None
    assert unknown_units(column) == (word,)
    found = read(cell, "5", "6 %")
    assert (found.unknown, found.bad, found.first_bad) == ((word,), 1, (1, cell))
    assert found.units == ("%",)


def test_text_that_is_no_number_has_no_unit() -> None:
    column = pa.chunked_array([["web-1", "web-2", "12 apples"]])
    assert unknown_units(column) == ()
    assert unknown_units(pa.chunked_array([["1 %", "2 %"]])) == ()
