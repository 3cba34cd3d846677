"""Names of streams tell every pair apart, and print safely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.names import (
    LONGEST_TAG,
    MOST_TAGS,
    bounded_tags,
    encoded,
    encoded_metric,
    metric_stream,
    prefix,
    short_tags,
)

CLOSE = st.text("a/%25F\n\x00", max_size=6)


@pytest.mark.parametrize(
    "name",
    ["host-1", "web-1/cpu{cpu=cpu0}", "cpu%", "100 %", "Zähler", "温度", "a b", "👩‍🔧"],
)
def test_ordinary_names_stay(name: str) -> None:
    assert encoded(name) == name


def test_an_ordinary_metric_follows_its_stream() -> None:
    assert metric_stream("web-1/cpu{cpu=cpu0}", "user") == "web-1/cpu{cpu=cpu0}/user"


def test_a_slash_tells_which_side_it_is_on() -> None:
    assert metric_stream("a/b", "c") == "a/b/c"
    assert metric_stream("a", "b/c") == "a/b%2Fc"
    assert metric_stream("a", "b%2Fc") == "a/b%252Fc"


@given(one=st.tuples(CLOSE, CLOSE), other=st.tuples(CLOSE, CLOSE))
def test_no_two_pairs_share_a_name(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    is_same = metric_stream(*one) == metric_stream(*other)
    assert is_same == (one == other)


@given(st.text())
def test_no_name_has_what_can_not_be_printed(text: str) -> None:
    for name in (encoded(text), encoded_metric(text)):
        hidden = [c for c in name if c < " " or "\x7f" <= c <= "\x9f"]
        assert not hidden
        name.encode()  # raises for a lone surrogate


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a\x00b", "a%00b"),
        ("a\r\nb", "a%0D%0Ab"),
        ("a\x1b[31m", "a%1B[31m"),
        ("abc\u202etxt", "abc%E2%80%AEtxt"),
        ("a\u2028b", "a%E2%80%A8b"),
    ],
)
def test_control_characters_are_encoded(text: str, name: str) -> None:
    assert encoded(text) == name


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("web-12/cpu", "web"),
        ("host17/mem", "host"),
        ("pod_7f9c/cpu", "pod"),
        ("17/cpu", "(other)"),
        ("x" * 100, "x" * 40),
    ],
)
def test_a_prefix_is_what_counted_names_share(name: str, shared: str) -> None:
    assert prefix(name) == shared


def test_tags_are_bounded_in_number_and_size() -> None:
    tags = {f"tag-{i:03d}": "x" * 1000 for i in range(100)}
    kept = bounded_tags(tags)
    assert list(kept) == [f"tag-{i:03d}" for i in range(MOST_TAGS)]
    assert {len(value) for value in kept.values()} == {LONGEST_TAG}
    assert kept["tag-000"].endswith("…")


@pytest.mark.parametrize("end", ["%", "%4", "%4A", "\n", "%4AB", "x"])
@pytest.mark.parametrize("length", range(LONGEST_TAG - 4, LONGEST_TAG + 5))
def test_short_tags_are_bounded_like_whole_ones(length: int, end: str) -> None:
    tags = {f"{n}{'a' * 600}": f"{'v' * length}{end * 200}" for n in range(40)}
    short = short_tags(tags)
    assert len(short) == MOST_TAGS
    assert max(map(len, short.values())) < LONGEST_TAG + 4
    assert bounded_tags(short) == bounded_tags(tags)
