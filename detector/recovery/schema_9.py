"""Reads pages, heads and segments of schema 9, the form before this one.

Schema 10 has each stream's labels and the rows of its counters. A page of schema 9
comes back without labels, and with streams that are not known to be counters. All else
keeps its layout.

A start writes all of them anew, in an edition of this schema
(:mod:`detector.recovery.editions`), and leaves them where they are. When no supported
upgrade starts from schema 9 any more, delete this module, its test and its test data.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from detector.recovery import snapshot
from detector.recovery.snapshot import Head, Page, Segment

SCHEMA = 9

_Stored = TypeVar("_Stored", Page, Head, Segment)


def decode(body: bytes, kind: type[_Stored]) -> _Stored:
    """``body`` in today's form. Raises msgspec.DecodeError if it has another shape."""
    stored = msgspec.msgpack.decode(body, type=kind)
    return msgspec.structs.replace(stored, schema=snapshot.SCHEMA)
