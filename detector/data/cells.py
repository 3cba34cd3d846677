"""Cells of text that hold numbers, with units and in any notation, as numbers.

``12.5 %``, ``1.2 GiB``, ``3 ms``, ``1,234.5``, ``1.234,5`` and ``4 K`` are numbers.
Multiples of a unit become that unit (:mod:`detector.data.units`), and a column has one.

A cell that is no number costs itself: it is missing, and counted. So is a number with a
word that is no known unit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.data.units import unit_of
from detector.events import F64

#: Words for a missing value, in lower case, as exports and people write them.
MISSING: Final = frozenset(
    ("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "undefined", "no data")
)
# a number, perhaps with groups of thousands, and what follows it
_CELL = re.compile(
    r"([+-]?(?:\d[\d.,'\u00a0\u202f ]*\d|\d)(?:[eE][+-]?\d+)?|[+-]?[.,]\d+)"
    r"\s*((?:[%‰°€$£]|[^\W\d_])[^\d]*[23]?)?"
)
_SPACES = str.maketrans("", "", "'\u00a0\u202f ")
_GROUPED: Final = {
    ".": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"),
    ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"),
}


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
        unknown: words after numbers that are no unit, the most frequent first.
    """

    values: F64
    bad: int
    first_bad: tuple[int, str] | None
    units: tuple[str, ...]
    base: str
    unknown: tuple[str, ...] = ()


def unknown_units(column: pa.ChunkedArray, decimal: str = ".") -> tuple[str, ...]:
    """The words that are no unit, if most cells of a column of text are a number and
    such a word; the most frequent first.
    """
    texts, codes = _distinct(column)
    parsed = _best(texts, np.bincount(codes, minlength=len(texts) + 1)[:-1], decimal)
    with_unknown = sum(parsed.unknown.values())
    return parsed.unknown_words if 2 * with_unknown >= parsed.bad > 0 else ()


def read_cells(column: pa.ChunkedArray, decimal: str = ".") -> Cells | None:
    """The numbers of a column of text; None if most of its cells are no numbers.

    ``decimal`` is the file's decimal mark, a point or a comma. The other one is taken
    if more cells are numbers with it.
    """
    texts, codes = _distinct(column)
    parsed = _best(texts, np.bincount(codes, minlength=len(texts) + 1)[:-1], decimal)
    if parsed.numbers < parsed.bad:
        return None
    values = np.append(parsed.values, np.nan)[codes]
    is_bad = np.append(parsed.is_bad, False)[codes]
    first_bad = None
    if is_bad.any():
        row = int(is_bad.argmax())
        first_bad = row + 1, texts[codes[row]]
    return Cells(
        values=values,
        bad=parsed.bad,
        first_bad=first_bad,
        units=parsed.units,
        base=parsed.base,
        unknown=parsed.unknown_words,
    )


def _distinct(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The k distinct texts, and the one of each cell [n]; k: the cell is null."""
    encoded = pc.dictionary_encode(column.cast(pa.string()).combine_chunks())
    texts = [str(text).strip() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return texts, codes


def _best(texts: Sequence[str], counts: np.ndarray, decimal: str) -> _Parsed:
    """Read with the decimal mark that makes more cells numbers, the file's first."""
    other = "," if decimal == "." else "."
    parsed = (_Parsed(texts, counts, mark) for mark in (decimal, other))
    return max(parsed, key=lambda p: p.numbers)


class _Parsed:
    """Distinct texts read with one decimal mark.

    Attributes:
        values: float64 [k], NaN where missing or bad.
        is_bad: bool [k].
        numbers, bad: how many cells are numbers, and how many are no numbers.
        unknown: cells that are a number and a word that is no unit, by the word.
    """

    def __init__(self, texts: Sequence[str], counts: np.ndarray, decimal: str) -> None:
        found = [_number(text, decimal) for text in texts]
        common = _common_unit(found, counts)
        self.values = np.full(len(texts), np.nan)
        self.is_bad = np.zeros(len(texts), np.bool_)
        self.unknown: Counter[str] = Counter()
        units = []
        for i, (text, pair) in enumerate(zip(texts, found, strict=True)):
            if pair is None:
                self.is_bad[i] = text.lower() not in MISSING
                continue
            number, name = pair
            unit = unit_of(name)
            if unit is None:
                self.unknown[name] += int(counts[i])
            if unit is None or (unit.base != common and name):
                self.is_bad[i] = True
                continue
            self.values[i] = number * unit.factor
            units.append(name)
        self.base = common
        self.units = tuple(sorted(set(filter(None, units))))
        self.bad = int(counts[self.is_bad].sum())
        self.numbers = int(counts[~np.isnan(self.values)].sum())

    @property
    def unknown_words(self) -> tuple[str, ...]:
        return tuple(word for word, _ in self.unknown.most_common())


def _common_unit(found: Sequence[tuple[float, str] | None], counts: np.ndarray) -> str:
    """The unit that most cells have; a cell without one has any."""
    bases: Counter[str] = Counter()
    for pair, count in zip(found, counts.tolist(), strict=True):
        unit = unit_of(pair[1]) if pair is not None and pair[1] else None
        if unit is not None:
            bases[unit.base] += count
    return bases.most_common(1)[0][0] if bases else ""


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
