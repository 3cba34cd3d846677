"""Protobuf payloads of a schema registry.

The registry is asked for the schema as a serialised descriptor, as Confluent's own
client does. So no compiler of ``.proto`` text is needed: protoc would be a program to
install, and grpcio-tools, which wraps it, brings 20 MB of gRPC. Google's well-known
types come with protobuf itself.

A message becomes its fields by their names. Fields that are at their default are given
too: proto3 does not write a zero, and a metric that is zero is a point. By protobuf's
JSON mapping, integers of 64 bits are numbers in quotes and a Timestamp is ISO 8601.

Source: Confluent's documentation of the wire format; protobuf's JSON mapping.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from detector.errors import BadRecord, RejectReason
from detector.ingest.framing.schema_registry import Schema, SchemaId, SchemaRegistry
from detector.ingest.messages import Value

_WELL_KNOWN: Final = (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
# what Confluent's tools import without a reference: options, which readers don't need
_OPTIONS: Final = "confluent/meta.proto"
_FILE: Final = "payload.proto"
_UNREADABLE: Final = (
    DecodeError,
    JsonError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)
# bits that the last byte of a number may be shifted by: protobuf's have 64 bits
_LARGEST_SHIFT: Final = 63


class ProtobufPayload:
    """Implements Payload."""

    def __init__(self, schema_id: SchemaId, registry: SchemaRegistry) -> None:
        """Raises ValueError if the schema can't be used, and as the registry does."""
        self._schema_id = schema_id
        pool = descriptor_pool.DescriptorPool()
        for known in _WELL_KNOWN:
            pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        pool.Add(FileDescriptorProto(name=_OPTIONS, package="confluent"))
        _add(pool, _FILE, registry.schema(schema_id, serialized=True), registry, set())
        try:
            self._file = pool.FindFileByName(_FILE)
        except (KeyError, TypeError) as error:
            raise ValueError(f"its descriptor is incomplete ({error})") from None
        self._classes: dict[tuple[int, ...], Any] = {}

    def read(self, payload: bytes, index: bytes | None) -> Value:
        try:
            if index is None:
                path, content = _message_path(payload)
            else:
                path, _ = _message_path(index)
                content = payload
            message = self._class(path).FromString(content)
            fields: Mapping[str, Any] = MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
        except _UNREADABLE as error:
            detail = f"it does not fit its schema {self._schema_id} ({error})"
            raise BadRecord(RejectReason.SCHEMA, detail) from None
        return fields

    def _class(self, path: tuple[int, ...]) -> Any:
        """The message at a path of indexes. Raises LookupError."""
        found = self._classes.get(path)
        if found is None:
            first, *others = path
            descriptor = list(self._file.message_types_by_name.values())[first]
            for each in others:
                descriptor = descriptor.nested_types[each]
            found = message_factory.GetMessageClass(descriptor)
            self._classes[path] = found
        return found


def _add(
    pool: descriptor_pool.DescriptorPool,
    name: str,
    schema: Schema,
    registry: SchemaRegistry,
    added: set[str],
) -> None:
    """Add a file after those that it imports. Raises ValueError."""
    for reference in schema.references:
        if reference.name not in added:
            added.add(reference.name)
            other = registry.version(reference, serialized=True)
            _add(pool, reference.name, other, registry, added)
    try:
        file = FileDescriptorProto.FromString(
            base64.b64decode(schema.schema, validate=True)
        )
        file.name = name
        pool.Add(file)
    except (binascii.Error, DecodeError, TypeError) as error:
        raise ValueError(
            f"the registry gives no serialised descriptor of {name} ({error})"
        ) from None


def _message_path(payload: bytes) -> tuple[tuple[int, ...], bytes]:
    """The indexes that lead to the message, and what follows. Raises ValueError."""
    numbers = _varints(payload)
    count, end = next(numbers)
    if count == 0:  # short for the first message
        return (0,), payload[end:]
    path = []
    for _ in range(count):
        number, end = next(numbers)
        path.append(number)
    if min(path, default=-1) < 0:
        raise ValueError("its message index is negative")
    return tuple(path), payload[end:]


def _varints(data: bytes) -> Iterator[tuple[int, int]]:
    """Numbers in zigzag encoding, and the end of each.

    Raises ValueError at the end, and for a number of more than 64 bits.
    """
    number = 0
    shift = 0
    for end, byte in enumerate(data, 1):
        if shift > _LARGEST_SHIFT:
            raise ValueError("a number of its message index is too long")
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield (number >> 1) ^ -(number & 1), end
            number = 0
            shift = 0
    raise ValueError("it ends within its message index")
