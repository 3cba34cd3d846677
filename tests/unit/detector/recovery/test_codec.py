"""What is read is what was written, or it is damaged."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.recovery.codec import MAGIC, DamagedPage, UnknownSchema, decode, encode
from detector.recovery.snapshot import Page, to_page, to_rows
from detector.state.decisions import fresh_decisions
from tests.unit.detector.recovery.pages import (
    ALERT,
    P,
    page,
)


def sealed(body: bytes) -> bytes:
    """Bytes that are whole, whatever the body is."""
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


def test_labels_come_back_with_their_streams() -> None:
    rows = to_rows(page(2, 10))
    labelled = replace(rows, labels=({"host": "web-1"},))
    stored = to_page("bundle", P, labelled, 7, ())
    assert to_rows(decode(encode(stored), Page)).labels == ({"host": "web-1"},)


def test_streams_without_labels_cost_no_bytes() -> None:
    assert page(2, 10).labels == ()
    assert to_rows(page(2, 10)).labels == ({},)


@given(st.data())
def test_a_page_with_a_changed_bit_or_a_missing_end_is_damaged(
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
def test_foreign_bytes_are_damaged(data: bytes) -> None:
    for content in (data, MAGIC + data, sealed(data)):
        with pytest.raises(DamagedPage):
            decode(content, Page)


def test_another_schema_is_refused_by_number() -> None:
    with pytest.raises(UnknownSchema, match="schema 99"):
        decode(
            sealed(
                msgspec.msgpack.encode(msgspec.structs.replace(page(0, 1), schema=99))
            ),
            Page,
        )
