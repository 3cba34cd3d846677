"""Rows and faults, put together one by one."""

from __future__ import annotations

from detector.errors import BadRecord, RejectReason
from detector.ingest.row_builder import RowBuilder


def test_a_row_has_its_numbers_its_tags_and_its_record() -> None:
    built = RowBuilder()
    built.add(0, "cpu", 60.0, {"user": 1.0, "system": 2.0}, tags={"host": "a"})
    built.add(2, "mem", None, {}, ignored=3, tags={})
    rows = built.rows()
    assert rows.records.tolist() == [0, 2]
    assert (rows.names, rows.stamps) == (["cpu", "mem"], [60.0, None])
    assert rows.numbers.names == [["user", "system"], []]
    assert rows.numbers.values.tolist() == [1.0, 2.0]
    assert rows.tags == [{"host": "a"}, {}]
    assert rows.ignored is not None
    assert rows.ignored.tolist() == [0, 3]


def test_rows_without_tags_say_so_and_a_fault_is_no_row() -> None:
    built = RowBuilder()
    built.add(1, None, None, {"value": 1.0})
    fault = BadRecord(RejectReason.MALFORMED, "torn")
    built.reject(0, fault)
    rows = built.rows()
    assert rows.tags is None
    assert rows.faults == [(0, fault)]
    assert rows.records.tolist() == [1]
