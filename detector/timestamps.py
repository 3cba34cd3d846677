"""Event times as people and producers write them: what they mean, which are possible,
and what to do about one in another unit.
"""

from __future__ import annotations

import datetime

# 1970 to 2100: what lies outside is a wrong unit (milliseconds, most often)
EARLIEST = 0.0
LATEST = 4_102_444_800.0
_UNITS = ((1, "milliseconds"), (2, "microseconds"), (3, "nanoseconds"))


def seconds(stamp: float | str) -> float:
    """Epoch seconds of a number, a number in quotes, or ISO 8601 (UTC where it has no
    offset). Raises ValueError.
    """
    try:
        return float(stamp)
    except ValueError:
        moment = datetime.datetime.fromisoformat(str(stamp))
        return (
            moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        ).timestamp()


def unit_hint(time: float) -> str:
    """What to do about a time that looks like one in another unit; empty where it does
    not.
    """
    return next(
        (
            f"; divide {unit} by 1{',000' * k}"
            for k, unit in _UNITS
            if LATEST <= time < 1000**k * LATEST
        ),
        "",
    )
