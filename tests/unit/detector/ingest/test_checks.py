"""The checks that all formats share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detector.errors import BadRecord, MissingReason, RejectReason
from detector.ingest.checks import Checked, admit, check
from detector.ingest.rows import Rows, named_values, usable
from detector.record_clock import ANY_TIME
from tests.fakes import raw_batch

RAW = raw_batch([b"x", b"y"], b"host", first=70, timestamp=60_000)


def checked(
    values: list[list[float]],
    stamps: list[float | str | None],
    faults: list[tuple[int, BadRecord]] | None = None,
    records: tuple[int, ...] = (0, 0, 1),
) -> Checked:
    """Two rows of the first record, one of the second, each with fields f0, f1, …"""
    fields = [[f"f{j}" for j in range(len(row))] for row in values]
    rows = Rows(
        np.array(records),
        ["a", "b", "c"][: len(records)],
        stamps,
        named_values(fields, values),
        faults=faults or (),
    )
    return check(RAW, rows, "nothing in it", ANY_TIME)


def test_rows_without_a_fault_are_all_good() -> None:
    found = checked([[1], [2], [3]], [60, None, "1970-01-01T00:02:00Z"])
    assert found.good is None
    assert not found.rejected
    assert found.times.tolist() == [60.0, 60.0, 120.0]


@pytest.mark.parametrize(
    ("values", "stamp", "reason", "detail"),
    [
        ([2.0], "noon", RejectReason.TIMESTAMP, "noon"),
        ([2.0], 10**400, RejectReason.TIMESTAMP, "2100"),
        ([2.0], -1.0, RejectReason.TIMESTAMP, "1970"),
    ],
)
def test_a_fault_of_one_row_rejects_its_record_with_all_rows(
    values: list[float], stamp: float | str, reason: RejectReason, detail: str
) -> None:
    found = checked([[1], values, [3]], [60, stamp, 60])
    assert found.good is not None
    assert found.good.tolist() == [False, False, True]
    (rejected,) = found.rejected
    assert (rejected.offset, rejected.reason) == (70, reason)
    assert detail in rejected.detail


def test_an_empty_row_is_left_out_if_its_record_has_another() -> None:
    found = checked([[1], [], [3]], [60, 60, 60])
    assert found.good is not None
    assert found.good.tolist() == [True, False, True]
    assert not found.rejected


def test_a_record_of_empty_rows_is_rejected_by_what_the_keying_wants() -> None:
    found = checked([[], [], [3]], [60, 60, 60])
    (rejected,) = found.rejected
    assert (rejected.offset, rejected.detail) == (70, "nothing in it")


def test_rejected_records_are_in_order_of_their_offsets() -> None:
    fault = BadRecord(RejectReason.MALFORMED, "not the format")
    found = checked([[3]], [-1], faults=[(0, fault)], records=(1,))
    assert [r.offset for r in found.rejected] == [70, 71]
    assert [r.reason for r in found.rejected] == [
        RejectReason.MALFORMED,
        RejectReason.TIMESTAMP,
    ]


def test_only_records_with_a_value_of_the_right_size_are_admitted() -> None:
    raw = raw_batch([b"", b"four", None, b"long!"], b"host", first=70)
    found = admit(raw, max_bytes=4)
    assert list(found.raw.offsets) == [71]
    assert list(found.raw.values) == [b"four"]
    assert [(r.offset, r.reason) for r in found.rejected] == [
        (70, RejectReason.EMPTY),
        (73, RejectReason.TOO_LARGE),
    ]


def test_a_record_whose_values_are_all_missing_is_no_error_and_is_counted() -> None:
    rows = Rows(
        np.array([0]),
        ["a"],
        [60],
        named_values([[]], [[]]),
        missing=[(0, "x", MissingReason.NAN)],
        without_points=[1],
    )
    found = check(RAW, rows, "nothing in it", ANY_TIME)
    assert not found.rejected
    assert found.missing == {("x", MissingReason.NAN): 1}
    assert found.without_points == 2


def test_a_record_without_a_row_never_vanishes() -> None:
    rows = Rows(np.array([0]), ["a"], [60], named_values([["x"]], [[1]]))
    (rejected,) = check(RAW, rows, "nothing in it", ANY_TIME).rejected
    assert (rejected.offset, rejected.detail) == (71, "nothing in it")


def test_missing_values_of_a_rejected_record_are_not_counted() -> None:
    fault = BadRecord(RejectReason.MALFORMED, "not the format")
    rows = Rows(
        np.array([1]),
        ["a"],
        [60],
        named_values([["x"]], [[1]]),
        faults=[(0, fault)],
        missing=[(0, "x", MissingReason.NAN)],
    )
    assert not check(RAW, rows, "nothing in it", ANY_TIME).missing


def test_a_record_without_a_value_is_a_tombstone_and_no_fault() -> None:
    raw = raw_batch([None, b"four", None], b"host")
    found = admit(raw, max_bytes=4)
    assert found.tombstones == 2
    assert not found.rejected


def test_a_batch_without_a_record_is_admitted_with_its_end() -> None:
    raw = replace(raw_batch([]), end=9)
    assert admit(raw, max_bytes=4).raw.next_offset == 9


def test_numbers_that_float32_can_t_hold_are_missing_and_the_others_stay() -> None:
    numbers = named_values(
        [["a", "b"], ["c"], ["d", "e"]],
        [[1, 1e39], [np.nan], [np.inf, 2]],
    )
    rows = usable(Rows(np.array([0, 0, 1]), ["x"] * 3, [60] * 3, numbers))
    assert rows.numbers.names == [["a"], [], ["e"]]
    assert rows.numbers.values.tolist() == [1.0, 2.0]
    assert rows.numbers.counts.tolist() == [1, 0, 1]
    assert rows.missing == [
        (0, "b", MissingReason.OVERFLOW),
        (0, "c", MissingReason.NAN),
        (1, "d", MissingReason.INFINITE),
    ]


def test_a_time_of_another_unit_is_told_by_its_magnitude() -> None:
    found = checked([[1], [2], [3]], [1_700_000_000_500, "1700000000.5", 60])
    assert found.times.tolist() == [1_700_000_000.5, 1_700_000_000.5, 60.0]


def named(*names: str | None, metric: str = "x") -> Checked:
    count = len(names)
    numbers = named_values([[metric]] * count, [[1]] * count)
    rows = Rows(np.arange(count), list(names), [60.0] * count, numbers)
    raw = raw_batch([b"v"] * count, "k\u202ey".encode(), first=70)
    return check(raw, rows, "nothing in it", ANY_TIME)


def test_what_can_not_be_printed_is_encoded_in_names_and_keys() -> None:
    found = named("host-1", "a\x00b", None, "100 %")
    assert found.names == ["host-1", "a%00b", "k%E2%80%AEy", "100 %"]


@pytest.mark.parametrize(
    ("name", "metric", "detail"),
    [("s" * 1025, "x", "1024"), ("s", "m" * 257, "256")],
)
def test_a_name_that_is_too_long_rejects_its_record(
    name: str, metric: str, detail: str
) -> None:
    (rejected,) = named(name, metric=metric).rejected
    assert rejected.reason is RejectReason.LONG_NAME
    assert detail in rejected.detail
    assert not named("s" * 1024, metric="m" * 256).rejected
