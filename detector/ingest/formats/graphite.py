"""Graphite's plaintext protocol: lines of ``path value time``.

    servers.web-1.loadavg.01 0.53 1700000000
    disk.used;host=web-1;device=sda 4.2e9 1700000000

The last part of a path is the metric, and what stands before it names the stream:
``servers.web-1.loadavg``. Tags, as in the second line, are part of the stream's name. A
path of one part is a metric of the stream ``graphite``.

Time is in epoch seconds. ``-1`` or ``N``, as carbon takes them, or no time at all is
that of the record. A value that is no number is missing. A line of another form rejects
its record with all lines.

The protocol is three words, and no package on PyPI reads it: carbon is a server.

Source: Graphite's documentation, "Feeding In Your Data" and "Tag Support".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from detector.errors import BadRecord, MissingReason, RejectReason
from detector.events import MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.formats.grouped_rows import GroupedRows, Stream
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.rows import NamedValues, Rows

_NOW: Final = ("-1", "N")
_UNNAMED: Final = "graphite"


class GraphiteLines:
    """Implements Format. Metrics of one stream and time are one row."""

    def __init__(self, unknown: UnknownFields) -> None:
        pass  # nothing of a line is left out

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        rows = GroupedRows(units_a_second=1)
        for i, value in enumerate(messages.values):
            try:
                lines = list(_lines(as_bytes(value)))
            except BadRecord as fault:
                rows.reject(i, fault)
                continue
            _add(rows, i, lines)
            rows.close(i)
        return rows.rows()


class _Line(NamedTuple):
    series: str  # the path without the metric, and the tags
    metric: str
    value: float | None
    time: float  # epoch seconds, 0 if it is that of the record


def _add(rows: GroupedRows, message: int, lines: Sequence[_Line]) -> None:
    streams: dict[str, Stream] = {}
    for line in lines:
        if line.value is None:
            rows.miss(message, line.metric, MissingReason.TEXT)
            continue
        stream = streams.get(line.series)
        if stream is None:
            stream = streams[line.series] = _stream(line.series)
        rows.points.add(stream, line.time, line.value)
        rows.name(line.metric, MetricKind.UNKNOWN)


def _lines(value: bytes) -> Iterator[_Line]:
    """Raises BadRecord."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadRecord(RejectReason.ENCODING, "it is not UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if words:
            yield _line(words, number)


def _line(words: Sequence[str], number: int) -> _Line:
    if len(words) not in (2, 3):
        raise _malformed(number, "it is not `path value time`")
    path, semicolon, tags = words[0].partition(";")
    stream, _, metric = path.rpartition(".")
    if not metric:
        raise _malformed(number, "its path has no last part")
    time = 0.0
    if len(words) == 3 and words[2] not in _NOW:
        found = _number(words[2])
        if found is None or not math.isfinite(found):
            raise _malformed(number, f"{words[2]!r} is not a time")
        time = found
    return _Line(stream + semicolon + tags, metric, _number(words[1]), time)


def _stream(series: str) -> Stream:
    """A tag without a value is an empty one."""
    path, *words = series.split(";")
    pairs = (word.partition("=") for word in words if word)
    tags = {name: value for name, _, value in pairs}
    return Stream(path or _UNNAMED, tags, tags)


def _number(word: str) -> float | None:
    if "_" in word:  # Python would take it as a separator
        return None
    try:
        return float(word)
    except ValueError:
        return None


def _malformed(number: int, what: str) -> BadRecord:
    detail = f"line {number} is not of Graphite's plaintext protocol: {what}"
    return BadRecord(RejectReason.MALFORMED, detail)
