"""Records in a file, as a topic holds them: one a line, in any format that is known.

A line is a record's value. Or it is an object with the record around it, as ``kcat -J``
writes it: ``key``, ``payload`` and ``ts`` in milliseconds. ``payload_base64`` holds
bytes that are no text. A file that is one JSON document is one record.

The records take the daemon's own way: framing, format, checks and keying.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from detector.data.narrow import Narrow
from detector.data.read_options import ReadOptions
from detector.data.record_totals import told
from detector.data.table import StreamFacts, Table
from detector.errors import DataError, RejectReason
from detector.events import (
    SINGLE_METRIC,
    U8,
    Labels,
    Partition,
    RawBatch,
    RecordBatch,
    RejectedRecord,
    TimestampType,
)
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import NAMES, format_kind
from detector.ingest.framing.registry import AUTO, FRAMINGS
from detector.names import split_metric

SUFFIXES: Final = (".ndjson", ".jsonl", ".json", ".ndjson.gz", ".jsonl.gz", ".json.gz")
# Records that are decoded at once.
_BATCH: Final = 8192
# Milliseconds of a record without a timestamp of its own: no time, so one in it counts.
_NO_TIMESTAMP: Final = -1


class _Envelope(msgspec.Struct):
    """A record with what is around it; other fields of kcat are not read."""

    payload: str | None = None
    payload_base64: str | None = None
    key: str | None = None
    ts: int = _NO_TIMESTAMP


_envelopes = msgspec.json.Decoder(_Envelope)
_documents = msgspec.json.Decoder()


def is_record_file(path: Path) -> bool:
    """Whether its name says that it holds records."""
    return path.name.endswith(SUFFIXES)


def read_records(path: Path, options: ReadOptions) -> Narrow:
    """The points of a file of records. Raises DataError."""
    kind = format_kind(options.record_format, {})
    if kind is None:
        raise DataError(
            f"there is no format {options.record_format!r}: use one of {', '.join(NAMES)}"
        )
    decoder = metric_decoder(kind, framing=FRAMINGS[AUTO](None))
    partition = Partition(path.name, 0)
    decoded = [decoder.decode(raw) for raw in _raw_batches(path, partition)]
    batches = list(told(decoded))
    rejected = [record for batch in batches for record in batch.rejected]
    if not any(len(batch.names) for batch in batches):
        raise DataError(_no_point(path, rejected))
    return _narrow(path, batches, tuple(_notes(rejected, batches)))


def _raw_batches(path: Path, partition: Partition) -> Iterator[RawBatch]:
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            content: bytes = stream.read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    records = [_record(line) for line in _lines(content)]
    for start in range(0, len(records), _BATCH):
        part = records[start : start + _BATCH]
        count = len(part)
        yield RawBatch(
            partition=partition,
            offsets=range(start, start + count),
            timestamps=[record.ts for record in part],
            timestamp_types=[TimestampType.CREATE_TIME] * count,
            keys=[_bytes(record.key) for record in part],
            values=[_value(record) for record in part],
            headers=[()] * count,
        )


def _lines(content: bytes) -> list[bytes]:
    """The lines that are not empty; one for a document of several lines."""
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) > 1 and not _is_json(lines[0]) and _is_json(content):
        return [content]
    return lines


def _is_json(text: bytes) -> bool:
    try:
        _documents.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _record(line: bytes) -> _Envelope:
    """A line that is no envelope is a value."""
    if b'"payload' in line:
        try:
            found = _envelopes.decode(line)
        except msgspec.MsgspecError:
            pass
        else:
            return found
    return _Envelope(payload=line.decode("utf-8", "surrogateescape"))


def _value(record: _Envelope) -> bytes | None:
    if record.payload_base64 is not None:
        try:
            return base64.b64decode(record.payload_base64, validate=True)
        except binascii.Error:
            return b""
    return _bytes(record.payload)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


def _no_point(path: Path, rejected: Sequence[RejectedRecord]) -> str:
    if not rejected:
        return f"{path} has no rows with a value"
    first = rejected[0]
    return f"{path}, record {first.offset + 1}: {first.reason.value}: {first.detail}"


def _narrow(
    path: Path, batches: Sequence[RecordBatch], notes: tuple[str, ...]
) -> Narrow:
    """The points of all batches, each with its stream and its metric."""
    streams = _Numbers()
    metrics = _Numbers()
    pairs: list[tuple[int, int]] = []
    labels: dict[int, Labels] = {}
    for batch in batches:
        of_rows = batch.labels or [None] * len(batch.names)
        for name, own in zip(batch.names, of_rows, strict=True):
            stream, metric = split_metric(str(name))
            pairs.append((streams.of(stream), metrics.of(metric)))
            labels[pairs[-1][0]] = own or {}
    numbers = np.array(pairs, np.int64).reshape(-1, 2)
    kinds = np.zeros((len(streams), len(metrics)), np.uint8)
    kinds[numbers[:, 0], numbers[:, 1]] = np.concatenate(list(map(_kinds, batches)))
    table = Table(
        path=path,
        features=(SINGLE_METRIC,),
        streams=tuple(streams),
        stream=numbers[:, 0].astype(np.int32),
        times=np.concatenate([batch.times for batch in batches]),
        values=np.concatenate([batch.values for batch in batches]),
        notes=notes,
        facts=StreamFacts(kinds, tuple(labels[i] for i in range(len(streams)))),
    )
    return Narrow(table, tuple(metrics), numbers[:, 1])


class _Numbers(dict[str, int]):
    """A number for each text, in the order in which they come."""

    def of(self, text: str) -> int:
        return self.setdefault(text, len(self))


def _kinds(batch: RecordBatch) -> U8:
    """uint8 [n], of the points of a batch."""
    if batch.kinds is None:
        return np.zeros(len(batch.names), np.uint8)
    return batch.kinds[:, 0]


def _notes(
    rejected: Sequence[RejectedRecord], batches: Sequence[RecordBatch]
) -> Iterator[str]:
    by_reason: dict[RejectReason, list[RejectedRecord]] = {}
    for record in rejected:
        by_reason.setdefault(record.reason, []).append(record)
    for reason, records in by_reason.items():
        first = records[0]
        yield (
            f"{_counted(len(records), 'record')} rejected as {reason.value}"
            f" (record {first.offset + 1}: {first.detail})"
        )
    missing = sum(count for batch in batches for count in batch.missing.values())
    if missing == 1:
        yield "1 value is no number and counts as missing"
    elif missing:
        yield f"{missing:,} values are no numbers and count as missing"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
