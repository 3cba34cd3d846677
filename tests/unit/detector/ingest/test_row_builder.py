"""Rows and faults, put together one by one."""

from __future__ import annotations

import numpy as np

from detector.errors import BadRecord, MissingReason, RejectReason
from detector.events import MetricKind
from detector.ingest.row_builder import RowBuilder


def test_a_row_has_its_numbers_its_tags_and_its_record() -> None:
    built = RowBuilder()
    built.add(0, "cpu", 60.0, {"user": 1.0, "system": 2.0}, tags={"host": "a"})
    built.add(2, "mem", None, {}, ignored=3, tags={})
    rows = built.rows()
    assert rows.records.tolist() == [0, 2]
    assert (rows.names, rows.stamps) == (["cpu", "mem"], [60.0, None])
    assert list(rows.numbers.names) == [("user", "system"), ()]
    assert rows.numbers.values.tolist() == [1.0, 2.0]
    assert rows.tags == [{"host": "a"}, {}]
    assert rows.labels == rows.tags
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


def test_a_number_without_a_kind_or_a_start_has_an_unknown_one() -> None:
    built = RowBuilder()
    built.add(0, "a", None, {"x": 1.0, "y": 2.0})
    kinds = (MetricKind.COUNTER, MetricKind.GAUGE)
    built.add(1, "b", None, {"x": 1.0, "y": 2.0}, kinds=kinds, starts=(60.0, np.nan))
    numbers = built.rows().numbers
    assert numbers.kinds is not None
    assert numbers.kinds.tolist() == [0, 0, 2, 1]
    assert numbers.starts is not None
    np.testing.assert_array_equal(numbers.starts, [np.nan, np.nan, 60.0, np.nan])


def test_rows_that_say_no_kind_and_no_start_have_none() -> None:
    built = RowBuilder()
    built.add(0, "a", None, {"x": 1.0})
    rows = built.rows()
    assert (rows.numbers.kinds, rows.numbers.starts, rows.labels) == (None, None, None)


def test_labels_missing_values_and_empty_messages_are_kept_apart() -> None:
    built = RowBuilder()
    built.add(0, "a", None, {"x": 1.0})
    built.add(1, "b", None, {}, labels={"unit": "W"})
    built.miss(1, "x", MissingReason.NAN)
    built.skip(2)
    rows = built.rows()
    assert rows.labels == [None, {"unit": "W"}]
    assert rows.missing == [(1, "x", MissingReason.NAN)]
    assert rows.without_points == [2]
