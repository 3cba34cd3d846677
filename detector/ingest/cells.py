"""What one cell of a record is: a number, a missing value, or no value at all.

A number may be written as text, as many producers do. Text that says that there is no
number makes the value missing; other text is no value of a metric.
"""

from __future__ import annotations

import math
import re
from typing import Final

from detector.errors import MissingReason

Cell = float | MissingReason | None

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# a decimal comma, and points or spaces between thousands
_COMMA_NUMBER: Final = re.compile(
    r"[+-]?(?:\d{1,3}(?:[. ']\d{3})+|\d+)?(?:,\d+)?(?:[eE][+-]?\d+)?"
)
_THOUSANDS: Final = re.compile(r"[. ']")
# what texts of numbers begin with
_FIRST: Final = frozenset("0123456789+-.,")
_WORDS: Final = {
    "nan": MissingReason.NAN,
    "inf": MissingReason.INFINITE,
    "infinity": MissingReason.INFINITE,
    # what producers write where a sensor has no number: spreadsheets, agents, hubs
    "": MissingReason.TEXT,
    "-": MissingReason.TEXT,
    "--": MissingReason.TEXT,
    "n/a": MissingReason.TEXT,
    "na": MissingReason.TEXT,
    "none": MissingReason.TEXT,
    "null": MissingReason.TEXT,
    "unavailable": MissingReason.TEXT,
    "unknown": MissingReason.TEXT,
}
# ASCII in two bytes each, big end first; at four characters a schema's id would be over
# 10^8, and no registry has given out that many
_UTF_16: Final = re.compile(rb"(?:\0[\t-~]){4}")
_LONGEST_WORD: Final = 12  # characters, with a sign


def number(value: float) -> Cell:
    """A number as a finite float, or why it can't be used."""
    try:
        found = float(value)
    except OverflowError:  # an integer outside the range of a float
        return MissingReason.OVERFLOW
    if math.isfinite(found):
        return found
    return MissingReason.NAN if math.isnan(found) else MissingReason.INFINITE


def text(value: str, decimal_comma: bool = False) -> Cell:
    """A number that is written as text; None if it says nothing of one."""
    stripped = value.strip()
    if stripped[:1] in _FIRST:
        if decimal_comma:
            if stripped[-1:].isdigit() and _COMMA_NUMBER.fullmatch(stripped):
                plain = _THOUSANDS.sub("", stripped).replace(",", ".")
                return number(float(plain))
        elif _NUMBER.fullmatch(stripped):
            return number(float(stripped))
    if len(stripped) > _LONGEST_WORD:
        return None
    word = stripped.lower()
    signless = word[1:] if word[:1] in ("+", "-") and len(word) > 3 else word
    return _WORDS.get(signless)


def cell(value: object, decimal_comma: bool = False) -> Cell:
    """Any value that a metric may have; None if it is none: null, a word, an object.

    A boolean is 0 or 1: whoever asks decides first whether it is a value at all.
    """
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return text(value, decimal_comma)
    return None


def is_utf_16(value: bytes) -> bool:
    """Whether it is text in UTF-16 with the big end first, and no frame of a schema
    registry, which begins with a byte 0 too.
    """
    return _UTF_16.match(value) is not None


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
