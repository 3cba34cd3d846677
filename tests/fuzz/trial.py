"""Mutated records through a decoder, and what became of each."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from opentelemetry.proto.common.v1 import common_pb2

from detector.errors import BadRecord, RejectReason
from detector.events import RawBatch, RecordBatch
from detector.ingest.decoder import Decoder, metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.framing.confluent import Confluent
from detector.ingest.framing.registry import AUTO, FRAMINGS
from detector.ingest.framing.schema_registry import Reference, Schema, SchemaRegistry
from tests.fakes import raw_batch
from tests.fuzz.corpus import corpus_of
from tests.fuzz.mutation import mutated
from tests.unit.detector.ingest.formats.remote_writes import compressed

BATCH: Final = 500  # records decoded at once
FRAMED: Final = "framed"  # records of a schema registry, read as JSON
_PAGE: Final = 4096  # bytes


@dataclass(slots=True)
class Outcome:
    """What became of the records of one trial."""

    records: int = 0
    points: int = 0
    rejected: int = 0
    missing: int = 0
    without_points: int = 0

    def add(self, batch: RecordBatch) -> None:
        self.points += len(batch.names)
        self.rejected += len(batch.rejected)
        self.missing += sum(batch.missing.values())
        self.without_points += batch.without_points + batch.tombstones


class _Schemas(SchemaRegistry):
    """A registry that knows a few schemas by heart."""

    def __init__(self) -> None:
        fields = [
            {"name": "stream", "type": "string"},
            {"name": "load", "type": ["null", "double"]},
            {"name": "tags", "type": {"type": "map", "values": "bytes"}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {
                "name": "price",
                "type": {
                    "type": "bytes",
                    "logicalType": "decimal",
                    "precision": 9,
                    "scale": 2,
                },
            },
        ]
        self._avro = json.dumps({"type": "record", "name": "M", "fields": fields})

    def schema(self, schema_id: Any, serialized: bool = False) -> Schema:
        if schema_id == 1:
            return Schema(self._avro)
        if schema_id == 2:
            return Schema(_descriptor(), "PROTOBUF")
        if schema_id == 3:
            return Schema("{}", "JSON")
        raise BadRecord(RejectReason.SCHEMA, f"there is no schema {schema_id}")

    def version(self, reference: Reference, serialized: bool = False) -> Schema:
        raise BadRecord(RejectReason.SCHEMA, "there is no such version")


def names() -> list[str]:
    """What can be tried: each format, and framed records."""
    return [*FORMATS, FRAMED]


def records_of(name: str, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(f"{name} {seed}")
    corpus = _framed() if name == FRAMED else corpus_of(name)
    for _ in range(count):
        value = mutated(rng, corpus)
        if name == "prometheus_remote_write" and rng.random() < 0.9:
            value = compressed(value)
        yield value


def decoder_of(name: str) -> Decoder[Any]:
    if name == FRAMED:
        return metric_decoder(FORMATS["json"], framing=Confluent(_Schemas()))
    return metric_decoder(FORMATS[name], framing=FRAMINGS[AUTO](_Schemas()))


def run(
    name: str,
    count: int,
    seed: int,
    after_batch: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Decode that many records. Raises AssertionError if one vanishes uncounted."""
    decoder = decoder_of(name)
    outcome = Outcome()
    batch: list[bytes] = []
    for value in records_of(name, count, seed):
        batch.append(value)
        if len(batch) == BATCH or outcome.records + len(batch) == count:
            _decode(decoder, batch, outcome)
            after_batch(outcome)
            batch = []
    return outcome


def memory_mib() -> float:
    """Of this process, resident."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * _PAGE / (1 << 20)


def _decode(decoder: Decoder[Any], values: Sequence[bytes], outcome: Outcome) -> None:
    raw = raw_batch(values, b"key", outcome.records, timestamp=1_700_000_000_000)
    found = decoder.decode(raw)
    outcome.records += len(values)
    outcome.add(found)
    _check(raw, found)


def _check(raw: RawBatch, found: RecordBatch) -> None:
    """Each record is points, or rejected, or counted as one without points."""
    with_points = set(found.offsets.tolist())
    rejected = [record.offset for record in found.rejected]
    assert len(set(rejected)) == len(rejected)
    assert not with_points.intersection(rejected)
    assert found.records == len(raw), f"{found.records} of {len(raw)} were counted"
    assert np.isfinite(found.values).all()
    assert ((found.times >= 0) & (found.times < 4_102_444_800)).all()
    assert all(found.names)


def _framed() -> list[bytes]:
    tags = b"\x02\x02k\x02v\x00"
    time = b"\x80\xc0\xca\xf3\x84\xa3\x85\x06"
    record = b"\x02s\x02" + bytes(8) + tags + time + b"\x04\x04\xd2"
    message = b"\x0a\x01s\x12\x012\x20\x05"
    return [
        b"\0\0\0\0\x01" + record,
        b"\0\0\0\0\x02\0" + message,
        b'\0\0\0\0\x03{"stream": "s", "a": 1}',
    ]


def _descriptor() -> str:
    return base64.b64encode(common_pb2.DESCRIPTOR.serialized_pb).decode()
