"""Pages, heads and segments as bytes that prove themselves whole.

The form is ``magic, BLAKE2b-256 of the body, body``. The body is msgpack: plain data,
and nothing is executed when it is read.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from detector.recovery import schema_8, schema_9
from detector.recovery.snapshot import SCHEMA, Head, Page, Segment

#: The first bytes of everything stored, whatever its schema.
MAGIC = b"SWP1"
_DIGEST = 32  # bytes
#: The schemas that :func:`decode` reads.
READABLE = (schema_8.SCHEMA, schema_9.SCHEMA, SCHEMA)

Stored = TypeVar("Stored", Page, Head, Segment)


class DamagedPage(ValueError):
    """The bytes are torn or foreign; the text says which."""


class UnknownSchema(DamagedPage):
    """The bytes are whole, and another version of this program wrote them."""


class _Envelope(msgspec.Struct):
    """What every stored thing of every schema has."""

    schema: int


def encode(stored: Page | Head | Segment) -> bytes:
    body = msgspec.msgpack.encode(stored)
    return MAGIC + _digest(body) + body


def decode(data: bytes, kind: type[Stored]) -> Stored:
    """Reads this schema and the two before. Raises DamagedPage."""
    body = _body(data)
    try:
        schema = msgspec.msgpack.decode(body, type=_Envelope).schema
        if schema == SCHEMA:
            return msgspec.msgpack.decode(body, type=kind)
        if schema == schema_9.SCHEMA:
            return schema_9.decode(body, kind)
        if schema == schema_8.SCHEMA:
            return schema_8.decode(body, kind)
    except msgspec.DecodeError as error:
        raise DamagedPage(f"its content can't be read: {error}") from None
    raise UnknownSchema(
        f"it has schema {schema}; this version reads {READABLE[0]} to {SCHEMA}"
    )


def _body(data: bytes) -> bytes:
    start = len(MAGIC) + _DIGEST
    digest = data[len(MAGIC) : start]
    body = data[start:]
    if not data.startswith(MAGIC):
        raise DamagedPage("it does not begin as a page does")
    if _digest(body) != digest:
        raise DamagedPage("its digest does not match its content")
    return body


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
