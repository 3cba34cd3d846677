"""Times of records: their units, what is no time, and what is ahead of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detector.errors import RejectReason
from detector.events import TimestampType
from detector.ingest.clocks import Faults, RowTimes, read_times
from detector.ingest.rows import Rows, named_values
from detector.record_clock import ClockBounds
from tests.fakes import raw_batch

NOW = 1_700_000_000.0
Stamp = float | str | None


def read(
    stamps: Sequence[Stamp],
    log_time: float = NOW,
    of: TimestampType = TimestampType.CREATE_TIME,
    bounds: ClockBounds | None = None,
) -> tuple[RowTimes, Faults]:
    count = len(stamps)
    raw = raw_batch([b"x"] * count, b"key", timestamp=int(log_time * 1000))
    raw = replace(raw, timestamp_types=[of] * count)
    numbers = named_values([["a"]] * count, [[1.0]] * count)
    rows = Rows(np.arange(count), ["s"] * count, list(stamps), numbers)
    faults: Faults = {}
    return read_times(raw, rows, bounds or ClockBounds(), faults), faults


@pytest.mark.parametrize(
    "stamp",
    [
        1_700_000_000.25,
        1_700_000_000_250,
        1_700_000_000_250_000,
        1_700_000_000_250_000_000,
        "1700000000250",
        "2023-11-14T22:13:20.250Z",
        "2023-11-14T23:13:20.250+01:00",
    ],
)
def test_the_magnitude_of_a_number_tells_its_unit(stamp: Stamp) -> None:
    found, faults = read([stamp, NOW])
    assert not faults
    assert found.times.tolist() == pytest.approx([NOW + 0.25, NOW], abs=1e-6)


@pytest.mark.parametrize(
    "stamp",
    [
        0,
        1,
        -5,
        3600.0,
        20_231_114,  # a date
        "20231114",
        202_311_142_213,  # a date and a time
        20_231_114_221_320,
        45_244.92,  # a day of a spreadsheet
        638_356_112_000_000_000,  # ticks since the year 1
        133_445_000_000_000_000,  # ticks since 1601
        float("inf"),
        "nan",
        "1970-01-01T00:00:00Z",
        "2101-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(stamp: Stamp) -> None:
    _, faults = read([NOW, stamp])
    assert [(row, fault.reason) for row, fault in faults.items()] == [
        (1, RejectReason.TIMESTAMP)
    ]


def test_an_early_time_can_be_allowed() -> None:
    found, faults = read([3600.0], bounds=ClockBounds(earliest=0.0))
    assert not faults
    assert found.times.tolist() == [3600.0]
    assert "earliest" in read([3600.0])[1][0].detail


@pytest.mark.parametrize("of", list(TimestampType))
def test_a_time_ahead_of_the_log_by_more_than_the_bound_is_refused(
    of: TimestampType,
) -> None:
    _, faults = read([NOW + 600, NOW + 601, NOW - 1e7], of=of)
    assert [(row, fault.reason) for row, fault in faults.items()] == [
        (1, RejectReason.FUTURE)
    ]
    assert "ahead" in faults[1].detail


@pytest.mark.parametrize("log_time", [-0.001, 0.0, 60.0])
def test_a_log_without_a_time_refutes_nothing(log_time: float) -> None:
    found, faults = read([NOW], log_time)
    assert not faults
    assert np.isnan(found.clock.log_times).all()


def test_a_record_without_a_time_has_that_of_the_log_and_its_order() -> None:
    found, faults = read([None, NOW])
    assert not faults
    assert found.times.tolist() == [NOW, NOW]
    assert found.clock.in_order.tolist() == [True, False]
    by_broker, _ = read([NOW], of=TimestampType.LOG_APPEND_TIME)
    assert by_broker.clock.in_order.tolist() == [True]
    assert by_broker.clock.is_brokers.tolist() == [True]
