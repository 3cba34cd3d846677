"""OTLP metrics, in protobuf or JSON: an export, or one of its resources in JSON.

Gauges and sums are numbers. A sum that only rises is a counter with its start; one that
is reported as a difference is a delta, whose start is that of its interval. A sum that
also falls is a gauge. A point that says it has no value is missing.

A histogram becomes its count (``NAME.count``), its mean (``NAME.mean``) and quantiles
(``NAME.p50``). A cumulative one would need the point before, and a format keeps nothing
from record to record: so it says the totals, and the detector tells the rest. A summary
becomes its count, its mean and the quantiles that its producer chose.

Points of one stream at one time are one row, whichever metric they are of. The name of
the instrumentation scope is not part of a stream's name.

Source: the OTLP specification 1.x and its metrics data model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from detector.distributions import (
    QUANTILES,
    Bucket,
    Totals,
    explicit_buckets,
    exponential_buckets,
    mean_totals,
    percentile,
    quantile,
    quantile_totals,
)
from detector.errors import BadRecord, RejectReason
from detector.events import MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.formats.grouped_rows import GroupedRows, Points, Stream
from detector.ingest.formats.otlp_blocks import Blocks, encoded_resource
from detector.ingest.formats.otlp_json import OtlpJson
from detector.ingest.formats.otlp_protobuf import OtlpProtobuf
from detector.ingest.formats.otlp_streams import Resource
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.rows import NamedValues, Rows

_DELTA: Final = 1  # AggregationTemporality
_CUMULATIVE: Final = 2
_NO_RECORDED_VALUE: Final = 1  # a bit of a point's flags
_NAN: Final = float("nan")
# An object; in protobuf the first byte is a line feed, and no quote follows a brace.
_JSON: Final = re.compile(rb'\s*\{\s*["}]')
_NANOSECONDS: Final = 1_000_000_000
# streams whose names are kept; a topic may invent attributes for each record
MAX_KNOWN: Final = 100_000
_Block = TypeVar("_Block")


class Encoding(Protocol):
    """How an export is encoded. Each method raises BadRecord if it can't be read."""

    def blocks(self, value: bytes) -> Sequence[Any]:
        """The export's resources with their metrics, perhaps still encoded."""
        ...

    def decode(self, block: Any) -> Any: ...

    def resource(self, encoded: Any) -> Resource: ...

    def data(self, metric: Any) -> tuple[str, Any] | None:
        """The kind of a metric and its points; None: it has none."""
        ...

    def temporality(self, data: Any) -> int:
        """Of a sum or a histogram: 1 for differences, 2 for totals, 0 unknown."""
        ...

    def add_numbers(
        self, found: Points, points: Sequence[Any], resource: Resource
    ) -> None:
        """Add the points of a gauge or a sum."""
        ...

    def stream(self, point: Any, resource: Resource) -> Stream:
        """The stream of a point of a histogram or a summary."""
        ...

    def total(self, point: Any) -> float | None:
        """The sum of a histogram's observations; None if it has negative ones."""
        ...


class OtlpMetrics:
    """Implements Format."""

    def __init__(self, unknown: UnknownFields) -> None:
        self._protobuf = OtlpProtobuf()
        self._json = OtlpJson()
        self._resources: dict[bytes, Resource] = {}

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        self._forget_if_many()
        rows = GroupedRows(_NANOSECONDS)
        blocks = Blocks()
        for i, value in enumerate(messages.values):
            try:
                data = as_bytes(value)
                if _JSON.match(data):
                    self._add(rows, i, self._json, _some(self._json.blocks(data)))
                else:
                    blocks.add(i, _some(self._protobuf.blocks(data)))
            except BadRecord as fault:
                rows.reject(i, fault)
        self._read(blocks, rows)
        return rows.rows()

    def _read(self, blocks: Blocks, rows: GroupedRows) -> None:
        """Copy numbers out of the blocks of messages that are like others, and decode
        the rest.

        Of those that are like nothing, twice as many are decoded each time before the
        others are looked at again. So what is learnt from a few is soon of use.
        """
        decoded = 1
        while len(blocks):
            unlike, unknown = self._protobuf.layouts.read(rows, blocks, self._streams)
            later = Blocks()
            for place, (message, of_message) in enumerate(unknown.by_message()):
                if place < decoded:
                    unlike.add(message, of_message)
                else:
                    later.add(message, of_message)
            for message, of_message in unlike.by_message():
                try:
                    self._add(rows, message, self._protobuf, of_message)
                except BadRecord as fault:
                    rows.reject(message, fault)
            blocks = later
            decoded *= 2

    def _add(
        self,
        rows: GroupedRows,
        message: int,
        encoding: Encoding,
        blocks: Sequence[Any],
    ) -> None:
        """Add the points of a message. Raises BadRecord."""
        for block in blocks:
            first = len(rows.points)
            decoded = encoding.decode(block)
            resource = self._resource(encoding, decoded.resource)
            for scope in decoded.scope_metrics or ():
                for metric in scope.metrics:
                    _add(rows, encoding, metric, resource)
            if encoding is self._protobuf:
                self._protobuf.layouts.learn(block, resource, rows, first)
        rows.close(message)

    def _streams(self, field: bytes, attributes: Sequence[bytes]) -> Sequence[Stream]:
        """The streams of points of a resource. Raises BadRecord."""
        encoded = encoded_resource(field)
        resource = self._resource(self._protobuf, encoded)
        return self._protobuf.streams(attributes, resource)

    def _resource(self, encoding: Encoding, encoded: Any) -> Resource:
        key = bytes(encoded)
        found = self._resources.get(key)
        if found is None:
            found = encoding.resource(encoded)
            self._resources[key] = found
        return found

    def _forget_if_many(self) -> None:
        resources = self._resources.values()
        known = sum(len(resource.known) for resource in resources)
        if known + len(resources) > MAX_KNOWN:
            self._resources.clear()


def _some(blocks: Sequence[_Block]) -> Sequence[_Block]:
    """The blocks. Raises BadRecord if there are none."""
    if not blocks:
        detail = "it is not OTLP metrics: it has no resourceMetrics"
        raise BadRecord(RejectReason.MALFORMED, detail)
    return blocks


def _add(
    rows: GroupedRows, encoding: Encoding, metric: Any, resource: Resource
) -> None:
    """Add the points of a metric. Raises BadRecord."""
    name = metric.name
    if not name:
        detail = "a metric has no name: it may be OTLP traces or logs"
        raise BadRecord(RejectReason.MALFORMED, detail)
    found = encoding.data(metric)
    if found is None:
        return
    form, data = found
    if form == "gauge":
        encoding.add_numbers(rows.points, data.data_points, resource)
        rows.name(name, MetricKind.GAUGE)
    elif form == "sum":
        kind = _kind(encoding.temporality(data))
        if kind is MetricKind.COUNTER and not data.is_monotonic:
            kind = MetricKind.GAUGE
        encoding.add_numbers(rows.points, data.data_points, resource)
        rows.name(name, kind)
    else:
        is_summary = form == "summary"
        temporality = _CUMULATIVE if is_summary else encoding.temporality(data)
        for point in data.data_points:
            stream = encoding.stream(point, resource)
            total = point.sum if is_summary else encoding.total(point)
            distribution = _Distribution(form, _kind(temporality), point, total)
            distribution.add_to(rows, name, stream)


def _kind(temporality: int) -> MetricKind:
    if temporality == _DELTA:
        return MetricKind.DELTA
    if temporality == _CUMULATIVE:
        return MetricKind.COUNTER
    return MetricKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Distribution:
    """A point of a histogram or a summary, and what it becomes."""

    form: str
    kind: MetricKind
    point: Any
    total: float | None

    def add_to(self, rows: GroupedRows, name: str, stream: Stream) -> None:
        time = self.point.time_unix_nano
        start = self.point.start_time_unix_nano
        for suffix, kind, value in self._numbers():
            rows.points.add(stream, time, value, start)
            rows.name(f"{name}.{suffix}", kind)
        for suffix, totals in self._totals(start / _NANOSECONDS):
            value = totals.metric()
            if not math.isnan(value):
                rows.points.totals[len(rows.points)] = totals
                rows.points.add(stream, time, value)
                rows.name(f"{name}.{suffix}", MetricKind.GAUGE)

    def _numbers(self) -> Iterator[tuple[str, MetricKind, float]]:
        count = self.point.count
        if self.point.flags & _NO_RECORDED_VALUE:
            yield "count", self.kind, _NAN
            return
        yield "count", self.kind, count
        if self.total is not None:
            if self.kind is MetricKind.UNKNOWN:
                yield "sum", self.kind, self.total
            elif count and self.kind is MetricKind.DELTA:
                yield "mean", MetricKind.GAUGE, self.total / count
        for share, value in self._quantiles():
            yield percentile(share), MetricKind.GAUGE, value

    def _totals(self, start: float) -> Iterator[tuple[str, Totals]]:
        """The mean and the quantiles of a cumulative histogram.

        They are those of all its observations here, and the detector tells them of the
        observations since the point before.
        """
        if self.kind is not MetricKind.COUNTER or self.point.flags & _NO_RECORDED_VALUE:
            return
        if self.total is not None:
            yield "mean", mean_totals(self.total, self.point.count, start)
        if self.form != "summary":
            buckets = self._buckets()
            for share in QUANTILES:
                totals = quantile_totals(buckets, share, start)
                if totals is not None:
                    yield percentile(share), totals

    def _quantiles(self) -> Iterator[tuple[float, float]]:
        """Shares and values of the quantiles that the point can tell."""
        if self.form == "summary":
            for each in self.point.quantile_values:
                if 0.0 < each.quantile < 1.0:  # the others are the extremes
                    yield each.quantile, each.value
        elif self.kind is MetricKind.DELTA:
            buckets = self._buckets()
            for share in QUANTILES:
                value = quantile(buckets, share)
                if value is not None:
                    yield share, value

    def _buckets(self) -> list[Bucket]:
        point = self.point
        if self.form == "histogram":
            return explicit_buckets(point.explicit_bounds, point.bucket_counts)
        return exponential_buckets(
            point.scale,
            point.zero_count,
            (point.positive.offset, point.positive.bucket_counts),
            (point.negative.offset, point.negative.bucket_counts),
        )
