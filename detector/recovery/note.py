"""Which incidents receivers know of, as a note beside the committed offset.

Theory of operation. A store may be lost with all that it holds. The group's offsets
are at the broker, and Kafka keeps a text with each. So the incidents that are open as
of that offset are in that text, the gravest first. It has room for about a hundred, and
says how many more there are. :mod:`detector.recovery.told` makes use of it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Annotated, Final

import msgspec

from detector.events import Severity
from detector.timestamps import EARLIEST, LATEST

#: Characters: a broker takes 4,096 by default (``offset.metadata.max.bytes``).
LONGEST: Final = 3_500
#: Incidents that are put into a note at most, before it is cut to its length.
MOST: Final = 300
# What a note of this form begins with.
_FORM = "sw1:"
# Bytes that a note may take when it is unpacked: anybody may commit an offset.
_MOST_BYTES = 1 << 20

# What a note may say. Anything else is not ours, and nothing of it is believed: a
# partition that can't begin would stop the daemon at each start.
_Time = Annotated[float, msgspec.Meta(ge=EARLIEST, lt=LATEST)]
_Gravity = Annotated[
    int, msgspec.Meta(ge=int(Severity.WARNING), le=int(Severity.CRITICAL))
]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class ToldIncident(msgspec.Struct, frozen=True, array_like=True):
    """An open incident that receivers were told of.

    Attributes:
        starts_at: event time in epoch seconds.
        severity: a :class:`Severity`'s number.
    """

    stream: str
    starts_at: _Time
    severity: _Gravity


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The open incidents of a partition; ``unlisted`` is how many more there are."""

    incidents: tuple[ToldIncident, ...] = ()
    unlisted: _Count = 0

    def __len__(self) -> int:
        return len(self.incidents) + self.unlisted


NOBODY_WAITS: Final = Told()


def to_note(told: Told) -> str:
    """As text of at most :data:`LONGEST` characters; "" if there is no incident."""
    if not len(told):
        return ""
    listed = len(told.incidents)
    note = _packed(told)
    while len(note) > LONGEST:
        listed = listed * 3 // 4
        note = _packed(Told(told.incidents[:listed], len(told) - listed))
    return note


def of_note(note: str) -> Told:
    """What a note says; of any other text, that nobody waits.

    A stream is in one incident at most.
    """
    if not note.startswith(_FORM):
        return NOBODY_WAITS
    try:
        packed = base64.b85decode(note.removeprefix(_FORM))
        body = zlib.decompressobj().decompress(packed, _MOST_BYTES)
        told = msgspec.msgpack.decode(body, type=Told)
    except (ValueError, zlib.error, binascii.Error, msgspec.DecodeError):
        return NOBODY_WAITS
    streams = {incident.stream for incident in told.incidents}
    return told if len(streams) == len(told.incidents) else NOBODY_WAITS


def _packed(told: Told) -> str:
    body = zlib.compress(msgspec.msgpack.encode(told), 9)
    return _FORM + base64.b85encode(body).decode()
