"""Event times: their units, their bounds, and the log's own time beside them.

A number says its unit by its magnitude: seconds, or milli-, micro- or nanoseconds. What
is before ``earliest`` in each unit is no time: 1970, a date as a number, the day number
of a spreadsheet. A topic that means it sets ``earliest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.errors import BadRecord, RejectReason
from detector.events import F64, RawBatch, TimestampType
from detector.ingest.rows import Flags, Numbers, Rows
from detector.phrases import duration
from detector.record_clock import ClockBounds, RecordClock
from detector.timestamps import (
    LATEST,
    PLAUSIBLE,
    TIME_FORMAT,
    likely_forms,
    rfc3339,
    seconds,
    unreadable,
)

Faults = dict[int, BadRecord]  # by row, the first of each
_THOUSAND = 1000.0
_BROKERS = int(TimestampType.LOG_APPEND_TIME)  # a plain number is compared faster


@dataclass(frozen=True, slots=True)
class RowTimes:
    """The times of n rows.

    Attributes:
        times: float64 [n], event time in epoch seconds; of no use for rows that have a
            fault.
        clock: what time it was when they came.
    """

    times: F64
    clock: RecordClock


def read_times(
    raw: RawBatch, rows: Rows[Numbers], bounds: ClockBounds, faults: Faults
) -> RowTimes:
    """The times of rows; adds a fault for each that can't be believed."""
    times = in_seconds(_numbers(rows.stamps, faults))
    stamped = np.fromiter(raw.timestamps, np.int64, len(raw)) / _THOUSAND
    log_times = stamped[rows.records]
    is_brokers = _are_brokers(raw)[rows.records]
    has_no_stamp = np.isnan(times)
    if has_no_stamp.any():
        has_no_stamp &= np.array([stamp is None for stamp in rows.stamps])  # not "nan"
        times = np.where(has_no_stamp, log_times, times)
    is_time = (times >= bounds.earliest) & (times < LATEST)
    for row in np.flatnonzero(~is_time).tolist():
        faults.setdefault(row, _not_a_time(float(times[row]), bounds))
    is_log_time = (log_times >= PLAUSIBLE) & (log_times < LATEST)
    log_times[~is_log_time] = np.nan
    clock = RecordClock(bounds, log_times, is_brokers, is_brokers | has_no_stamp)
    _find_future(np.where(is_time, times, -np.inf), clock, faults)
    return RowTimes(times, clock)


def _are_brokers(raw: RawBatch) -> Flags:
    """bool [records], the broker set the stamp; mostly of all or of none."""
    types = raw.timestamp_types
    count = types.count(_BROKERS)
    if count in (0, len(types)):
        return np.full(len(types), count > 0)
    return np.equal(types, _BROKERS)


def in_seconds(numbers: F64) -> F64:
    """Epoch seconds of numbers of seconds, or of milli-, micro- or nanoseconds.

    The magnitude tells the unit: it is the largest that puts the time before 2100. A
    number that is then before 2000 stays as it is: it is no time.
    """
    if not (numbers >= LATEST).any():
        return numbers
    times = numbers.copy()
    for _ in range(3):
        is_smaller_unit = np.isfinite(times) & (times >= LATEST)
        times[is_smaller_unit] /= _THOUSAND
    return np.where(times >= PLAUSIBLE, times, numbers)


def _numbers(stamps: Sequence[float | str | None], faults: Faults) -> F64:
    """float64 [n], NaN if there is no timestamp."""
    try:
        # None becomes NaN
        return np.fromiter(stamps, np.float64, len(stamps))
    except (ValueError, OverflowError):
        pass
    numbers = np.full(len(stamps), np.nan)
    for row, stamp in enumerate(stamps):
        if stamp is None:
            continue
        try:
            numbers[row] = seconds(stamp)
        except OverflowError:
            numbers[row] = np.inf
        except ValueError:
            detail = unreadable(stamp, TIME_FORMAT)
            faults[row] = BadRecord(RejectReason.TIMESTAMP, detail)
            numbers[row] = 0.0
    return numbers


def _not_a_time(time: float, bounds: ClockBounds) -> BadRecord:
    first = rfc3339(bounds.earliest, digits=0)
    detail = f"timestamp {time:.17g} is no time from {first} to 2100"
    forms = likely_forms(f"{time:.17g}")
    if forms:
        detail += f'; if it is a date, set {TIME_FORMAT} to "{forms[0]}"'
    elif 0 <= time < bounds.earliest:
        detail += "; if it is one, set `earliest` of the topic"
    return BadRecord(RejectReason.TIMESTAMP, detail)


def _find_future(times: F64, clock: RecordClock, faults: Faults) -> None:
    """Times that are ahead of the stamp of their own record."""
    ahead = times - clock.log_times
    is_future: Flags = ahead > clock.bounds.future_seconds
    for row in np.flatnonzero(is_future).tolist():
        whose = "broker's" if clock.is_brokers[row] else "record's own"
        detail = (
            f"timestamp {rfc3339(float(times[row]))} is"
            f" {duration(float(ahead[row]))} ahead of the {whose} Kafka timestamp"
        )
        faults.setdefault(row, BadRecord(RejectReason.FUTURE, detail))
