"""Event times as people and producers write them: their units, bounds and formats."""

from __future__ import annotations

import datetime
import re
from typing import Final

# Spans of time, in seconds.
MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0
WEEK = 604_800.0

# The years 1970 to 2100, in epoch seconds. A time outside is in a wrong unit, mostly
# milliseconds.
EARLIEST = 0.0
LATEST = 4_102_444_800.0
# 2000-01-01. What claims to be earlier on a topic is mostly no time at all: a clock
# that was never set (1970), a date as a number (20231114), a day of a spreadsheet
# (45000), or ticks of another epoch.
PLAUSIBLE = 946_684_800.0

# A date in numbers, and a time of day. Day and month may be in either order.
_DATE: Final = re.compile(
    r"(?:(?P<year>\d{4})(?P<a>[./-])\d\d?(?P=a)\d\d?"
    r"|(?P<one>\d\d?)(?P<b>[./-])(?P<other>\d\d?)(?P=b)\d{4})"
    r"(?:(?P<gap>[ T]|, )(?P<hour>\d\d?):\d\d(?P<second>:\d\d)?(?P<part>\.\d{1,6})?"
    r"(?P<half> [AaPp][Mm])?)?"
)
_EIGHT_DIGITS: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])[0-3]\d")

#: The setting of a topic that reads any date.
TIME_FORMAT: Final = "`time_format` in the topic's mapping"
_AN_EXAMPLE: Final = "%d.%m.%Y %H:%M:%S"
_MONTHS: Final = 12

# How many times a factor of 1000 each unit is of a second.
_UNITS = ((1, "milliseconds"), (2, "microseconds"), (3, "nanoseconds"))


def seconds(stamp: float | str) -> float:
    """Epoch seconds of a number, of a number as text, or of ISO 8601 text.

    Text without an offset is UTC. Raises ValueError for any other text.
    """
    try:
        return float(stamp)
    except ValueError:
        moment = datetime.datetime.fromisoformat(str(stamp))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def seconds_written(text: str, form: str) -> float:
    """Epoch seconds of text in the notation of ``strptime``.

    Text without an offset is UTC. Raises ValueError for any other text.
    """
    moment = datetime.datetime.strptime(text, form)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def check_form(form: str) -> None:
    """Raises ValueError if ``strptime`` can't read a date written so."""
    day = datetime.datetime(2025, 12, 31, 13, 59, 58, tzinfo=datetime.UTC)
    found = datetime.datetime.strptime(day.strftime(form), form)
    if (found.year, found.month, found.day) != (2025, 12, 31):
        raise ValueError("it has no year, month and day, such as %d.%m.%Y")


def likely_forms(text: str) -> list[str]:
    """How a text that is not ISO 8601 may be written, in the notation of ``strptime``.

    Two where day and month can't be told apart; none if it is no date in numbers.
    """
    if _EIGHT_DIGITS.fullmatch(text):
        return ["%Y%m%d"]
    found = _DATE.fullmatch(text)
    if found is None:
        return []
    clock = ""
    if found["gap"]:
        hour = "%I" if found["half"] else "%H"
        second = ":%S" if found["second"] else ""
        part = ".%f" if found["part"] else ""
        half = " %p" if found["half"] else ""
        clock = f"{found['gap']}{hour}:%M{second}{part}{half}"
    if found["year"]:
        return [f"%Y{found['a']}%m{found['a']}%d{clock}"]
    mark = found["b"]
    orders = [("%d", "%m"), ("%m", "%d")]
    if int(found["one"]) > _MONTHS or mark == ".":  # points are between day and month
        orders = orders[:1]
    elif int(found["other"]) > _MONTHS:
        orders = orders[1:]
    return [f"{one}{mark}{other}{mark}%Y{clock}" for one, other in orders]


def unreadable(stamp: object, setting: str) -> str:
    """What is said of a time that can't be read, and the setting that reads it."""
    forms = likely_forms(str(stamp).strip())
    quoted = " or ".join(f'"{form}"' for form in forms or [_AN_EXAMPLE])
    such_as = " to" if forms else ", such as"
    return (
        f"timestamp {stamp!r} is neither epoch seconds nor ISO 8601: if it is a time,"
        f" set {setting}{such_as} {quoted}"
    )


def seconds_of_any_unit(number: int) -> float:
    """Epoch seconds of a whole number of seconds, or of milli-, micro- or nanoseconds.

    The magnitude tells the unit: it is the largest that puts the time before 2100.
    """
    for units_a_second in (1, 1_000, 1_000_000):
        if number < units_a_second * LATEST:
            return number / units_a_second
    return number / 1_000_000_000


def rfc3339(time: float, digits: int = 3) -> str:
    """Epoch seconds as RFC 3339 in UTC, rounded to ``digits`` decimals: 0 or 3."""
    moment = datetime.datetime.fromtimestamp(round(time, digits), datetime.UTC)
    timespec = "milliseconds" if digits else "seconds"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def unit_hint(time: float) -> str:
    """The remedy for a time that looks like one in another unit, else empty."""
    for power, unit in _UNITS:
        if LATEST <= time < 1000**power * LATEST:
            return f"; divide {unit} by 1{',000' * power}"
    return ""
