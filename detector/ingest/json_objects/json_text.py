"""JSON as producers write it: one document, several lines of it, or nearly JSON.

msgspec reads what the standard says. What it refuses is read once more by Python's
reader, which knows ``NaN``, ``Infinity`` and numbers of any length, as Python, Java and
Go write them. So a bad number costs itself and not its record. Half of a surrogate
pair, as text has that was cut in UTF-16, becomes the replacement character.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, Final

import msgspec

from detector.errors import BadRecord, RejectReason
from detector.ingest.framing.lines import lines_of

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LONGEST_INTEGER: Final = 400  # digits; no float holds more

#: Why a record is rejected whose objects can't be walked.
TOO_DEEP: Final = "it is nested too deep"

# An escape of JSON (RFC 8259, section 7), a whole surrogate pair first; the group is
# half of a pair.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_REPLACEMENT: Final = r"\ufffd"

decode: Final = msgspec.json.Decoder().decode


def documents(value: bytes) -> list[Any]:
    """The documents of a message: one, or one in each line. Raises BadRecord."""
    try:
        return [tolerant(value)]
    except BadRecord as fault:
        lines = lines_of(value)
        if len(lines) < 2:
            raise
        if fault.reason is not RejectReason.MALFORMED:
            raise
    return [_line(line, number) for number, line in enumerate(lines, 1)]


def tolerant(value: bytes) -> Any:
    """One document. Raises BadRecord."""
    try:
        return decode(value)
    except UNDECODABLE as error:
        return _by_python(value, error)


def _line(line: bytes, number: int) -> Any:
    try:
        return tolerant(line)
    except BadRecord as fault:
        detail = f"line {number}: {fault.detail}"
        raise BadRecord(fault.reason, detail) from None


def _by_python(value: bytes, error: Exception) -> Any:
    try:
        text = value.decode("utf-8-sig")  # some writers put a mark of its order first
    except UnicodeDecodeError:
        raise BadRecord(RejectReason.ENCODING, "it is not UTF-8") from None
    try:
        return json.loads(_without_halves(text), parse_int=_integer, parse_float=_float)
    except (ValueError, RecursionError):
        detail = f"it is not one JSON object ({error})"
        raise BadRecord(RejectReason.MALFORMED, detail) from None


def _without_halves(text: str) -> str:
    """The text of a document without half of any surrogate pair."""
    return _ESCAPE.sub(_whole, text) if "\\ud" in text.lower() else text


def _whole(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] is None else _REPLACEMENT


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < _LONGEST_INTEGER else _float(digits)


def _float(digits: str) -> float:
    """A number; one outside the range of a float is the largest one."""
    number = float(digits)
    return math.copysign(sys.float_info.max, number) if math.isinf(number) else number
