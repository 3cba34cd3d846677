"""Records of Confluent's own serialisers, with a registry of its API."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Sum

from deploy.harness.schema_registry import SchemaRegistryServer
from detector.clock import Clock, SystemClock
from detector.errors import RejectReason, Transient
from detector.events import Headers, Partition, RawBatch
from detector.ingest.framing.confluent import Confluent
from detector.ingest.framing.registry import AUTO, FRAMINGS
from detector.ingest.framing.schema_registry import ASK_AGAIN, SchemaRegistry
from detector.ingest.messages import Messages
from detector.kafka.schema_registry_settings import SchemaRegistrySettings

CONTEXT = ("metrics", MessageField.VALUE)
PLAIN = b'{"a": 1}'
SCHEMA_7 = b"\0\0\0\0\x07" + PLAIN
METRIC = {
    "type": "record",
    "name": "Metric",
    "fields": [
        {"name": "stream", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "load", "type": ["null", "double"]},
        {
            "name": "price",
            "type": {
                "type": "bytes",
                "logicalType": "decimal",
                "precision": 9,
                "scale": 2,
            },
        },
    ],
}
WRITTEN = {
    "stream": "s",
    "at": datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, datetime.UTC),
    "load": 0.5,
    "price": Decimal("12.34"),
}
READ = {
    "stream": "s",
    "at": "2023-11-14T22:13:20.123456+00:00",
    "load": 0.5,
    "price": 12.34,
}


def _record(name: str, field: str) -> str:
    """An Avro schema of a record with one field, whose type is JSON."""
    fields = f'[{{"name": "f", "type": {field}}}]'
    return f'{{"type": "record", "name": "{name}", "fields": {fields}}}'


LINKED = _record("Node", '["null", "Node"]')
_EMPTY = '{"type": "record", "name": "Empty", "fields": []}'
NOTHINGS = _record("R", f'{{"type": "array", "items": {_EMPTY}}}')
DEEP = _record("D", '{"type": "array", "items": ' * 600 + '"int"' + "}" * 600)
_TIME_FILE = FileDescriptorProto(
    name="t.proto",
    syntax="proto3",
    dependency=["google/protobuf/timestamp.proto"],
)
_TIME_FILE.message_type.add(name="M").field.add(
    name="at",
    number=1,
    type="TYPE_MESSAGE",
    label="LABEL_OPTIONAL",
    type_name=".google.protobuf.Timestamp",
)
TIME = base64.b64encode(_TIME_FILE.SerializeToString()).decode()
_SECONDS = Timestamp(seconds=10**15).SerializeToString()
YEAR_9999 = b"\x0a" + bytes([len(_SECONDS)]) + _SECONDS  # and later


class MovableClock:
    """Implements Clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[SchemaRegistryServer]:
    with SchemaRegistryServer() as running:
        yield running


@pytest.fixture
def client(server: SchemaRegistryServer) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": server.url}) as made:
        yield made


_OPEN: list[SchemaRegistry] = []


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def registry(
    *servers: SchemaRegistryServer, clock: Clock | None = None, **settings: Any
) -> SchemaRegistry:
    urls = [server.url for server in servers]
    given = SchemaRegistrySettings.model_validate({"url": urls, **settings})
    made = SchemaRegistry(given, clock or SystemClock())
    _OPEN.append(made)
    return made


def batch(*values: bytes, headers: Headers = ()) -> RawBatch:
    count = len(values)
    return RawBatch(
        partition=Partition("metrics", 0),
        offsets=range(count),
        timestamps=[0] * count,
        timestamp_types=[0] * count,
        keys=[None] * count,
        values=values,
        headers=[headers] * count,
    )


def read(server: SchemaRegistryServer, *values: bytes, headers: Headers = ()) -> Any:
    """The messages of records without a fault."""
    found = Confluent(registry(server)).messages(batch(*values, headers=headers))
    assert not found.faults
    return found.values


def fault(found: Messages) -> tuple[RejectReason, str]:
    ((_, why),) = found.faults
    return why.reason, why.detail


def test_avro_is_read_with_its_logical_types(
    server: SchemaRegistryServer, client: SchemaRegistryClient
) -> None:
    serialize = AvroSerializer(client, json.dumps(METRIC))
    value = serialize(WRITTEN, SerializationContext(*CONTEXT))
    assert read(server, value, value) == [READ, READ]


def test_avro_reads_the_schemas_that_it_refers_to(
    server: SchemaRegistryServer,
) -> None:
    inner = {"type": "enum", "name": "Unit", "symbols": ["C", "F"]}
    server.register("unit", {"schema": json.dumps(inner)})
    outer = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "unit", "type": "Unit"}],
    }
    reference = {"name": "Unit", "subject": "unit", "version": 1}
    schema = {"schema": json.dumps(outer), "references": [reference]}
    schema_id = server.register("outer", schema)
    frame = b"\0" + schema_id.to_bytes(4, "big")
    assert read(server, frame + b"\x02") == [{"unit": "F"}]


def test_a_json_schema_leaves_the_json_to_the_format(
    server: SchemaRegistryServer, client: SchemaRegistryClient
) -> None:
    schema = {"title": "m", "type": "object", "properties": {"a": {"type": "number"}}}
    serialize = JSONSerializer(json.dumps(schema), client)
    value = serialize({"a": 1}, SerializationContext(*CONTEXT))
    assert [json.loads(found) for found in read(server, value)] == [{"a": 1}]


@pytest.mark.parametrize("nested", [False, True])
def test_protobuf_is_read_with_its_defaults_and_imports(
    server: SchemaRegistryServer, client: SchemaRegistryClient, nested: bool
) -> None:
    message = Sum(is_monotonic=True) if nested else InstrumentationScope(name="s")
    serialize = ProtobufSerializer(
        type(message), client, {"use.deprecated.format": False}
    )
    value = serialize(message, SerializationContext(*CONTEXT))
    (found,) = read(server, value)
    if nested:
        assert found["is_monotonic"] is True
        assert found["data_points"] == []
    else:
        assert found["name"] == "s"
        assert found["dropped_attributes_count"] == 0


def test_header_mode_names_the_schema_by_its_guid(
    server: SchemaRegistryServer, client: SchemaRegistryClient
) -> None:
    settings = {"schema.id.serializer": header_schema_id_serializer}
    serialize = AvroSerializer(client, json.dumps(METRIC), conf=settings)
    headers: Any = []  # the client's type has texts too
    value = serialize(WRITTEN, SerializationContext(*CONTEXT, headers))
    assert [name for name, _ in headers] == ["__value_schema_id"]
    assert read(server, value, headers=headers) == [READ]


def test_header_mode_of_protobuf_has_its_message_index_in_the_header(
    server: SchemaRegistryServer, client: SchemaRegistryClient
) -> None:
    settings = {
        "use.deprecated.format": False,
        "schema.id.serializer": header_schema_id_serializer,
    }
    serialize = ProtobufSerializer(InstrumentationScope, client, settings)
    headers: Any = []  # the client's type has texts too
    message = InstrumentationScope(name="s")
    value = serialize(message, SerializationContext(*CONTEXT, headers))
    (found,) = read(server, value, headers=headers)
    assert found["name"] == "s"


def test_a_schema_is_fetched_once(server: SchemaRegistryServer) -> None:
    schema_id = server.register("s", {"schema": "{}", "schemaType": "JSON"})
    framing = Confluent(registry(server))
    value = b"\0" + schema_id.to_bytes(4, "big") + PLAIN
    for _ in range(3):
        framing.messages(batch(value, value))
    assert server.requests == [f"GET /schemas/ids/{schema_id}"]


def test_without_a_registry_the_reason_names_the_frame_and_the_schema() -> None:
    found = FRAMINGS[AUTO](None).messages(batch(PLAIN, SCHEMA_7))
    reason, detail = fault(found)
    assert found.values == [PLAIN]
    assert reason is RejectReason.SCHEMA
    assert "schema 7" in detail
    assert "[kafka.schema_registry]" in detail


def test_text_in_utf_16_is_no_frame() -> None:
    text = '{"a": 1}'.encode("utf-16-be")
    found = FRAMINGS[AUTO](None).messages(batch(text))
    assert (found.values, found.faults) == ([text], [])


def test_an_unknown_schema_rejects_its_record_alone(
    server: SchemaRegistryServer,
) -> None:
    found = FRAMINGS[AUTO](registry(server)).messages(batch(PLAIN, SCHEMA_7, PLAIN))
    reason, detail = fault(found)
    assert (found.values, found.records) == ([PLAIN, PLAIN], [0, 2])
    assert reason is RejectReason.SCHEMA
    assert "does not know schema 7" in detail


def test_an_unknown_schema_is_asked_for_again_after_a_while(
    server: SchemaRegistryServer,
) -> None:
    clock = MovableClock()
    framing = Confluent(registry(server, clock=clock))
    for _ in range(3):
        framing.messages(batch(SCHEMA_7))
    assert len(server.requests) == 1
    for _ in range(7):
        server.register(
            "s", {"schema": str(len(server.requests)), "schemaType": "JSON"}
        )
        server.requests.append("registered")
    clock.now += ASK_AGAIN
    assert framing.messages(batch(SCHEMA_7)).values == [PLAIN]


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_registry_that_can_not_answer_now_loses_nothing(
    server: SchemaRegistryServer, status: int
) -> None:
    framing = Confluent(registry(server))
    server.failing = status
    with pytest.raises(Transient, match=str(status)):
        framing.messages(batch(SCHEMA_7))


def test_a_registry_that_can_not_be_reached_is_transient_and_named() -> None:
    with SchemaRegistryServer() as server:
        gone = registry(server)
    with pytest.raises(Transient, match=r"registry 127.0.0.1:\d+ can't be reached"):
        Confluent(gone).messages(batch(SCHEMA_7))


def test_the_next_address_is_asked_if_one_fails(server: SchemaRegistryServer) -> None:
    with SchemaRegistryServer() as gone:
        pass
    schema_id = server.register("s", {"schema": "{}", "schemaType": "JSON"})
    value = b"\0" + schema_id.to_bytes(4, "big") + PLAIN
    framing = Confluent(registry(gone, server))
    assert framing.messages(batch(value)).values == [PLAIN]


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"user": "u", "password": "p"}, "Basic dTpw"),
        ({"bearer_token": "t"}, "Bearer t"),
    ],
)
def test_credentials_are_sent(
    server: SchemaRegistryServer, settings: dict[str, Any], header: str
) -> None:
    server.authorization = header
    server.register("s", {"schema": "{}", "schemaType": "JSON"})
    value = b"\0\0\0\0\x01" + PLAIN
    framing = Confluent(registry(server, **settings))
    assert framing.messages(batch(value)).values == [PLAIN]


@pytest.mark.parametrize(
    ("schema", "payload", "detail"),
    [
        ({"schema": json.dumps(METRIC)}, b"\x02", "does not fit its schema 1"),
        ({"schema": '"int"'}, b"\x02", "not that of a record"),
        (
            {"schema": '{"type": "record", "name": "E", "fields": []}'},
            b"\x02",
            "1 bytes follow",
        ),
        ({"schema": "no json"}, b"", "can't be used"),
        ({"schema": '{"type": "x"}'}, b"", "can't be used"),
        ({"schema": "syntax", "schemaType": "PROTOBUF"}, b"\0", "descriptor"),
        ({"schema": "", "schemaType": "PROTOBUF"}, b"\0", "does not fit"),
        ({"schema": "", "schemaType": "PROTOBUF"}, b"", "does not fit"),
        ({"schema": "", "schemaType": "PROTOBUF"}, b"\xff" * 20, "too long"),
        ({"schema": TIME, "schemaType": "PROTOBUF"}, b"\0" + YEAR_9999, "not fit"),
        ({"schema": DEEP}, b"\x02" * 600 + b"\0" * 601, "does not fit"),
        ({"schema": LINKED}, b"\x02\0", "its type Node is recursive"),
        ({"schema": NOTHINGS}, b"\xfe\xff\x7f\0", "take no bytes"),
        ({"schema": "{}", "schemaType": "THRIFT"}, b"", "THRIFT"),
    ],
)
def test_a_payload_that_does_not_fit_is_rejected(
    server: SchemaRegistryServer, schema: dict[str, str], payload: bytes, detail: str
) -> None:
    server.register("s", schema)
    framing = Confluent(registry(server))
    for _ in range(2):  # the same from the cache
        reason, found = fault(framing.messages(batch(b"\0\0\0\0\x01" + payload)))
        assert reason is RejectReason.SCHEMA
        assert detail in found


@pytest.mark.parametrize(
    ("value", "headers", "detail"),
    [
        (b"\0\0\0", (), "ends within the frame"),
        (PLAIN, (("__value_schema_id", b"\x01abc"),), "header"),
        (PLAIN, (("__value_schema_id", None),), "header"),
    ],
)
def test_a_broken_frame_is_malformed(
    value: bytes, headers: Headers, detail: str
) -> None:
    found = FRAMINGS[AUTO](None).messages(batch(value, headers=headers))
    reason, why = fault(found)
    assert reason is RejectReason.MALFORMED
    assert detail in why


def test_a_topic_that_is_framed_has_no_record_without_a_frame() -> None:
    reason, detail = fault(Confluent(None).messages(batch(PLAIN)))
    assert reason is RejectReason.MALFORMED
    assert "no frame" in detail


def test_other_headers_and_records_without_a_frame_pass() -> None:
    headers = (("trace", b"1"),)
    found = FRAMINGS[AUTO](None).messages(batch(PLAIN, headers=headers))
    assert (found.values, found.faults) == ([PLAIN], [])
