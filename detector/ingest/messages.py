"""The messages that records hold: what a framing finds, and what a format reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detector.errors import BadRecord, RejectReason
from detector.events import Headers, RawBatch

# a JSON record or another text as bytes; what a binary framing decoded, by its fields
Value = bytes | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Messages:
    """The n messages of a batch, in the order of its records.

    Attributes:
        raw: the records. A record has one message, several, or none.
        values: of the messages; none is empty.
        records: the index of each message's record, never falling; None: each record is
            one message.
        faults: records whose framing is broken, by index. They may have messages.
        without_points: records that hold no message and have no fault, by index.
    """

    raw: RawBatch
    values: Sequence[Value]
    records: Sequence[int] | None = None
    faults: Sequence[tuple[int, BadRecord]] = ()
    without_points: Sequence[int] = ()

    def record(self, message: int) -> int:
        """The index of a message's record."""
        return message if self.records is None else self.records[message]

    def offset(self, message: int) -> int:
        """The offset of a message's record."""
        return self.raw.offsets[self.record(message)]

    def key(self, message: int) -> bytes | None:
        """The key of a message's record."""
        return self.raw.keys[self.record(message)]

    def keys(self) -> Sequence[bytes | None]:
        """The key of each message's record."""
        keys = self.raw.keys
        return keys if self.records is None else [keys[i] for i in self.records]

    def headers(self, message: int) -> Headers:
        """The headers of a message's record."""
        return self.raw.headers[self.record(message)]


class Framing(Protocol):
    """Takes records apart into messages. It keeps nothing from batch to batch."""

    def messages(self, raw: RawBatch) -> Messages:
        """The messages of a batch; none of its values is None or empty.

        A record whose framing is broken is one of the ``faults`` and raises nothing.
        """
        ...


def as_bytes(value: Value) -> bytes:
    """A message for a format that reads bytes alone. Raises BadRecord."""
    if isinstance(value, bytes):
        return value
    raise BadRecord(
        RejectReason.MALFORMED,
        "its framing decodes it into fields: set the topic's format to json",
    )
