"""Line protocol, as Telegraf and InfluxDB's clients write it; one or more lines.

    measurement,tag=value field=1.5,other=2i,up=true 1700000000000000000

Numbers are the numbers of a row, and booleans where a setting says so; strings are
ignored and counted.
Tags and measurement name the stream: see :func:`detector.ingest.keying.series_name`. A
line without a timestamp has that of its record. A record of strings alone holds no
point, and that is no fault. A line that can't be read rejects its
record with all lines, so that a record is either scored or dead-lettered.

Time is in nanoseconds by default. A writer may use another unit, and its lines do not
say which. The magnitude of the number does, for every date since February 1970.

The parser is line-protocol-parser. It is strict, written in C (2 µs a line), maintained
(2.0.1 is of October 2026) and has wheels for each Python. The other maintained packages
on PyPI only write lines.

Source: the line protocol reference of InfluxDB v2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from line_protocol_parser import LineFormatError, parse_line

from detector.errors import BadRecord, RejectReason
from detector.ingest.format import UnknownFields
from detector.ingest.formats.influx_plain import PlainLines
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows

_SERIES = re.compile(r"\s*(?:\\.|[^\\ ])*", re.DOTALL)  # up to the first bare space
_ESCAPED = re.compile(r"\\.", re.DOTALL)


class InfluxLines:
    """Implements Format. One row for each line."""

    def __init__(self, unknown: UnknownFields, booleans: bool = False) -> None:
        """``booleans``: they are metrics, as 0 and 1."""
        self._unknown = unknown
        self._no_numbers = {str} if booleans else {str, bool}
        self._plain = PlainLines()

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        built = RowBuilder()
        for i, value in enumerate(messages.values):
            plain = self._plain.rows(i, value) if type(value) is bytes else ()
            for row, labels in plain:
                built.add_row(row, labels)
            if plain:
                continue
            try:
                points = list(_points(as_bytes(value)))
            except BadRecord as fault:
                built.reject(i, fault)
                continue
            for point in points:
                self._add(built, messages, i, point)
        return built.rows()

    def _add(
        self,
        built: RowBuilder,
        messages: Messages,
        message: int,
        point: Mapping[str, Any],
    ) -> None:
        fields = point["fields"]
        numbers = fields
        if not self._no_numbers.isdisjoint(map(type, fields.values())):
            numbers = self._numbers(messages, message, fields)
        if not numbers:
            built.skip(message)
        built.add(
            message,
            point["measurement"],
            point["time"],
            numbers,
            len(fields) - len(numbers),
            point["tags"],
        )

    def _numbers(
        self, messages: Messages, message: int, fields: Mapping[str, Any]
    ) -> Mapping[str, float]:
        numbers = {}
        for name, value in fields.items():
            if type(value) in self._no_numbers:
                self._unknown.see(name, messages, message)
            else:
                numbers[name] = value
        return numbers


def _points(value: bytes) -> Iterator[Mapping[str, Any]]:
    """What each line says. Raises BadRecord, also if there is no line."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadRecord(RejectReason.ENCODING, "it is not UTF-8") from None
    count = 0
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            point = parse_line(line)
        except LineFormatError as error:
            detail = f"line {number} is not line protocol ({error}){_hint(text)}"
            raise BadRecord(RejectReason.MALFORMED, detail) from None
        if point is not None:  # a comment
            count += 1
            yield point
    if not count:
        raise BadRecord(RejectReason.NO_FEATURES, "it has no line but comments")


def _hint(text: str) -> str:
    """The remedy for a record that is JSON."""
    if not text.lstrip().startswith("{"):
        return ""
    return "; it looks like JSON: set the topic's format to json"


def _lines(text: str) -> Iterator[str]:
    """Split at line ends, but not at those within a quoted field value."""
    if '"' not in text:
        yield from text.split("\n")
        return
    parts: list[str] = []
    quoted = False
    for part in text.split("\n"):
        fields = part if quoted else _SERIES.sub("", part, count=1)
        quotes = _ESCAPED.sub("", fields).count('"')
        quoted ^= quotes % 2 == 1
        parts.append(part)
        if not quoted:
            yield "\n".join(parts)
            parts = []
    if parts:
        yield "\n".join(parts)
