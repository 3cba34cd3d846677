"""A partition is put together so that no state is wrong and none is skipped."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ResetCause
from detector.events import OpenIncident
from detector.recovery.codec import decode, encode
from detector.recovery.restore import clamp, restore
from detector.recovery.snapshot import Head, Page, Stamp, to_page
from detector.state.decisions import fresh_decisions
from detector.state.page_rows import PageRows
from tests.unit.detector.recovery.pages import (
    ALERT,
    FIRED,
    WIDTH,
    WRITER,
    P,
    head,
    page,
)


def applied(
    found: Head | None, pages: list[Page], bundle: str = "bundle"
) -> tuple[int | None, list[tuple[int, int, int]]]:
    """Where reading starts, and number, offset and streams of each page."""
    restored = restore(bundle, found, pages, WIDTH)
    return restored.offset, [(r.number, r.offset, len(r.names)) for r in restored.pages]


def test_an_empty_store_gives_no_offset() -> None:
    assert applied(None, []) == (None, [])


def test_a_page_with_the_heads_stamp_counts_as_applied_up_to_the_head() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(0, 100), page(1, 500)]) == (
        500,
        [(0, 500, 1), (1, 500, 1)],
    )


def test_a_stale_page_lowers_the_offset_to_its_own() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(0, 50), page(1, 500)]) == (
        50,
        [(0, 50, 1), (1, 500, 1)],
    )


def test_a_page_newer_than_the_head_skips_what_it_contains() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(0, 700), page(1, 500)]) == (
        500,
        [(0, 700, 1), (1, 500, 1)],
    )


def test_a_missing_page_is_read_again_from_the_beginning() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(1, 500)]) == (
        0,
        [(0, 0, 0), (1, 500, 1)],
    )


def test_a_page_that_no_head_names_yet_skips_what_it_contains() -> None:
    assert applied(head(500, {0: 500}), [page(0, 500), page(1, 600)]) == (
        500,
        [(0, 500, 1), (1, 600, 1)],
    )


def test_a_page_of_another_writer_counts_up_to_its_own_stamp() -> None:
    """A member that lost the partition wrote on: what the head says of its own page of
    that number does not hold for this one.
    """
    assert applied(head(500, {0: 100}), [page(0, 100, writer=WRITER + 1)]) == (
        100,
        [(0, 100, 1)],
    )
    assert applied(head(500, {0: 100}), [page(0, 300, writer=WRITER + 1)]) == (
        300,
        [(0, 300, 1)],
    )


def test_of_two_rows_of_a_stream_the_one_of_the_later_page_counts() -> None:
    rows = {
        0: PageRows(
            0,
            400,
            ("a", "b"),
            np.zeros((2, WIDTH), np.float32),
            fresh_decisions(2),
            np.array([9.0, 7000.0]),
            ({"rack": "1"}, {}),
        )
    }
    rows[1] = PageRows(
        1,
        500,
        ("b",),
        np.ones((1, WIDTH), np.float32),
        fresh_decisions(1),
        np.array([8.0]),  # its clock was ahead before
        ({"rack": "2"},),
    )
    pages = [to_page("bundle", P, r, WRITER, ()) for r in rows.values()]
    restored = restore("bundle", head(500, {0: 400, 1: 300}), pages, WIDTH)
    assert [(r.names, r.states[:, 0].tolist()) for r in restored.pages] == [
        (("a",), [0.0]),
        (("b",), [1.0]),
    ]
    assert [r.labels for r in restored.pages] == [({"rack": "1"},), ({"rack": "2"},)]


def test_a_log_without_the_next_record_is_read_from_its_start() -> None:
    restored = restore(
        "bundle", head(500, {0: 100, 1: 500}), [page(0, 50), page(1, 500)], WIDTH
    )
    fitted = clamp(restored, first=200, end=900)
    assert (fitted.offset, [r.offset for r in fitted.pages]) == (200, [200, 500])
    assert clamp(restored, first=0, end=900) == restored


def test_a_log_that_ends_too_early_is_another_log() -> None:
    restored = restore("bundle", head(500, {0: 500}), [page(0, 500)], WIDTH)
    fitted = clamp(restored, first=3, end=40)
    assert (
        fitted.offset,
        [(r.offset, r.names) for r in fitted.pages],
        dict(fitted.stamps),
    ) == (3, [(3, ("s0",))], {})


def test_without_a_head_reading_starts_at_the_beginning() -> None:
    assert applied(None, [page(0, 100), page(1, 500)]) == (
        0,
        [(0, 100, 1), (1, 500, 1)],
    )


def test_without_a_head_pages_keep_their_numbers() -> None:
    assert applied(None, [page(0, 100), page(2, 500)]) == (
        0,
        [(0, 100, 1), (1, 0, 0), (2, 500, 1)],
    )


def test_stamps_are_those_of_the_stored_pages() -> None:
    restored = restore("bundle", head(500, {0: 100, 1: 500}), [page(0, 100)], WIDTH)
    assert dict(restored.stamps) == {0: Stamp(100, WRITER)}


def test_pages_of_another_bundle_give_alerts_and_offset_only() -> None:
    restored = restore(
        "new", head(500, {0: 100}), [page(0, 100, alerts=(ALERT,))], WIDTH
    )
    assert restored.offset == 500
    assert [a for _, a in restored.alerts] == [ALERT]
    assert all(not rows.names for rows in restored.pages)


def test_a_page_left_by_another_bundle_is_not_used() -> None:
    assert applied(head(500, {0: 500}), [page(0, 900, bundle="old")]) == (
        0,
        [(0, 0, 0)],
    )


def test_alerts_come_back_with_the_number_of_their_page() -> None:
    other = replace(ALERT, alert=replace(FIRED, stream="s1"))
    restored = restore(
        "bundle",
        head(5, {0: 5, 1: 5}),
        [page(1, 5, alerts=(other,)), page(0, 5, alerts=(ALERT,))],
        WIDTH,
    )
    assert set(restored.alerts) == {(0, ALERT), (1, other)}


def test_open_incidents_come_back_under_their_bundle_only() -> None:
    stored = msgspec.structs.replace(
        page(1, 5), open=(OpenIncident("s1", 60.0, b"x", {"hook": 1.5}),)
    )
    assert restore(
        "bundle", head(5, {1: 5}), [decode(encode(stored), Page)], WIDTH
    ).open == ((1, OpenIncident("s1", 60.0, b"x", {"hook": 1.5})),)
    assert restore("new", head(5, {1: 5}), [stored], WIDTH).open == ()


@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 80)), max_size=5),
)
def test_reading_never_starts_after_what_any_page_lacks(
    offset: int, drawn: list[tuple[int, int | None]]
) -> None:
    stamps = {number: min(stamp, offset) for number, (stamp, _) in enumerate(drawn)}
    pages = [
        page(number, stored)
        for number, (_, stored) in enumerate(drawn)
        if stored is not None
    ]
    restored = restore("bundle", head(offset, stamps), pages, WIDTH)
    assert restored.offset is not None
    assert restored.offset <= offset
    assert all(restored.offset <= rows.offset for rows in restored.pages)
    assert [rows.number for rows in restored.pages] == sorted(stamps)


def test_what_can_not_be_used_is_counted() -> None:
    whole = restore("bundle", head(5, {0: 5}), [page(0, 5)], WIDTH)
    torn = restore("bundle", head(5, {0: 5, 1: 5, 2: 5}), [page(1, 5)], WIDTH)
    other = restore("new", head(5, {0: 5, 1: 5}), [page(0, 5), page(1, 5)], WIDTH)
    assert whole.resets == {}
    assert torn.resets == {ResetCause.PAGE_UNREADABLE: 2}
    assert other.resets == {ResetCause.OTHER_BUNDLE: 2}


def test_a_page_that_an_older_bundle_left_tells_nothing_again() -> None:
    """Its notifications are in a page of the bundle that took over."""
    own = page(0, 5, alerts=(ALERT,))
    left = page(1, 3, "old", alerts=(ALERT,))
    restored = restore("bundle", head(5, {0: 5}), [own, left], WIDTH)
    assert restored.alerts == ((0, ALERT),)
    assert restored.offset == 5
