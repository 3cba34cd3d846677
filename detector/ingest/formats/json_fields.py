"""What is wrong with a JSON record, found by reading it field by field.

The fast decoders say that a record is bad, not why. Only such records come here, so
this may be slow. The reason follows from what is found, never from the wording of a
library's error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from detector.errors import BadRecord, RejectReason
from detector.ingest.checks import infinite, is_utf8

TIMESTAMP: Final = "timestamp"
STREAM: Final = "stream"
# what msgspec raises for bytes that it can't decode
UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# how line protocol begins: a measurement, perhaps with tags, and a field
_LINE = re.compile(rb"\s*[A-Za-z_][^\s{}]* [^\s=]+=")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ANY = msgspec.json.Decoder().decode
_KINDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_TIME = (float, int, str, type(None))
_TEXT = (str, type(None))
_NUMBER = (float, int, type(None))
_FLOAT_MOST: Final = float(np.finfo(np.float64).max)


def split(value: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a record, their values not read. Raises BadRecord."""
    try:
        return _FIELDS(value)
    except UNDECODABLE as error:
        raise _malformed(value, error) from None


def check(fields: Mapping[str, msgspec.Raw], features: Collection[str]) -> None:
    """Raise BadRecord if a field has another type than the record's contract says.

    Fields that are neither ``timestamp``, ``stream`` nor features are not read.
    """
    for name, value in fields.items():
        if name == TIMESTAMP:
            _expect(name, value, _TIME, "a number or text")
        elif name == STREAM:
            _expect(name, value, _TEXT, "text")
        elif name in features:
            _expect(name, value, _NUMBER, "a number")


def check_all(value: bytes) -> None:
    """Raise BadRecord if the record or the value of any of its fields can't be read."""
    fields = split(value)
    for name, field in fields.items():
        _read(name, field)
    check(fields, ())


def wrong_type(name: str, value: object, wanted: str) -> BadRecord:
    kind = _KINDS.get(type(value), "of another type")
    return BadRecord(RejectReason.TYPE, f"`{name}` is {kind}, not {wanted}")


def _expect(
    name: str, value: msgspec.Raw, allowed: tuple[type, ...], wanted: str
) -> None:
    found = _read(name, value)
    if type(found) not in allowed:
        raise wrong_type(name, found, wanted)
    if type(found) is int and abs(found) > _FLOAT_MOST:
        raise infinite(name)


def _read(name: str, value: msgspec.Raw) -> Any:
    try:
        return _ANY(value)
    except msgspec.ValidationError:  # without a type to fit, only a number is invalid
        raise infinite(name) from None
    except UNDECODABLE as error:
        raise _malformed(bytes(value), error) from None


def _malformed(value: bytes, error: Exception) -> BadRecord:
    if not is_utf8(value):
        return BadRecord(RejectReason.ENCODING, "it is not UTF-8")
    detail = f"it is not one JSON object ({error})"
    if _LINE.match(value):
        detail += "; it looks like line protocol: set DETECTOR_KAFKA__FORMAT to influx"
    return BadRecord(RejectReason.MALFORMED, detail)
