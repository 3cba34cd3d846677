"""Event times as people and producers write them: their units, bounds and formats."""

from __future__ import annotations

import datetime

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
