"""A dead letter survives a record and a line, and keeps its name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from detector.dead_letters.letter import (
    KEPT,
    REDRIVEN,
    REDRIVES,
    NotALetter,
    from_line,
    from_record,
    letter_of,
    to_headers,
    to_line,
)
from detector.errors import RejectReason
from detector.events import Partition, RejectedRecord

REJECTED = RejectedRecord(
    partition=Partition("metrics", 3),
    offset=41,
    reason=RejectReason.MALFORMED,
    detail="not one JSON object",
    key=b"k\xff",
    value=b"\x00\xffvalue",
    headers=[("trace", b"\x01"), ("trace", b"")],
    timestamp=1_700_000_000_123,
    stream="host/cpu",
)
LETTER = letter_of(REJECTED)


def test_a_letter_survives_a_record() -> None:
    assert from_record(LETTER.key, LETTER.value, to_headers(LETTER)) == LETTER


def test_a_letter_survives_a_line() -> None:
    line = json.loads(json.dumps(to_line(LETTER)))
    found = from_line(line)
    assert [tuple(header) for header in found.headers] == list(LETTER.headers)
    assert replace(found, headers=LETTER.headers) == LETTER


def test_a_line_of_a_longer_record_is_not_whole_and_keeps_its_name() -> None:
    long = replace(LETTER, value=b"x" * (KEPT + 1))
    found = from_line(to_line(long))
    assert not found.is_whole
    assert found.name == long.name


def test_a_letter_that_is_not_whole_says_so_in_a_record_and_in_a_line() -> None:
    held = letter_of(replace(REJECTED, is_whole=False))
    assert not held.is_whole
    assert not from_line(to_line(held)).is_whole
    assert not from_record(held.key, held.value, to_headers(held)).is_whole


def test_the_same_place_of_another_log_is_another_letter() -> None:
    assert replace(LETTER, value=b"other").name != LETTER.name
    assert replace(LETTER, reason="late").name == LETTER.name


def test_a_producer_can_t_forge_where_a_letter_comes_from() -> None:
    forged = replace(LETTER, headers=[("streamwarden.topic", b"payments")])
    found = from_record(b"k", b"v", to_headers(forged))
    assert found.partition == LETTER.partition


def test_a_letter_says_which_letter_its_record_came_from() -> None:
    again = replace(LETTER, headers=[(REDRIVEN, b"metrics/3/7/00000000")])
    found = from_record(b"k", b"v", to_headers(again))
    assert list(found.headers) == [(REDRIVEN, b"metrics/3/7/00000000")]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("streamwarden.topic", b"metrics")],
        [(name, b"\xff") for name, _ in to_headers(LETTER)],
    ],
)
def test_another_record_is_no_letter(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(NotALetter):
        from_record(b"k", b"v", headers)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "notification"}, {"value": "%"}, {"offset": None}, {"headers": [1]}],
)
def test_another_line_is_no_letter(changes: dict[str, object]) -> None:
    with pytest.raises(NotALetter):
        from_line(to_line(LETTER) | changes)


def test_a_detail_with_half_of_a_surrogate_pair_can_be_written() -> None:
    letter = letter_of(replace(REJECTED, detail="`a\ud800` names it"))
    assert letter.detail == "`a\\ud800` names it"
    assert from_record(letter.key, letter.value, to_headers(letter)) == letter


@pytest.mark.parametrize(
    ("text", "redrives"),
    [(b"2", 2), (b"9" * 5000, 9999), (b"two", 0), (b"", 0), (None, 0)],
    ids=["a count", "thousands of digits", "a word", "nothing", "no value"],
)
def test_whatever_a_producer_sets_as_count_of_redrives_is_a_number(
    text: bytes | None, redrives: int
) -> None:
    letter = replace(LETTER, headers=[(REDRIVES, text)])
    assert letter.redrives == redrives
