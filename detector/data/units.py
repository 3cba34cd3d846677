"""Units that numbers in files have: of SI and IEC, of time, and words of machines.

What a table does not know is no unit: ``12 apples`` may be a number, or a text that
begins with one. Multiples become their base: ``1.2 kW`` is 1200 W.

Sources: the SI brochure (BIPM, 9th edition), IEC 80000-13, and the units that Grafana
writes into exports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Unit:
    """What a cell's unit is a multiple of. An empty base is a plain number."""

    base: str
    factor: float = 1.0


_PREFIXES: Final = {
    "p": 1e-12,
    "n": 1e-9,
    "µ": 1e-6,  # the micro sign, and the Greek letter
    "μ": 1e-6,
    "u": 1e-6,
    "m": 1e-3,
    "c": 1e-2,
    "d": 1e-1,
    "": 1.0,
    "h": 1e2,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
}
# the sign of ohm is one of its own, and the Greek letter
_WITH_PREFIXES: Final = (
    "A Ah bar Bq cal cd eV F g Gy H Hz J l L lm lx m mol N Nm Ohm ohm Pa S Sv t V "
    "VA var W Wb Wh Ω Ω"
)
_PLAIN: Final = (
    "% ‰ ° °C °F C ℃ ℉ K dB dBA dBm dBV inHg mmHg psi rpm ppm ppb pH in ft mi yd lb "
    "oz gal mph kn m2 m² km2 km² m3 m³ cm3 cm³ ha ml/min l/min L/min l/h L/h m3/h "
    "m³/h m/s m/s² m/s2 km/h g/m³ µg/m³ mg/m³ mg/l mg/L µS/cm W/m² W/m2 kg/h € $ £ "
    "EUR USD GBP"
)
_WORDS: Final = (
    "bps celsius connections cores cpus deg degree degrees errors events fahrenheit "
    "files iops items kelvin messages msgs nodes operations ops packets pct percent "
    "pkts pods points processes queries records reqs requests rows sessions threads "
    "times transactions users"
)
_COUNTED: Final = (
    "c cmds connections errors events io ios messages msgs op operations ops p "
    "packets pkts queries rd read reads records req reqs requests rows transactions "
    "wr write writes"
)
_PER: Final = ("s", "sec", "second", "m", "min", "minute", "h", "hour")
_GRAFANA_RATES: Final = (
    "cpm cps epm eps iops mpm mps opm ops pps reqpm reqps rpm rps tps wpm wps"
)
# Grafana's short numbers beside the prefixes alone
_COUNTS: Final = {
    "K": Unit("", 1e3),
    "k": Unit("", 1e3),
    "M": Unit("", 1e6),
    "Mil": Unit("", 1e6),
    "G": Unit("", 1e9),
    "Bil": Unit("", 1e9),
    "T": Unit("", 1e12),
    "Tri": Unit("", 1e12),
}
_DURATIONS: Final[Mapping[float, str]] = {
    1e-9: "ns nanosecond nanoseconds",
    1e-6: "µs μs us microsecond microseconds",
    1e-3: "ms millisecond milliseconds",
    1.0: "s sec secs second seconds",
    60.0: "min mins minute minutes",
    3_600.0: "h hr hrs hour hours",
    86_400.0: "d day days",
    604_800.0: "week weeks",
}


def _sizes() -> dict[str, Unit]:
    """Bytes and bits, with decimal and binary prefixes, and both a second."""
    units = {}
    for power, prefix in enumerate(("", "k", "M", "G", "T", "P", "E")):
        for symbol, base in (("B", "bytes"), ("b", "bits")):
            decimal = Unit(base, 1000.0**power)
            binary = Unit(base, 1024.0**power)
            units[f"{prefix}{symbol}"] = decimal
            units[f"{prefix.upper()}{symbol}"] = decimal
            if prefix:
                units[f"{prefix}i{symbol}"] = binary
                units[f"{prefix.upper()}i{symbol}"] = binary
    for base in ("bytes", "bits"):
        units |= dict.fromkeys((base, base.removesuffix("s")), Unit(base))
    rates = {}
    for symbol, unit in units.items():
        rate = Unit(f"{unit.base} a second", unit.factor)
        rates[f"{symbol}/s"] = rate
        rates[f"{symbol}/sec"] = rate
        rates[f"{symbol}ps"] = rate
    return units | rates


def _names() -> Iterator[tuple[str, Unit]]:
    """All units; of two with one name the later counts."""
    for base in _WITH_PREFIXES.split():
        for prefix, factor in _PREFIXES.items():
            yield f"{prefix}{base}", Unit(base, factor)
    for name in f"{_PLAIN} {_WORDS} {_GRAFANA_RATES}".split():
        yield name, Unit(name)
    for what in _COUNTED.split():
        for per in _PER:
            yield f"{what}/{per}", Unit(f"{what}/{per}")
    yield from _sizes().items()
    for factor, names in _DURATIONS.items():
        for name in names.split():
            yield name, Unit("seconds", factor)
    yield from _COUNTS.items()
    yield "", Unit("")


_UNITS: Final[Mapping[str, Unit]] = dict(_names())
# Words of several letters may have any case; symbols may not: MB is not mb.
_BY_WORD: Final = {
    name.lower(): unit
    for name, unit in _UNITS.items()
    if len(name) > 3 and name.isalpha() and name.islower()
}


def unit_of(name: str) -> Unit | None:
    """The unit of this name; None if none is called so."""
    return _UNITS.get(name) or _BY_WORD.get(name.lower())
