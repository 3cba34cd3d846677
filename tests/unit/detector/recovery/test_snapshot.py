"""Bytes that vouch for themselves, and a partition put together from what is there."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.events import (
    Alert,
    FeatureDeviation,
    OpenIncident,
    Partition,
    PendingNotification,
    Reason,
    Severity,
)
from detector.recovery.codec import MAGIC, DamagedPage, decode, encode
from detector.recovery.restore import clamp, restore
from detector.recovery.snapshot import SCHEMA, Head, Page, Stamp, to_page, to_rows
from detector.state.decisions import fresh_decisions
from detector.state.page_rows import PageRows

P = Partition("metrics", 7)
WIDTH = 3
WRITER = 7
FIRED = Alert(
    P,
    "s0",
    Severity.WARNING,
    Reason.FIRED,
    60.0,
    None,
    60.0,
    7.0,
    6.0,
    (FeatureDeviation("cpu", "%", 1.0, 2.0, 1.0),),
)
ALERT = PendingNotification(FIRED, 3, ("hook", "pager"))


def page(
    number: int,
    offset: int,
    bundle: str = "bundle",
    alerts: tuple[PendingNotification, ...] = (),
    writer: int = WRITER,
) -> Page:
    states = np.full((1, WIDTH), offset, np.float32)
    return to_page(
        bundle,
        P,
        PageRows(
            number,
            offset,
            (f"s{number}",),
            states,
            fresh_decisions(1, known=True),
            np.array([9.0]),
        ),
        writer,
        alerts,
    )


def head(offset: int, stamps: dict[int, int], bundle: str = "bundle") -> Head:
    return Head(
        SCHEMA,
        bundle,
        P,
        offset,
        {number: Stamp(stamp, WRITER) for number, stamp in stamps.items()},
    )


def applied(
    found: Head | None, pages: list[Page], bundle: str = "bundle"
) -> tuple[int | None, list[tuple[int, int, int]]]:
    """Where reading starts, and number, offset and streams of each page."""
    restored = restore(bundle, found, pages, WIDTH)
    return restored.offset, [(r.number, r.offset, len(r.names)) for r in restored.pages]


def sealed(body: bytes) -> bytes:
    return MAGIC + hashlib.blake2b(body, digest_size=32).digest() + body


def test_a_page_comes_back_as_it_was() -> None:
    before = page(2, 10, alerts=(ALERT,))
    after = decode(encode(before), Page)
    assert after == before
    rows = to_rows(after)
    assert (rows.number, rows.offset, rows.names) == (2, 10, ("s2",))
    assert rows.states.tolist() == [[10, 10, 10]]
    assert rows.decisions.tolist() == fresh_decisions(1, known=True).tolist()
    assert rows.times.tolist() == [9.0]


@given(st.data())
def test_a_page_with_any_bit_changed_or_cut_anywhere_is_damaged(
    data: st.DataObject,
) -> None:
    whole = bytearray(encode(page(0, 1, alerts=(ALERT,))))
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del whole[place:]
    with pytest.raises(DamagedPage):
        decode(bytes(whole), Page)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_damaged_and_nothing_else(data: bytes) -> None:
    for content in (data, MAGIC + data, sealed(data)):
        with pytest.raises(DamagedPage):
            decode(content, Page)


def test_another_schema_is_refused_by_number() -> None:
    with pytest.raises(DamagedPage, match="schema 99"):
        decode(
            sealed(
                msgspec.msgpack.encode(msgspec.structs.replace(page(0, 1), schema=99))
            ),
            Page,
        )


def test_nothing_stored_starts_at_the_groups_committed_offset() -> None:
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


def test_a_page_newer_than_the_head_skips_what_it_has_seen() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(0, 700), page(1, 500)]) == (
        500,
        [(0, 700, 1), (1, 500, 1)],
    )


def test_a_page_that_is_gone_is_empty_and_reading_starts_at_the_beginning() -> None:
    assert applied(head(500, {0: 100, 1: 500}), [page(1, 500)]) == (
        0,
        [(0, 0, 0), (1, 500, 1)],
    )


def test_a_page_that_the_head_does_not_name_yet_skips_what_it_has_seen() -> None:
    assert applied(head(500, {0: 500}), [page(0, 500), page(1, 600)]) == (
        500,
        [(0, 500, 1), (1, 600, 1)],
    )


def test_a_page_of_another_writer_counts_as_applied_up_to_its_own_stamp() -> None:
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


def test_of_two_rows_of_one_stream_the_one_that_saw_more_counts() -> None:
    rows = {
        0: PageRows(
            0,
            500,
            ("a", "b"),
            np.zeros((2, WIDTH), np.float32),
            fresh_decisions(2),
            np.array([9.0, 7.0]),
        )
    }
    rows[1] = PageRows(
        1,
        400,
        ("b", "a"),
        np.ones((2, WIDTH), np.float32),
        fresh_decisions(2),
        np.array([8.0, 9.0]),
    )
    pages = [to_page("bundle", P, r, WRITER, ()) for r in rows.values()]
    restored = restore("bundle", head(500, {0: 500, 1: 300}), pages, WIDTH)
    assert [(r.names, r.states[:, 0].tolist()) for r in restored.pages] == [
        (("a",), [0.0]),
        (("b",), [1.0]),
    ]


def test_a_log_that_no_longer_holds_the_next_record_is_read_from_where_it_begins() -> (
    None
):
    restored = restore(
        "bundle", head(500, {0: 100, 1: 500}), [page(0, 50), page(1, 500)], WIDTH
    )
    fitted = clamp(restored, first=200, end=900)
    assert (fitted.offset, [r.offset for r in fitted.pages]) == (200, [200, 500])
    assert clamp(restored, first=0, end=900) == restored


def test_a_log_shorter_than_what_was_applied_is_another_and_its_pages_are_written_anew() -> (
    None
):
    restored = restore("bundle", head(500, {0: 500}), [page(0, 500)], WIDTH)
    fitted = clamp(restored, first=3, end=40)
    assert (
        fitted.offset,
        [(r.offset, r.names) for r in fitted.pages],
        dict(fitted.stamps),
    ) == (3, [(3, ("s0",))], {})


def test_without_a_head_all_is_read_again_and_each_page_skips_what_it_holds() -> None:
    assert applied(None, [page(0, 100), page(1, 500)]) == (
        0,
        [(0, 100, 1), (1, 500, 1)],
    )


def test_without_a_head_and_a_page_between_the_others_keep_their_numbers() -> None:
    assert applied(None, [page(0, 100), page(2, 500)]) == (
        0,
        [(0, 100, 1), (1, 0, 0), (2, 500, 1)],
    )


def test_the_stamps_to_come_are_those_the_pages_bear_and_not_what_they_count_as() -> (
    None
):
    restored = restore("bundle", head(500, {0: 100, 1: 500}), [page(0, 100)], WIDTH)
    assert dict(restored.stamps) == {0: Stamp(100, WRITER)}


def test_another_bundles_pages_give_their_alerts_and_offset_and_never_a_state() -> None:
    restored = restore(
        "new", head(500, {0: 100}), [page(0, 100, alerts=(ALERT,))], WIDTH
    )
    assert restored.offset == 500
    assert [a for _, a in restored.alerts] == [ALERT]
    assert all(not rows.names for rows in restored.pages)


def test_a_page_that_another_bundle_left_behind_is_no_page_of_this_one() -> None:
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


def test_open_incidents_come_back_with_their_page_and_not_under_another_bundle() -> (
    None
):
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
