"""Cells of text that hold numbers, with units and in any notation, as numbers.

``12.5 %``, ``1.2 GiB``, ``3 ms``, ``1,234.5``, ``1.234,5`` and ``4 K`` are numbers.
Bytes, bits and durations of several sizes in one column become bytes, bits and seconds.
Any other unit stays as it is, and a column has one of them.

A cell that is no number costs itself: it is missing, and counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.events import F64

#: Words for a missing value, in lower case, as exports and people write them.
MISSING: Final = frozenset(
    ("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "undefined", "no data")
)
# a number, perhaps with groups of thousands, and what follows it
_CELL = re.compile(
    r"([+-]?(?:\d[\d.,'\u00a0\u202f ]*\d|\d)(?:[eE][+-]?\d+)?|[+-]?[.,]\d+)"
    r"\s*((?:[%‰°]|[^\W\d_])[^\d]*[23]?)?"
)
_SPACES = str.maketrans("", "", "'\u00a0\u202f ")
_GROUPED: Final = {
    ".": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"),
    ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"),
}


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a cell's unit is a multiple of."""

    base: str
    factor: float


def _sizes() -> dict[str, _Unit]:
    """Bytes and bits, with decimal and binary prefixes, and both a second."""
    units = {}
    for power, prefix in enumerate(("", "k", "M", "G", "T", "P", "E")):
        for symbol, base in (("B", "bytes"), ("b", "bits")):
            decimal = _Unit(base, 1000.0**power)
            binary = _Unit(base, 1024.0**power)
            units[f"{prefix}{symbol}"] = decimal
            units[f"{prefix.upper()}{symbol}"] = decimal
            if prefix:
                units[f"{prefix}i{symbol}"] = binary
                units[f"{prefix.upper()}i{symbol}"] = binary
    rates = {}
    for symbol, unit in units.items():
        rate = _Unit(f"{unit.base} a second", unit.factor)
        rates[f"{symbol}/s"] = rate
        rates[f"{symbol}ps"] = rate
    return units | rates


def _durations() -> dict[str, _Unit]:
    seconds: Mapping[float, Sequence[str]] = {
        1e-9: ("ns",),
        1e-6: ("µs", "μs", "us"),
        1e-3: ("ms",),
        1.0: ("s", "sec", "secs", "second", "seconds"),
        60.0: ("min", "mins", "minute", "minutes"),
        3_600.0: ("h", "hr", "hrs", "hour", "hours"),
        86_400.0: ("d", "day", "days"),
        604_800.0: ("week", "weeks"),
    }
    return {
        name: _Unit("seconds", factor)
        for factor, names in seconds.items()
        for name in names
    }


# Grafana's short numbers beside the prefixes alone
_COUNTS: Final = {
    "K": _Unit("", 1e3),
    "k": _Unit("", 1e3),
    "M": _Unit("", 1e6),
    "Mil": _Unit("", 1e6),
    "G": _Unit("", 1e9),
    "Bil": _Unit("", 1e9),
    "T": _Unit("", 1e12),
    "Tri": _Unit("", 1e12),
}
_UNITS: Final[Mapping[str, _Unit]] = (
    {"": _Unit("", 1.0)} | _COUNTS | _sizes() | _durations()
)


@dataclass(frozen=True, slots=True)
class Cells:
    """A column of text as numbers.

    Attributes:
        values: float64 [n], NaN where missing.
        bad: how many cells hold text that is no number.
        first_bad: the row of the first of them, from 1, and its text; None: there is
            none.
        units: the units that were read, as the cells write them.
        base: the unit of ``values``; empty: the cells name none.
    """

    values: F64
    bad: int
    first_bad: tuple[int, str] | None
    units: tuple[str, ...]
    base: str


def read_cells(column: pa.ChunkedArray, decimal: str = ".") -> Cells | None:
    """The numbers of a column of text; None if most of its cells are no numbers.

    ``decimal`` is the file's decimal mark, a point or a comma. The other one is taken
    if more cells are numbers with it.
    """
    encoded = pc.dictionary_encode(column.cast(pa.string()).combine_chunks())
    texts = [str(text).strip() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(texts) + 1)[:-1]
    other = "," if decimal == "." else "."
    parsed = max(
        (_Parsed(texts, counts, mark) for mark in (decimal, other)),
        key=lambda p: p.numbers,
    )
    if parsed.numbers < parsed.bad:
        return None
    values = np.append(parsed.values, np.nan)[codes]
    is_bad = np.append(parsed.is_bad, False)[codes]
    first_bad = None
    if is_bad.any():
        row = int(is_bad.argmax())
        first_bad = row + 1, texts[codes[row]]
    return Cells(values, parsed.bad, first_bad, parsed.units, parsed.base)


class _Parsed:
    """Distinct texts read with one decimal mark.

    Attributes:
        values: float64 [k], NaN where missing or bad.
        is_bad: bool [k].
        numbers, bad: how many cells are numbers, and how many are no numbers.
    """

    def __init__(self, texts: Sequence[str], counts: np.ndarray, decimal: str) -> None:
        found = [_number(text, decimal) for text in texts]
        common = _common_unit(found, counts)
        self.values = np.full(len(texts), np.nan)
        self.is_bad = np.zeros(len(texts), np.bool_)
        units = []
        for i, (text, pair) in enumerate(zip(texts, found, strict=True)):
            if pair is None:
                self.is_bad[i] = text.lower() not in MISSING
                continue
            number, name = pair
            unit = _unit(name)
            if unit.base != common and name:
                self.is_bad[i] = True
                continue
            self.values[i] = number * unit.factor
            units.append(name)
        self.base = common
        self.units = tuple(sorted(set(filter(None, units))))
        self.bad = int(counts[self.is_bad].sum())
        self.numbers = int(counts[~np.isnan(self.values)].sum())


def _common_unit(found: Sequence[tuple[float, str] | None], counts: np.ndarray) -> str:
    """The unit that most cells have; a cell without one has any."""
    bases: Counter[str] = Counter()
    for pair, count in zip(found, counts.tolist(), strict=True):
        if pair is not None and pair[1]:
            bases[_unit(pair[1]).base] += count
    return bases.most_common(1)[0][0] if bases else ""


def _unit(name: str) -> _Unit:
    return _UNITS.get(name) or _Unit(name, 1.0)


def _number(text: str, decimal: str) -> tuple[float, str] | None:
    """A number and its unit, as the cell writes it; None if it holds none."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return None if math.isnan(number) else (number, "")
    match = _CELL.fullmatch(text)
    if match is None:
        return None
    number_text = _plain(match[1], decimal)
    unit = (match[2] or "").strip()
    try:
        return float(number_text), unit
    except ValueError:
        return None


def _plain(number: str, decimal: str) -> str:
    """Without groups of thousands, and with a point."""
    number = number.translate(_SPACES)
    if _GROUPED[decimal].fullmatch(number):
        group = "," if decimal == "." else "."
        number = number.replace(group, "")
    return number.replace(",", ".") if decimal == "," else number
