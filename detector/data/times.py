"""A column of times as epoch seconds, whatever its unit, notation and time zone.

Numbers are seconds, milli-, micro- or nanoseconds: the magnitude of the column tells.
Text is ISO 8601, or numbers, or written as the options say. A date or time without an
offset is in the zone that the options name, else in UTC.

In an hour that a zone's clocks go through twice, the order of a stream's rows tells the
two passages apart: where the time falls back, the second one begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.errors import DataError
from detector.events import F64
from detector.timestamps import (
    EARLIEST,
    HOUR,
    LATEST,
    seconds,
    seconds_written,
    unreadable,
)

# The end of an ISO 8601 time of day that names its offset, or Z.
_OFFSET = re.compile(r".{10}.*([zZ]|[+-]\d\d(:?\d\d){0,2})", re.DOTALL)
_UNITS = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}
_DATES = 19_800_101, 21_001_231  # dates of eight digits
_EXCEL_DAYS = 29_221, 73_050  # Excel's numbers of 1980-01-01 and 2099-12-31
_QUARTER = 900.0  # seconds: every zone's offset holds for whole quarters of an hour

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a column.

    Attributes:
        seconds: float64 [n], epoch seconds.
        local: how many rows name no offset and are dates or times of day.
        unit: the unit of a column of numbers if it is not seconds, else empty.
    """

    seconds: F64
    local: int
    unit: str = ""


def read_times(
    column: pa.ChunkedArray,
    stream: npt.NDArray[np.int32],
    zone: tzinfo,
    path: Path,
    form: str = "",
) -> Times:
    """The times of n rows; ``stream`` [n] is the stream of each.

    ``form``: how they are written, in the notation of ``strptime``; empty: as numbers
    or in ISO 8601. Raises DataError that names the row.
    """
    unit = ""
    if form and not pa.types.is_temporal(column.type):
        times, is_local = _as_written(column.cast(pa.string()), form, path)
    elif pa.types.is_timestamp(column.type):
        times = _of_timestamps(column)
        is_local = np.full(len(times), column.type.tz is None)
    elif pa.types.is_date(column.type):
        times = _of_timestamps(column.cast(pa.timestamp("s")))
        is_local = np.ones(len(times), np.bool_)
    elif pa.types.is_string(column.type):
        times, is_local = _of_text(column, path)
    else:
        times = _of_numbers(column, path)
        is_local = np.zeros(len(times), np.bool_)
    if not is_local.any():
        _refuse_dates(times, path)
        times, unit = _in_seconds(times)
    _check(times, column, path)
    if is_local.any():
        times = _from_local(times, is_local, stream, zone)
    return Times(times, int(is_local.sum()), unit)


def is_time(text: str, form: str = "") -> bool:
    """Whether a cell of text is a date, or a date and a time; ``form`` says how."""
    text = text.strip()
    try:
        if form:
            seconds_written(text, form)
        else:
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return bool(form) or not text.isdigit()


def _of_timestamps(column: pa.ChunkedArray) -> F64:
    in_microseconds = pa.timestamp("us", column.type.tz)
    counts = pc.cast(column.cast(in_microseconds, safe=False), pa.int64())
    return np.asarray(counts.to_numpy(), np.float64) / 1e6


def _of_numbers(column: pa.ChunkedArray, path: Path) -> F64:
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        raise DataError(
            f"{path}: the column of times holds {column.type}, which is no time"
        ) from None
    return np.array(numbers.to_numpy(), np.float64)


def _of_text(column: pa.ChunkedArray, path: Path) -> tuple[F64, _Flags]:
    """Times, local ones as if they were UTC, and which are local."""
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        pass
    else:
        times = np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
        return times, np.zeros(len(times), np.bool_)
    times = np.empty(len(column))
    is_local = np.zeros(len(column), np.bool_)
    for i, cell in enumerate(column.to_pylist()):
        text = (cell or "").strip()
        times[i] = _iso(text, cell, path, i + 1)
        is_local[i] = not _OFFSET.fullmatch(text)
    return times, is_local


def _iso(text: str, cell: str | None, path: Path, row: int) -> float:
    try:
        return seconds(text)
    except ValueError:
        detail = unreadable(cell, "--time-format")
        raise DataError(f"{path}, row {row}: {detail}") from None


def _as_written(column: pa.ChunkedArray, form: str, path: Path) -> tuple[F64, _Flags]:
    """As :func:`_of_text`, of text in this notation."""
    times = np.empty(len(column))
    for i, cell in enumerate(column.to_pylist()):
        try:
            times[i] = seconds_written((cell or "").strip(), form)
        except ValueError:
            raise DataError(
                f"{path}, row {i + 1}: timestamp {cell!r} is not written as"
                f" --time-format says: {form}"
            ) from None
    return times, np.full(len(column), "%z" not in form and "%Z" not in form)


def _in_seconds(numbers: F64) -> tuple[F64, str]:
    """Numbers as seconds, and their unit if it is another one.

    The median tells it: a single bad time does not change the unit of all.
    """
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return numbers, ""
    middle = float(np.median(known))
    for factor, unit in _UNITS.items():
        if LATEST <= middle < factor * LATEST:
            # of whole numbers, so that 1700000000123 is not 1700000000.1230001
            return numbers / factor, unit
        if middle < LATEST:
            break
    return numbers, ""


def _refuse_dates(numbers: F64, path: Path) -> None:
    """Raises DataError for dates of eight digits and for days as Excel counts them.

    As seconds they would all be in 1970.
    """
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return
    low = float(known.min())
    high = float(known.max())
    if _DATES[0] <= low and high <= _DATES[1] and not (known % 1).any():
        raise DataError(
            f"{path}: times such as {low:.0f} are dates of eight digits:"
            ' write them as 2026-03-01, or set --time-format to "%Y%m%d"'
        )
    if _EXCEL_DAYS[0] <= low and high <= _EXCEL_DAYS[1]:
        raise DataError(
            f"{path}: times such as {low:.6g} are days as Excel counts them:"
            " give the column a format of date and time before the export"
        )


def _check(times: F64, column: pa.ChunkedArray, path: Path) -> None:
    bad = ~((times > EARLIEST) & (times < LATEST))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{path}, row {row + 1}: timestamp {column[row].as_py()!r} is not"
            " a time between 1970 and 2100, as a number or in ISO 8601"
        )


def _from_local(
    times: F64, is_local: _Flags, stream: npt.NDArray[np.int32], zone: tzinfo
) -> F64:
    """Times [n] of local clocks as epoch seconds; the others stay."""
    if zone is UTC:
        return times
    first, second = _offsets(times, zone)
    earlier = np.where(is_local, times - first, times)
    later = np.where(is_local, times - second, times)
    is_twice = is_local & (later > earlier)
    if not is_twice.any():
        return earlier
    is_second = _second_passage(times, is_twice, stream)
    return np.where(is_second, later, earlier)


def _offsets(times: F64, zone: tzinfo) -> tuple[F64, F64]:
    """Offsets from UTC [n] in seconds, in the first and the second passage."""
    quarters, place = np.unique(np.floor(times / _QUARTER), return_inverse=True)
    first = np.empty(len(quarters))
    second = np.empty(len(quarters))
    for i, quarter in enumerate(quarters.tolist()):
        moment = datetime.fromtimestamp(quarter * _QUARTER, UTC).replace(tzinfo=zone)
        first[i] = _offset(moment)
        second[i] = _offset(moment.replace(fold=1))
    return first[place], second[place]


def _offset(moment: datetime) -> float:
    offset = moment.utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def _second_passage(
    times: F64, is_twice: _Flags, stream: npt.NDArray[np.int32]
) -> _Flags:
    """bool [n], rows after the time of their stream fell back in a repeated hour.

    Rows that are newest first are read backwards.
    """
    is_second = np.zeros(len(times), np.bool_)
    order = np.argsort(stream, kind="stable")
    for of_stream in np.split(order, np.flatnonzero(np.diff(stream[order])) + 1):
        falls = np.diff(times[of_stream]) < 0
        is_backwards = falls.sum() > len(falls) / 2
        rows = of_stream[::-1] if is_backwards else of_stream
        own = times[rows]
        passages = is_twice[rows]
        latest = -np.inf
        in_second = False
        for i in np.flatnonzero(passages).tolist():
            if own[i] - latest > 2 * HOUR:  # another year's repeated hour
                in_second = False
            elif own[i] < latest:
                in_second = True
            is_second[rows[i]] = in_second
            latest = own[i]
    return is_second
