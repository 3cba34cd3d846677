"""Graphite's plaintext protocol: paths, tags, times."""

from __future__ import annotations

import pytest

from detector.errors import MissingReason, RejectReason
from tests.unit.detector.ingest.formats.reading import (
    Row,
    faults_of,
    missing_of,
    read,
    rows_of,
)

T = 1_700_000_000


def test_the_last_part_of_a_path_is_the_metric() -> None:
    lines = b"servers.web-1.load.01 0.53 1700000000\nservers.web-1.load.05 1 1700000000"
    assert read("graphite", lines) == [
        Row("servers.web-1.load", T, {"01": 0.53, "05": 1.0})
    ]


def test_tags_tell_streams_apart_and_are_labels() -> None:
    line = b"disk.used;host=web-1;device=sda 4e9 1700000000\n"
    tags = {"host": "web-1", "device": "sda"}
    assert read("graphite", line) == [Row("web-1/disk{device=sda}", T, {"used": 4e9})]
    assert rows_of("graphite", line).labels == [tags]


def test_a_path_of_one_part_is_a_metric_of_graphite() -> None:
    (row,) = read("graphite", b"up;host=a 1 1700000000")
    assert row == Row("a/graphite", T, {"up": 1.0})


@pytest.mark.parametrize("time", [b" -1", b" N", b""])
def test_a_line_without_a_time_has_that_of_its_record(time: bytes) -> None:
    assert read("graphite", b"a.b 1" + time) == [Row("a", None, {"b": 1.0})]


def test_rows_are_in_the_order_of_their_times() -> None:
    rows = read("graphite", b"a.b 2 1700000060\na.c 1 1700000000\na.b 1 1700000000")
    assert [row.time for row in rows] == [T, T + 60]
    assert rows[0].numbers == {"b": 1.0, "c": 1.0}


def test_a_line_that_comes_twice_is_two_rows() -> None:
    rows = read("graphite", b"a.b 2 1700000000\n" * 2)
    assert [row.numbers for row in rows] == [{"b": 2.0}] * 2


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (b"nan", MissingReason.NAN),
        (b"None", MissingReason.TEXT),
        (b"1_000", MissingReason.TEXT),
    ],
)
def test_a_value_that_is_no_number_is_missing(
    word: bytes, reason: MissingReason
) -> None:
    lines = b"a.b " + word + b" 1700000000\na.c 1 1700000000"
    assert read("graphite", lines) == [Row("a", T, {"c": 1.0})]
    assert missing_of("graphite", lines) == [(0, "b", reason)]


def test_a_record_of_blank_lines_is_no_fault() -> None:
    rows = rows_of("graphite", b"\n \n")
    assert (list(rows.faults), list(rows.without_points)) == ([], [0])


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"a.b", RejectReason.MALFORMED, "line 1"),
        (b"a.b 1 2 3", RejectReason.MALFORMED, "line 1"),
        (b"a.b 1 1700000000\na. 1 1700000000", RejectReason.MALFORMED, "line 2"),
        (b";host=a 1 1700000000", RejectReason.MALFORMED, "path"),
        (b"a.b 1 noon", RejectReason.MALFORMED, "time"),
        (b"a.b 1 inf", RejectReason.MALFORMED, "time"),
        (b"a.\xff 1 1700000000", RejectReason.ENCODING, "UTF-8"),
    ],
)
def test_what_is_no_line_is_rejected_and_no_other_record(
    value: bytes, reason: RejectReason, detail: str
) -> None:
    good = b"a.b 1 1700000000"
    ((message, found, why),) = faults_of("graphite", good, value, good)
    assert (message, found) == (1, reason)
    assert detail in why
