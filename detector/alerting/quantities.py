"""Values with their units, as a person reads them: ``1.2 GiB``, ``35 ms``, ``93 %``.

The bundle names a metric's unit. Without one, the ending of the metric's name tells it:
those of Prometheus (https://prometheus.io/docs/practices/naming/#base-units), and the
short ones that collectors write. A name that says nothing leaves a bare number.

Bytes have binary prefixes, other units those of the SI. A time is shown in the unit
that makes it at least 1.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from detector.events import FeatureDeviation
from detector.timestamps import DAY, HOUR, MINUTE


class _Style(enum.Enum):
    """How a number is written."""

    PLAIN = enum.auto()  # with separators, or an SI prefix if it is large
    SI = enum.auto()
    BINARY = enum.auto()
    TIME = enum.auto()
    PERCENT = enum.auto()


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit, and how many of its base unit one of it is."""

    symbol: str
    style: _Style = _Style.PLAIN
    scale: float = 1.0


_BYTE = _Unit("B", _Style.BINARY)
_BIT = _Unit("bit", _Style.SI)
_PERCENT = _Unit("%", _Style.PERCENT)
_SECOND = _Unit("s", _Style.TIME)
_MILLISECOND = _Unit("s", _Style.TIME, 1e-3)
_MICROSECOND = _Unit("s", _Style.TIME, 1e-6)
_NANOSECOND = _Unit("s", _Style.TIME, 1e-9)

# What bundles and the endings of names call a unit, in lower case.
_BY_NAME = {
    "b": _BYTE,
    "byte": _BYTE,
    "bytes": _BYTE,
    "kb": _Unit("B", _Style.BINARY, 1024.0),
    "kib": _Unit("B", _Style.BINARY, 1024.0),
    "kilobytes": _Unit("B", _Style.BINARY, 1024.0),
    "mb": _Unit("B", _Style.BINARY, 1024.0**2),
    "mib": _Unit("B", _Style.BINARY, 1024.0**2),
    "megabytes": _Unit("B", _Style.BINARY, 1024.0**2),
    "gb": _Unit("B", _Style.BINARY, 1024.0**3),
    "gib": _Unit("B", _Style.BINARY, 1024.0**3),
    "gigabytes": _Unit("B", _Style.BINARY, 1024.0**3),
    "bit": _BIT,
    "bits": _BIT,
    "%": _PERCENT,
    "percent": _PERCENT,
    "percentage": _PERCENT,
    "pct": _PERCENT,
    "s": _SECOND,
    "sec": _SECOND,
    "seconds": _SECOND,
    "ms": _MILLISECOND,
    "millis": _MILLISECOND,
    "milliseconds": _MILLISECOND,
    "us": _MICROSECOND,
    "µs": _MICROSECOND,
    "microseconds": _MICROSECOND,
    "ns": _NANOSECOND,
    "nanoseconds": _NANOSECOND,
    "hz": _Unit("Hz", _Style.SI),
    "hertz": _Unit("Hz", _Style.SI),
    "w": _Unit("W", _Style.SI),
    "watts": _Unit("W", _Style.SI),
    "v": _Unit("V", _Style.SI),
    "volts": _Unit("V", _Style.SI),
    "amperes": _Unit("A", _Style.SI),
    "joules": _Unit("J", _Style.SI),
    "celsius": _Unit("°C"),
}
# The ending of a name tells a unit from this many letters on: ``us`` is a country too.
_SHORTEST_ENDING = 4
_SHORT_ENDINGS = ("ms", "pct", "sec")
# They follow the unit: Prometheus' counters, and what statistics are called.
_AFTER_THE_UNIT = ("total", "sum", "avg", "mean", "max", "min", "value")

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = (
    (1024.0**4, "Ti"),
    (1024.0**3, "Gi"),
    (1024.0**2, "Mi"),
    (1024.0, "Ki"),
)
_TIMES = (
    (DAY, "d"),
    (HOUR, "h"),
    (MINUTE, "min"),
    (1.0, "s"),
    (1e-3, "ms"),
    (1e-6, "µs"),
    (1e-9, "ns"),
)
# From this many on a plain number has a prefix: five digits are still read at a glance.
_PLAIN_BELOW = 100_000.0
# A minute is worded from two on, as in :func:`detector.phrases.duration`.
_TWICE = 2.0

# Digits from the fewest that a person needs to those that float32 holds.
_DIGITS = range(3, 10)
_FEWEST = 2
# A rounded value is off by at most this share of the deviation. By judgement: the
# deviation still looks like what it is.
_ROUNDING = 0.1


def observed_and_expected(deviation: FeatureDeviation) -> tuple[str, str]:
    """Both values in words, so precise that the deviation shows.

    The expected one may be rounder: it is an estimate.
    """
    unit = _unit_of(deviation)
    observed, expected = deviation.observed, deviation.expected
    for digits in _DIGITS:
        texts = [_in_words(value, unit, digits) for value in (observed, expected)]
        if texts[0] != texts[1] or observed == expected:
            break
    if _may_be_rounder(observed, expected):
        texts[1] = _in_words(expected, unit, _FEWEST)
    per_second = "/s" if deviation.is_rate else ""
    return f"{texts[0]}{per_second}", f"{texts[1]}{per_second}"


def metric_in_words(deviation: FeatureDeviation) -> str:
    """The metric's name in words: ``requests_per_second`` is ``requests per second``.

    A counter is shown as a rate, so its ending ``_total`` would mislead.
    """
    name = deviation.name
    if deviation.is_rate:
        name = name.removesuffix("_total")
    return name.replace("_", " ").strip() or deviation.name


def _unit_of(deviation: FeatureDeviation) -> _Unit:
    stated = deviation.unit
    if deviation.is_rate:
        stated = stated.removesuffix("/s")
    if not stated:
        return _unit_of_name(deviation.name)
    return _BY_NAME.get(stated.lower(), _Unit(stated))


def _unit_of_name(name: str) -> _Unit:
    """By its last word; in ``bytes_per_second`` by that before ``per``."""
    words = _words(name)
    if words and words[-1] in _AFTER_THE_UNIT:
        words = words[:-1]
    if "per" in words:
        words = words[: words.index("per")]
    ending = words[-1] if words else ""
    is_telling = len(ending) >= _SHORTEST_ENDING or ending in _SHORT_ENDINGS
    return _BY_NAME[ending] if is_telling and ending in _BY_NAME else _Unit("")


def _words(name: str) -> list[str]:
    for separator in ".-/ ":
        name = name.replace(separator, "_")
    return [word for word in name.lower().split("_") if word]


def _may_be_rounder(observed: float, expected: float) -> bool:
    """Whether the fewest digits leave the deviation as it is."""
    rounded = float(f"{expected:.{_FEWEST}g}")
    return abs(rounded - expected) <= _ROUNDING * abs(observed - expected)


def _in_words(value: float, unit: _Unit, digits: int) -> str:
    base = value * unit.scale
    if not math.isfinite(base) or base == 0:
        return _joined(f"{base:g}", unit.symbol)
    if unit.style is _Style.BINARY:
        return _prefixed(base, unit.symbol, _BINARY, digits)
    if unit.style is _Style.SI:
        return _prefixed(base, unit.symbol, _SI, digits)
    if unit.style is _Style.TIME:
        return _time(base, digits)
    is_plain = unit.style is _Style.PERCENT or abs(base) < _PLAIN_BELOW
    if is_plain:
        return _joined(_rounded(base, digits), unit.symbol)
    return _prefixed(base, unit.symbol, _SI, digits)


def _prefixed(
    value: float, symbol: str, prefixes: Sequence[tuple[float, str]], digits: int
) -> str:
    for factor, prefix in prefixes:
        if abs(value) >= factor:
            return _joined(_rounded(value / factor, digits), f"{prefix}{symbol}")
    return _joined(_rounded(value, digits), symbol)


def _time(seconds: float, digits: int) -> str:
    for length, name in _TIMES:
        least = _TWICE * length if length > 1 else length
        if abs(seconds) >= least:
            return _joined(_rounded(seconds / length, digits), name)
    length, name = _TIMES[-1]
    return _joined(_rounded(seconds / length, digits), name)


def _rounded(value: float, digits: int) -> str:
    """Rounded to significant digits, with separators and without an exponent."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _joined(number: str, symbol: str) -> str:
    if symbol in ("1/s", "/s"):
        return f"{number}/s"
    return f"{number} {symbol}" if symbol else number
