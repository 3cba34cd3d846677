"""What the name of a field gives away: a clock, or an identity.

A clock is never a metric: its value rises for ever and says nothing. A name alone does
not make one, since a field ``time`` may be a duration. So the value must have a clock's
magnitude, or be a date. An identity is a number that only names something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from detector.timestamps import LATEST, seconds

#: The time of a record by the contract of flat JSON, whatever its value is.
TIMESTAMP: Final = "timestamp"
STREAM: Final = "stream"

# 2000-01-01 in epoch seconds: no clock that works says less
_EARLIEST_CLOCK: Final = 946_684_800.0
_UNITS_A_SECOND: Final = (1.0, 1e3, 1e6, 1e9)
# names of a record's time, without their separators; the first that is there counts
_TIMES: Final = (
    "timestamp",
    "time",
    "ts",
    "eventtime",
    "eventtimestamp",
    "datetime",
    "date",
    "clock",
    "epoch",
    "unixtime",
    "unixtimestamp",
    "timestampms",
    "timems",
    "tsms",
    "timestampus",
    "timestampns",
    "timeunixnano",
    "datetimeutc",
    "utc",
    "at",
    "t",
)
_RANK: Final = {name: rank for rank, name in enumerate(_TIMES)}
# the names of a time that must be readable if it is text
_PLAIN_TIMES: Final = frozenset(("timestamp", "time", "ts", "datetime", "date"))
_SEPARATORS: Final = re.compile(r"[@_\-. ]")
_CLOCK_END: Final = re.compile(
    r"(?:[_\-.](?:time|timestamp|ts|at|date|epoch|ms)|(?<=[a-z])(?:Time|Timestamp|At|Date))$"
)
# names of moments: no metrics if they hold one, and not the time of their record
_MOMENT_END: Final = re.compile(
    r"(?:^|[_\-.])(?:start|started|begin|end|ended|seen|changed|updated|modified|created"
    r"|expires)$|(?<=[a-z])(?:Start|Started|Begin|End|Ended|Seen|Changed|Updated|Modified"
    r"|Created|Expires)$"
)
_ID: Final = re.compile(
    r"(?:^|[_\-.@])(?:id|ids|uuid|guid|uid|eui|imei|imsi|iccid|mac|serial|version)$"
    r"|(?<=[a-z])(?:Id|ID|Eui|EUI|Imei|Imsi|Iccid|Mac|Serial|Version)$"
)
# digits that are no number: nobody writes a number so, but addresses and serial numbers
_DIGITS: Final = re.compile(r"0\d{3,}")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
_NUMERIC: Final = re.compile(r"\d+(?:\.\d*)?")
_NAMES: Final = 4096  # of which it is remembered what they are


def leaf(name: str) -> str:
    """The last part of a dotted name."""
    return name.rpartition(".")[2] or name


@lru_cache(_NAMES)
def clock_rank(name: str) -> int | None:
    """How likely a field of this name is the time of its record, 0 first.

    None if the name is not that of a clock.
    """
    last = leaf(name)
    rank = _RANK.get(_joined(last))
    if rank is not None:
        return rank
    return len(_TIMES) if _CLOCK_END.search(last) else None


def is_plain_time(name: str) -> bool:
    """Whether a field of this name is a time, whatever it holds."""
    return _joined(name) in _PLAIN_TIMES


def _joined(name: str) -> str:
    """A name in lower case without its separators: ``date_time`` is ``datetime``."""
    return _SEPARATORS.sub("", name.strip().lower())


@lru_cache(_NAMES)
def may_be_clock(name: str) -> bool:
    """Whether a field of this name is a clock, if its value is one: the time of its
    record, or another moment.
    """
    is_moment = _MOMENT_END.search(leaf(name)) is not None
    return is_moment or clock_rank(name) is not None


@lru_cache(_NAMES)
def is_id(name: str) -> bool:
    """Whether a field of this name identifies something and measures nothing."""
    return _ID.search(leaf(name)) is not None


def identifies(value: object) -> bool:
    """Whether a value is text of digits that names something: ``00189440``."""
    return isinstance(value, str) and _DIGITS.fullmatch(value) is not None


def is_clock(value: object) -> bool:
    """Whether a value is a time of a clock: a date, or a number of its magnitude."""
    if type(value) is float or type(value) is int:
        return any(
            _EARLIEST_CLOCK * units <= value < LATEST * units
            for units in _UNITS_A_SECOND
        )
    if not isinstance(value, str):
        return False
    if _NUMERIC.fullmatch(value):
        return len(value) < 40 and is_clock(float(value))
    return _is_date(value)


def _is_date(value: str) -> bool:
    if not _ISO.fullmatch(value):
        return False
    try:
        seconds(value)
    except ValueError:
        return False
    return True


def is_time(name: str, value: object) -> bool:
    """Whether a field whose name is a clock's holds a time, if perhaps a broken one."""
    if is_clock(value):
        return True
    if not isinstance(value, str) or not any(map(str.isdigit, value)):
        return False
    return is_plain_time(name)


def time_field(fields: Iterable[tuple[str, object]]) -> str | None:
    """The field that is the time of its record; None if no field is."""
    best: tuple[int, str] | None = None
    for name, value in fields:
        rank = clock_rank(name)
        if rank is None or (best is not None and best[0] <= rank):
            continue
        if is_time(name, value):
            best = rank, name
    return None if best is None else best[1]
