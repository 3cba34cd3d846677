"""A dead letter: a rejected record with all that puts it back where it came from.

In a topic a letter is a record: the original key, bytes and headers, and headers of our
own. In a file it is one line of JSON, which holds the first bytes only.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.events import Headers, Partition, RejectedRecord

#: Bytes of a record's key and of its value that a file keeps.
KEPT: Final = 4096
#: What the names of our own headers begin with.
PREFIX: Final = "streamwarden."
#: Of a record that was put back: the letter that it came from.
REDRIVEN: Final = PREFIX + "redriven"
#: Of a record that was put back: how many times it was.
REDRIVES: Final = PREFIX + "redrives"
_LONGEST_DETAIL: Final = 500  # characters
# Of a count of redrives, which a producer may set: more are no count of ours, and int()
# refuses thousands.
_DIGITS: Final = 4
_REASON: Final = PREFIX + "reason"
_DETAIL: Final = PREFIX + "detail"
_TOPIC: Final = PREFIX + "topic"
_PARTITION: Final = PREFIX + "partition"
_OFFSET: Final = PREFIX + "offset"
_TIMESTAMP: Final = PREFIX + "timestamp"
_STREAM: Final = PREFIX + "stream"
_WHOLE: Final = PREFIX + "whole"  # only of a letter that is not
_NOT_WHOLE: Final = "false"


class NotALetter(ValueError):
    """A record or a line that holds no dead letter."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was rejected.

    Attributes:
        partition, offset: where it came from.
        reason: why, a :class:`~detector.errors.RejectReason` of some version.
        headers: the record's own.
        timestamp: the record's own, in epoch milliseconds; None if it is not known.
        is_whole: whether key, value and headers are all that the record has.
        stream: of the point that was rejected, if it is one point; else "".
    """

    partition: Partition
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None
    is_whole: bool = True
    stream: str = ""

    @property
    def name(self) -> str:
        """Names the record: the same for each letter about it, and for no other.

        Its first bytes are part of it: a topic may be deleted and created again.
        """
        sum_of_bytes = zlib.crc32((self.value or b"")[:KEPT])
        return f"{self.partition}/{self.offset}/{sum_of_bytes:08x}"

    @property
    def redrives(self) -> int:
        """How many times the record was put back before it was rejected again."""
        for name, text in self.headers:
            if name == REDRIVES and (text or b"").isdigit():
                return int((text or b"")[:_DIGITS])
        return 0


def letter_of(record: RejectedRecord) -> Letter:
    """The letter about a record that was just rejected."""
    return Letter(
        partition=record.partition,
        offset=record.offset,
        reason=record.reason.value,
        detail=_encodable(record.detail[:_LONGEST_DETAIL]),
        key=record.key,
        value=record.value,
        headers=record.headers,
        timestamp=record.timestamp,
        is_whole=record.is_whole,
        stream=record.stream,
    )


def _encodable(text: str) -> str:
    """The text with half of any surrogate pair, which UTF-8 can't hold, as an escape.

    A detail quotes what producers write.
    """
    return text.encode(errors="backslashreplace").decode()


# -- as a record of a topic ------------------------------------------------------------


def to_headers(letter: Letter) -> list[tuple[str, bytes]]:
    """The record's own headers without those of an earlier letter, then ours."""
    timestamp = "" if letter.timestamp is None else str(letter.timestamp)
    about = {
        _REASON: letter.reason,
        _DETAIL: letter.detail,
        _TOPIC: letter.partition.topic,
        _PARTITION: str(letter.partition.number),
        _OFFSET: str(letter.offset),
        _TIMESTAMP: timestamp,
        _STREAM: letter.stream,
    }
    if not letter.is_whole:
        about[_WHOLE] = _NOT_WHOLE
    ours = [(name, text.encode()) for name, text in about.items()]
    return [*own_headers(letter.headers), *ours]


def own_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The headers that the producer set, empty where they have no value.

    kafka-python (3.0.12) can't send a header without a value.
    """
    return [
        (name, value or b"")
        for name, value in headers
        if not name.startswith(PREFIX) or name in (REDRIVEN, REDRIVES)
    ]


def from_record(key: bytes | None, value: bytes | None, headers: Headers) -> Letter:
    """Raises NotALetter."""
    ours = {name: text for name, text in headers if name.startswith(PREFIX)}
    try:
        about = {name: (text or b"").decode() for name, text in ours.items()}
        timestamp = about.get(_TIMESTAMP)
        return Letter(
            partition=Partition(about[_TOPIC], int(about[_PARTITION])),
            offset=int(about[_OFFSET]),
            reason=about[_REASON],
            detail=about.get(_DETAIL, ""),
            key=key,
            value=value,
            headers=own_headers(headers),
            timestamp=int(timestamp) if timestamp else None,
            is_whole=about.get(_WHOLE) != _NOT_WHOLE,
            stream=about.get(_STREAM, ""),
        )
    except (KeyError, ValueError) as error:
        raise NotALetter("it lacks the headers of a dead letter") from error


# -- as a line of a file ---------------------------------------------------------------


def to_line(letter: Letter) -> dict[str, Any]:
    """For JSON; bytes are base64."""
    return {
        "kind": "record",
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.partition.topic,
        "partition": letter.partition.number,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
        "stream": letter.stream,
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.headers],
        "whole": letter.is_whole and _fits(letter.key) and _fits(letter.value),
    }


def from_line(line: Mapping[str, Any]) -> Letter:
    """Raises NotALetter."""
    if line.get("kind") != "record":
        raise NotALetter("it is about a notification")
    try:
        return Letter(
            partition=Partition(str(line["topic"]), int(line["partition"])),
            offset=int(line["offset"]),
            reason=str(line["reason"]),
            detail=str(line.get("detail", "")),
            key=_bytes(line["key"]),
            value=_bytes(line["value"]),
            headers=_headers(line.get("headers", ())),
            timestamp=line.get("timestamp"),
            is_whole=bool(line.get("whole")),
            stream=str(line.get("stream", "")),
        )
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise NotALetter(f"a field is missing or wrong ({error})") from error


def _headers(found: Sequence[Sequence[str | None]]) -> Headers:
    return [(str(name), _bytes(value)) for name, value in found]


def _fits(data: bytes | None) -> bool:
    return data is None or len(data) <= KEPT


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data[:KEPT]).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
