"""The frame of Confluent's serialisers: which schema a record was written with.

There are two modes. By default a record begins with a byte 0 and the schema's id, 4
bytes, big endian. In header mode the Kafka header ``__value_schema_id`` holds a byte 1
and the schema's GUID, 16 bytes, and the record is the payload alone. After either, a
Protobuf record says which message of its schema it is.

Avro and Protobuf payloads become fields; the payload of a JSON schema is JSON as it is.
Without a registry a framed record is rejected, and the reason names the schema.

As part of ``auto``, a record without a frame is passed on. No format that is read
begins with a byte 0, so a record's own first byte tells. Text in UTF-16 may begin with
one, and is passed on too.

Source: Confluent's documentation of the wire format.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Final
from uuid import UUID

from detector.errors import BadRecord, RejectReason
from detector.events import Headers, RawBatch
from detector.ingest.cells import is_utf_16
from detector.ingest.framing.avro_payload import AvroPayload
from detector.ingest.framing.payload import Payload
from detector.ingest.framing.protobuf_payload import ProtobufPayload
from detector.ingest.framing.schema_registry import Schema, SchemaId, SchemaRegistry
from detector.ingest.messages import Messages, Value

HEADER: Final = "__value_schema_id"
_BY_ID: Final = 0  # the first byte of a frame
_BY_GUID: Final = 1
_ID_END: Final = 5
_GUID_END: Final = 17


@dataclass(frozen=True, slots=True)
class Frame:
    """A framed record.

    Attributes:
        index: what follows the schema's id in a header: the message of a Protobuf
            schema. None: in the payload.
    """

    schema_id: SchemaId
    payload: bytes
    index: bytes | None = None


class Confluent:
    """Implements Framing."""

    def __init__(self, registry: SchemaRegistry | None, optional: bool = False) -> None:
        """``optional``: a record without a frame is its own message."""
        self._registry = registry
        self._optional = optional
        self._payloads: dict[SchemaId, Payload | BadRecord] = {}

    def messages(self, raw: RawBatch) -> Messages:
        """As of Framing. Raises Transient if the registry can't tell a schema now."""
        if self._optional and not _may_have_frames(raw):
            return Messages(raw, raw.values)  # type: ignore[arg-type]  # none is None
        values: list[Value] = []
        records: list[int] = []
        faults: list[tuple[int, BadRecord]] = []
        for i, (value, headers) in enumerate(zip(raw.values, raw.headers, strict=True)):
            try:
                values.append(self._message(value or b"", headers))
            except BadRecord as fault:
                faults.append((i, fault))
            else:
                records.append(i)
        return Messages(raw, values, records, faults)

    def _message(self, value: bytes, headers: Headers) -> Value:
        """Raises BadRecord or Transient."""
        frame = _frame(value, headers)
        if frame is None and self._optional:
            return value
        if frame is None:
            detail = (
                f"it has no frame of a schema registry: it begins with {value[:5]!r}"
            )
            raise BadRecord(RejectReason.MALFORMED, detail)
        payload = self._payload(frame.schema_id)
        message = payload.read(frame.payload, frame.index)
        if message:
            return message
        detail = f"its frame of schema {frame.schema_id} has no payload"
        raise BadRecord(RejectReason.MALFORMED, detail)

    def _payload(self, schema_id: SchemaId) -> Payload:
        """How records of a schema are read. Raises BadRecord or Transient."""
        found = self._payloads.get(schema_id)
        if found is None:
            found = self._compiled(schema_id)
            self._payloads[schema_id] = found
        if isinstance(found, BadRecord):
            raise found
        return found

    def _compiled(self, schema_id: SchemaId) -> Payload | BadRecord:
        if self._registry is None:
            detail = (
                f"it is framed with schema {schema_id} of a schema registry:"
                " set the registry's url in [kafka.schema_registry]"
            )
            raise BadRecord(RejectReason.SCHEMA, detail)
        schema = self._registry.schema(schema_id)
        try:
            return _payload_of(schema, schema_id, self._registry)
        except ValueError as error:
            detail = f"schema {schema_id} can't be used: {error}"
            return BadRecord(RejectReason.SCHEMA, detail)


class JsonPayload:
    """Implements Payload: the record is JSON, which a format reads."""

    def read(self, payload: bytes, index: bytes | None) -> Value:
        return payload


def _payload_of(
    schema: Schema, schema_id: SchemaId, registry: SchemaRegistry
) -> Payload:
    """Raises ValueError if the schema can't be used, and as the registry does."""
    if schema.schema_type == "JSON":
        return JsonPayload()
    if schema.schema_type == "AVRO":
        return AvroPayload(schema, schema_id, registry)
    if schema.schema_type == "PROTOBUF":
        return ProtobufPayload(schema_id, registry)
    raise ValueError(f"its type is {schema.schema_type}")


def _may_have_frames(raw: RawBatch) -> bool:
    first_bytes = map(itemgetter(0), raw.values)  # type: ignore[arg-type]  # none is None
    return _BY_ID in first_bytes or any(raw.headers)


def _frame(value: bytes, headers: Headers) -> Frame | None:
    """None: the record has none. Raises BadRecord if it is cut off."""
    for name, content in headers:
        if name == HEADER:
            schema_id, end = _schema_id(content or b"")
            if schema_id is None:
                detail = f"its header {HEADER} holds no schema id"
                raise BadRecord(RejectReason.MALFORMED, detail)
            return Frame(schema_id, value, (content or b"")[end:])
    if value[:1] != bytes([_BY_ID]) or is_utf_16(value):
        return None
    schema_id, end = _schema_id(value)
    if schema_id is None:
        detail = "it ends within the frame of a schema registry"
        raise BadRecord(RejectReason.MALFORMED, detail)
    return Frame(schema_id, value[end:])


def _schema_id(frame: bytes) -> tuple[SchemaId | None, int]:
    """The id or GUID at the start, and where it ends."""
    kind = frame[0] if frame else None
    if kind == _BY_ID and len(frame) >= _ID_END:
        return int.from_bytes(frame[1:_ID_END], "big"), _ID_END
    if kind == _BY_GUID and len(frame) >= _GUID_END:
        return UUID(bytes=frame[1:_GUID_END]), _GUID_END
    return None, 0
