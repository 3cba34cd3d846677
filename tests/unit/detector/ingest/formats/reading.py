"""Rows of a format, row by row, for tests that state what a message becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from detector.errors import MissingReason, RejectReason
from detector.events import MetricKind, RecordBatch
from detector.ingest.format import UnknownFields
from detector.ingest.formats.registry import FORMATS
from detector.ingest.keying import stream_names
from detector.ingest.messages import Messages
from detector.ingest.rows import NamedValues, Rows
from tests.fakes import raw_batch


class Row(NamedTuple):
    """A row: its stream with all tags, its time and its numbers."""

    stream: str | bytes | None
    time: float | str | None
    numbers: Mapping[str, float]


def rows_of(format_: str, *values: bytes) -> Rows[NamedValues]:
    """What the format makes of these messages, each of which is a record."""
    unknown = UnknownFields(lambda field, partition, offset: None)
    made = FORMATS[format_].all_numbers(unknown)
    return made.rows(Messages(raw_batch(values), values))


def read(format_: str, *values: bytes) -> list[Row]:
    """The rows of messages that have no fault."""
    rows = rows_of(format_, *values)
    assert not rows.faults
    return list_rows(rows)


def list_rows(rows: Rows[NamedValues]) -> list[Row]:
    streams = stream_names(raw_batch([b""]), rows)
    found = []
    first = 0
    for i, names in enumerate(rows.numbers.names):
        values = rows.numbers.values[first : first + len(names)].tolist()
        first += len(names)
        numbers = dict(zip(names, values, strict=True))
        found.append(Row(streams[i], rows.stamps[i], numbers))
    return found


def kinds_of(rows: Rows[NamedValues]) -> dict[str, MetricKind]:
    """The kind of each metric; of the last row that has it."""
    names = [name for of_row in rows.numbers.names for name in of_row]
    if rows.numbers.kinds is None:
        return dict.fromkeys(names, MetricKind.UNKNOWN)
    kinds = map(MetricKind, rows.numbers.kinds.tolist())
    return dict(zip(names, kinds, strict=True))


def starts_of(rows: Rows[NamedValues]) -> dict[str, float]:
    """The start of each metric; of the last row that has it."""
    names = [name for of_row in rows.numbers.names for name in of_row]
    assert rows.numbers.starts is not None
    return dict(zip(names, rows.numbers.starts.tolist(), strict=True))


def faults_of(format_: str, *values: bytes) -> list[tuple[int, RejectReason, str]]:
    """Message, reason and detail of each fault."""
    rows = rows_of(format_, *values)
    return [(i, fault.reason, fault.detail) for i, fault in rows.faults]


def missing_of(format_: str, *values: bytes) -> list[tuple[int, str, MissingReason]]:
    return list(rows_of(format_, *values).missing)


def between_good(
    decode: Callable[..., RecordBatch], values: Sequence[bytes], good: bytes
) -> tuple[RecordBatch, list[int]]:
    """What becomes of values that each stand between good records, and the places of
    the points of the good ones. Each record is points, or rejected, or has none.
    """
    count = 1 + 2 * len(values)
    batch = decode(*[part for value in values for part in (value, good)], good)
    taken = set(batch.offsets.tolist())
    refused = [record.offset for record in batch.rejected]
    assert len(taken) + len(refused) + batch.without_points == count
    assert taken.isdisjoint(refused)
    assert batch.records == count
    first = int(batch.raw.offsets[0]) if batch.raw is not None else 0
    last = first + count - 1
    offsets = enumerate(batch.offsets.tolist())
    return batch, [i for i, at in offsets if (at - first) % 2 or at == last]
