"""Lists and durations in words."""

from __future__ import annotations

import pytest

from detector.phrases import duration, listed


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (list("abcdef"), "a, b and 4 more"),
    ],
)
def test_a_list_names_the_first_and_counts_the_others(
    names: list[str], text: str
) -> None:
    assert listed(names, 2) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7_199.0, "120 min"),
        (7_200.0, "2 h"),
        (172_800.0, "2 d"),
    ],
)
def test_a_duration_is_in_the_longest_unit_that_it_holds_twice(
    seconds: float, text: str
) -> None:
    assert duration(seconds) == text
