"""Plain lines are read as the parser reads them, and all others are left to it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector.ingest.formats.influx_plain import PlainLines
from tests.unit.detector.ingest.formats.reading import list_rows, rows_of

LINE = b"cpu,host=web-1,core=0 idle=90.5,busy=-3i 1700000000000000000"
COMMENT = b"#\n"  # before a record: it makes it not plain, and says nothing


@pytest.mark.parametrize(
    "value",
    [LINE, b"mem free=4096i\nmem,host=b free=0 1700000000\n", b"a=b,c=d v=-0.25 17"],
)
def test_a_line_of_numbers_is_plain(value: bytes) -> None:
    lines = value.strip().split(b"\n")
    assert len(PlainLines().rows(0, value)) == len(lines)
    assert PlainLines().rows(0, COMMENT + value) == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"cpu",
        b'cpu state="up"',
        b"cpu up=true",
        b"cpu v=1,v=2",
        b"cpu v=1e-400",
        b"cpu v=1.5i",
        b"cpu v=",
        b"c = 17",
        b"c 5 17",
        b"c =5 17",
        b"c\\ d v=1",
        b"c v=1 9223372036854775807",
        b"c v=99999999999999999999i",
        b"c,host=a,host=b v=1",
        b"c v=0." + b"0" * 320 + b"1",
        b"c v=1,w=2=3,4",
        b"#c v=1",
        b"c v=1\r\n",
        "c v=1,°=2".encode(),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(value: bytes) -> None:
    assert PlainLines().rows(0, value) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 80), st.sampled_from(list(b' ,=\\"i.e-01a\n\t#'))),
        max_size=4,
    )
)
@example([(len(b"cpu"), ord(" "))])
def test_a_line_is_read_the_same_whichever_way_it_is_read(
    changes: list[tuple[int, int]],
) -> None:
    value = bytearray(LINE)
    for place, byte in changes:
        value[place % len(value)] = byte
    fast = rows_of("influx", bytes(value))
    slow = rows_of("influx", COMMENT + bytes(value))
    assert list_rows(fast) == list_rows(slow)
    assert len(fast.faults) == len(slow.faults)
