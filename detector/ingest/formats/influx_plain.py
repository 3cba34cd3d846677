"""Lines of line protocol that hold nothing but plain numbers.

Most lines have no quote, no escape and no text. What stands where in them is told by
their spaces, commas and equals signs alone. So they are split in C, and msgspec reads
the numbers, which are those of JSON but for the ``i`` of integers. A line that is
anything else is left to the parser, which says what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from line_protocol_parser import LineFormatError, parse_line

from detector.events import Labels
from detector.ingest.keying import series_name
from detector.ingest.row_builder import Row
from detector.names import LONGEST_NAME

_REMEMBERED_SERIES: Final = 8192
_REMEMBERED_NAMES: Final = 1024  # sequences of names
_LONGEST_NAMES: Final = 1 << 16  # bytes of a sequence of names that is remembered

# ASCII that can be printed, but for what separates, quotes and escapes
_PLAIN: Final = bytes(set(range(0x21, 0x7F)) - set(b',="\\'))
_INTEGER: Final = 19  # characters of an integer with its `i` that 64 bits hold for sure
_LATEST: Final = 1 << 62  # the parser takes no more than 64 bits hold
_SHORT: Final = 300  # characters of a number that is within the range of a float

_decode: Final = msgspec.json.Decoder(list[float]).decode


@dataclass(frozen=True, slots=True)
class _Series:
    """The stream of a measurement and its tags; without a name they are not plain."""

    name: str
    labels: Labels


_NOT_PLAIN: Final = _Series("", {})


class PlainLines:
    """Reads plain lines. What it remembers changes its speed alone."""

    def __init__(self) -> None:
        self._series: dict[bytes, _Series] = {}
        self._names: dict[tuple[bytes, ...], tuple[str, ...]] = {}

    def rows(self, message: int, value: bytes) -> list[tuple[Row, Labels]]:
        """The rows of a message and their labels; none if a line is not plain."""
        found = []
        for line in value.split(b"\n"):
            if not line:
                continue
            row = self._row(message, line)
            if row is None:
                return []
            found.append(row)
        return found

    def _row(self, message: int, line: bytes) -> tuple[Row, Labels] | None:
        parts = line.split(b" ")
        time = None
        if len(parts) == 3:
            time = _time(parts.pop())
            if time is None:
                return None
        if len(parts) != 2:
            return None
        key, fields = parts
        series = self._series.get(key) or self._learn_series(key)
        numbers = _numbers(fields)
        if not series.name or numbers is None:
            return None
        encoded, values = numbers
        names = self._names.get(encoded) or self._learn_names(encoded)
        if not names or len(names) != len(values):
            return None
        return (message, series.name, time, names, values), series.labels

    def _learn_series(self, key: bytes) -> _Series:
        found = _NOT_PLAIN
        if not key.translate(None, _PLAIN + b",="):
            found = _series(key.decode())
        if len(key) > LONGEST_NAME:
            return found  # it is not worth memory
        if len(self._series) >= _REMEMBERED_SERIES:
            self._series.clear()
        self._series[key] = found
        return found

    def _learn_names(self, encoded: tuple[bytes, ...]) -> tuple[str, ...]:
        """The names; none if two are the same: the parser knows which one counts."""
        names = tuple(name.decode() for name in encoded)
        if len(set(names)) < len(names) or "" in names:
            names = ()
        if sum(map(len, encoded)) > _LONGEST_NAMES:
            return names
        if len(self._names) >= _REMEMBERED_NAMES:
            self._names.clear()
        self._names[encoded] = names
        return names


def _series(key: str) -> _Series:
    try:
        point = parse_line(f"{key} value=1")
    except LineFormatError:
        return _NOT_PLAIN
    if point is None:  # a comment
        return _NOT_PLAIN
    tags = point["tags"]
    return _Series(series_name(point["measurement"], tags), tags)


def _time(digits: bytes) -> int | None:
    """A time in any unit; None if the parser must see it."""
    if not digits.isdigit() or len(digits) > _INTEGER:
        return None
    time = int(digits)
    return time if time < _LATEST else None


def _numbers(fields: bytes) -> tuple[tuple[bytes, ...], list[float]] | None:
    """The names of fields and their numbers; None if they are not plain."""
    count = fields.count(b"=")
    separators = fields.translate(None, _PLAIN)
    if not count or separators != (b"=," * count)[:-1]:
        return None
    parts = fields.replace(b"=", b",").split(b",")
    texts = parts[1::2]
    joined = b",".join(texts)
    # the parser refuses some exponents that JSON allows, and so some long numbers
    if b"e" in joined or b"E" in joined:
        return None
    if len(joined) >= _SHORT and max(map(len, texts)) >= _SHORT:
        return None
    if b"i" in joined:
        integers = [text for text in texts if text[-1:] == b"i"]
        longest = max(map(len, integers), default=0)
        if longest > _INTEGER or b"." in b"".join(integers):
            return None
        joined = b",".join([text.removesuffix(b"i") for text in texts])
    try:
        return tuple(parts[::2]), _decode(b"[%b]" % joined)
    except msgspec.MsgspecError:
        return None
