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
from collections.abc import Callable, Sequence
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
_NAMED: Final = ("record", "error", "fixed", "enum")
# where an array and a map say what is in them; an entry of a map has a key too
_ELEMENTS: Final = {"array": "items", "map": "values"}


class AvroPayload:
    """Implements Payload."""

    def __init__(
        self, schema: Schema, schema_id: SchemaId, registry: SchemaRegistry
    ) -> None:
        """Raises ValueError if the schema can't be used, and as the registry does."""
        self._schema_id = schema_id
        named: dict[str, Any] = {}
        self._schema = _parsed(schema, registry, named, set())
        _check(self._schema, named)

    def read(self, payload: bytes, index: bytes | None) -> Value:
        source = BytesIO(payload)
        try:
            found = fastavro.schemaless_reader(source, self._schema, None)
            plain = _plain(found)
        except _UNREADABLE as error:
            detail = f"it does not fit its schema {self._schema_id} ({error})"
            raise BadRecord(RejectReason.SCHEMA, detail) from None
        left = len(payload) - source.tell()
        if left:
            detail = f"{left} bytes follow its record of schema {self._schema_id}"
            raise BadRecord(RejectReason.SCHEMA, detail)
        if not isinstance(plain, dict):
            detail = f"its schema {self._schema_id} is not that of a record"
            raise BadRecord(RejectReason.SCHEMA, detail)
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


def _check(schema: Any, named: dict[str, Any]) -> None:
    """Refuse a schema with which a small payload could take any memory or stack.

    Raises ValueError.
    """
    try:
        _least_bytes(schema, named, {})
    except RecursionError:
        raise ValueError("its schema is nested too deeply") from None


def _least_bytes(
    schema: Any, named: dict[str, Any], known: dict[str, int | None]
) -> int:
    """Bytes that a value of a parsed schema takes at least.

    Args:
        schema: as fastavro gives it, with full names.
        named: the named types that it refers to.
        known: what the named types so far take; None: it is not known yet.

    Raises ValueError for a schema that is to be refused.
    """
    if isinstance(schema, list):
        members = (_least_bytes(each, named, known) for each in schema)
        return 1 + min(members, default=0)
    if isinstance(schema, str):
        if schema == "null" or schema not in named:
            return int(schema != "null")
        schema = named[schema]
    kind = schema["type"]
    if kind in _NAMED:
        return _least_of_named(schema, named, known)
    if kind in _ELEMENTS:
        elements = schema[_ELEMENTS[kind]]
        least = _least_bytes(elements, named, known)
        if kind == "array" and not least:
            raise ValueError("the items of an array take no bytes")
        return 1
    return int(kind != "null")


def _least_of_named(
    schema: Any, named: dict[str, Any], known: dict[str, int | None]
) -> int:
    """As :func:`_least_bytes`, of a record, an error, a fixed or an enum."""
    name = schema["name"]
    if name not in known:
        known[name] = None
        if schema["type"] == "fixed":
            known[name] = int(schema["size"])
        elif schema["type"] == "enum":
            known[name] = 1
        else:
            types = [field["type"] for field in schema["fields"]]
            known[name] = sum(_least_bytes(each, named, known) for each in types)
    least = known[name]
    if least is None:
        # fastavro follows it in C without a limit, and would end the process
        raise ValueError(f"its type {name} is recursive")
    return least


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
