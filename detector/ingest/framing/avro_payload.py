"""Avro payloads of a schema registry.

fastavro reads them: it is written in C, maintained, has wheels for each Python, and
Confluent's own client uses it. The Apache project's own package is 10 to 20 times
slower. Logical types become what JSON has: a time is ISO 8601 text, so that it is a
clock and never a metric, and a decimal is a number.

Source: the Apache Avro specification 1.12.
"""

from __future__ import annotations

import base64
import datetime
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from detector.errors import BadRecord, RejectReason
from detector.ingest.framing.schema_registry import Schema, SchemaId, SchemaRegistry
from detector.ingest.messages import Value

_CONVERTED: Final[Sequence[tuple[Any, Callable[[Any], Any]]]] = (
    (Decimal, float),
    (datetime.date | datetime.time, lambda moment: moment.isoformat()),
    (UUID, str),
    (bytes, lambda data: base64.b64encode(data).decode()),
)
# what fastavro raises for bytes that do not fit a schema
_UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
)
_UNUSABLE: Final = (
    SchemaParseException,
    UnknownType,
    msgspec.MsgspecError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


class AvroPayload:
    """Implements Payload."""

    def __init__(
        self, schema: Schema, schema_id: SchemaId, registry: SchemaRegistry
    ) -> None:
        """Raises ValueError if the schema can't be used, and as the registry does."""
        self._schema_id = schema_id
        self._schema = _parsed(schema, registry, {}, set())

    def read(self, payload: bytes, index: bytes | None) -> Value:
        source = BytesIO(payload)
        try:
            found = fastavro.schemaless_reader(source, self._schema, None)
        except _UNREADABLE as error:
            detail = f"it does not fit its schema {self._schema_id} ({error})"
            raise BadRecord(RejectReason.SCHEMA, detail) from None
        left = len(payload) - source.tell()
        if left:
            detail = f"{left} bytes follow its record of schema {self._schema_id}"
            raise BadRecord(RejectReason.SCHEMA, detail)
        if not isinstance(found, dict):
            detail = f"its schema {self._schema_id} is not that of a record"
            raise BadRecord(RejectReason.SCHEMA, detail)
        plain: Mapping[str, Any] = _plain(found)
        return plain


def _parsed(
    schema: Schema,
    registry: SchemaRegistry,
    named: dict[str, Any],
    seen: set[tuple[str, int]],
) -> Any:
    """A schema, after those that it names. Raises ValueError."""
    for reference in schema.references:
        version = reference.subject, reference.version
        if version not in seen:
            seen.add(version)
            _parsed(registry.version(reference), registry, named, seen)
    try:
        text = msgspec.json.decode(schema.schema)
        return fastavro.parse_schema(text, named)
    except _UNUSABLE as error:
        raise ValueError(f"it is not an Avro schema ({error})") from None


def _plain(value: Any) -> Any:
    """A value of Avro as one of JSON."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    for kind, converted in _CONVERTED:
        if isinstance(value, kind):
            return converted(value)
    return value
