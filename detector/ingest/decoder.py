"""From raw batches to points: framing, format, checks and keying, composed.

Theory of operation. The steps work on whole batches. First, records without a value, or
with one that is too long, are rejected. The framing takes the others apart into
messages, and the format turns those into rows. The shared checks find rows that can't
be scored, and keying turns the rest into points of streams. Each record ends up as
points, as a rejected record, or counted as one without points; never as two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from detector.events import F64, I64, Partition, RawBatch, RecordBatch
from detector.ingest.checks import Checked, admit, check
from detector.ingest.format import Format, FormatKind, UnknownFields
from detector.ingest.framing.none import NoFraming
from detector.ingest.keying import ByMetric, ByStream, Keying, Points
from detector.ingest.messages import Framing, Messages
from detector.ingest.pick_features import PickFeatures
from detector.ingest.rows import (
    FeatureValues,
    Flags,
    NamedValues,
    Numbers,
    Rows,
    usable,
)
from detector.record_clock import ANY_TIME, ClockBounds, RecordClock

MAX_RECORD_BYTES = 1 << 20
OnUnknown = Callable[[str, Partition, int], None]
_NumbersT = TypeVar("_NumbersT", bound=Numbers)
_Column = TypeVar("_Column", F64, I64, Flags)


class Decoder(Generic[_NumbersT]):
    """Decodes the records of a topic. Not thread-safe: its format may learn fields."""

    def __init__(
        self,
        format_: Format[_NumbersT],
        keying: Keying[_NumbersT],
        max_bytes: int = MAX_RECORD_BYTES,
        framing: Framing | None = None,
        bounds: ClockBounds = ANY_TIME,
    ) -> None:
        self._framing = framing or NoFraming()
        self._bounds = bounds
        self._format = format_
        self._keying = keying
        self._max_bytes = max_bytes

    def messages(self, raw: RawBatch) -> Messages:
        """What the framing finds in the records that have a value of a right length."""
        return self._framing.messages(admit(raw, self._max_bytes).raw)

    def decode(self, raw: RawBatch) -> RecordBatch:
        """The points of a batch, and its rejected records by offset."""
        admitted = admit(raw, self._max_bytes)
        messages = self._framing.messages(admitted.raw)
        rows = usable(_by_record(self._format.rows(messages), messages))
        checked = check(admitted.raw, rows, self._keying.wanted, self._bounds)
        rejected = admitted.rejected
        if checked.rejected:
            rejected = sorted([*rejected, *checked.rejected], key=lambda r: r.offset)
        points = self._keying.points(
            checked.names,
            rows.numbers,
            checked.good,
            rows.labels if rows.labels is not None else rows.tags,
        )
        kept = admitted.raw.offsets
        offsets = np.fromiter(kept, np.int64, len(kept))[rows.records]
        return RecordBatch(
            partition=raw.partition,
            names=points.names,
            offsets=_of_points(offsets, checked, points),
            times=_of_points(checked.times, checked, points),
            values=points.values,
            next_offset=raw.next_offset,
            rejected=rejected,
            unknown_fields=_ignored(rows, checked.good),
            kinds=points.kinds,
            starts=points.starts,
            labels=points.labels,
            totals=points.totals,
            missing=checked.missing,
            without_points=checked.without_points,
            tombstones=admitted.tombstones,
            raw=raw,
            clock=_clock_of_points(checked, points),
        )


class TopicDecoders:
    """A decoder for each topic, made at its first record. Not thread-safe."""

    def __init__(self, make: Callable[[str], Decoder[Any]]) -> None:
        self._make = make
        self._decoders: dict[str, Decoder[Any]] = {}

    def decode(self, raw: RawBatch) -> RecordBatch:
        """The points of a batch, and its rejected records by offset."""
        return self._of(raw.partition.topic).decode(raw)

    def messages(self, raw: RawBatch) -> Messages:
        """As of Decoder."""
        return self._of(raw.partition.topic).messages(raw)

    def _of(self, topic: str) -> Decoder[Any]:
        decoder = self._decoders.get(topic)
        if decoder is None:
            decoder = self._decoders[topic] = self._make(topic)
        return decoder


def feature_decoder(
    kind: FormatKind,
    features: Sequence[str],
    max_bytes: int = MAX_RECORD_BYTES,
    on_unknown: OnUnknown = lambda field, partition, offset: None,
    framing: Framing | None = None,
    bounds: ClockBounds = ANY_TIME,
) -> Decoder[FeatureValues]:
    """For a bundle of features: a row is one point of its stream."""
    unknown = UnknownFields(on_unknown)
    format_: Format[FeatureValues]
    if kind.of_features is not None:
        format_ = kind.of_features(features, unknown)
    else:
        format_ = PickFeatures(kind.all_numbers(unknown), features, unknown)
    return Decoder(format_, ByStream(features), max_bytes, framing, bounds)


def metric_decoder(
    kind: FormatKind,
    max_bytes: int = MAX_RECORD_BYTES,
    on_unknown: OnUnknown = lambda field, partition, offset: None,
    framing: Framing | None = None,
    bounds: ClockBounds = ANY_TIME,
) -> Decoder[NamedValues]:
    """For a bundle of any single metric: each number is a point of its own stream."""
    unknown = UnknownFields(on_unknown)
    return Decoder(kind.all_numbers(unknown), ByMetric(), max_bytes, framing, bounds)


def _by_record(rows: Rows[_NumbersT], messages: Messages) -> Rows[_NumbersT]:
    """Rows of messages as rows of their records."""
    record_of = messages.records
    if record_of is None:
        return rows
    records = np.array(record_of, np.int64)
    of_messages = [(record_of[i], fault) for i, fault in rows.faults]
    without = [record_of[i] for i in rows.without_points]
    return replace(
        rows,
        records=records[rows.records],
        faults=[*messages.faults, *of_messages],
        missing=[(record_of[i], metric, why) for i, metric, why in rows.missing],
        without_points=[*messages.without_points, *without],
    )


def _of_points(column: _Column, checked: Checked, points: Points) -> _Column:
    """A column of rows [n] as one of points [k]."""
    if checked.good is not None:
        column = column[checked.good]
    return column if points.per_row is None else np.repeat(column, points.per_row)


def _clock_of_points(checked: Checked, points: Points) -> RecordClock:
    clock = checked.clock
    return RecordClock(
        bounds=clock.bounds,
        log_times=_of_points(clock.log_times, checked, points),
        is_brokers=_of_points(clock.is_brokers, checked, points),
        in_order=_of_points(clock.in_order, checked, points),
    )


def _ignored(rows: Rows[Numbers], good: Flags | None) -> int:
    if rows.ignored is None:
        return 0
    return int((rows.ignored if good is None else rows.ignored[good]).sum())
