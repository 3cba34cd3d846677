"""OTLP as protobuf, which is the default of the collector's Kafka exporter.

Theory of operation. The schema is opentelemetry-proto's, the project's own. Its class
decodes a data point in 3 µs, as each of its attributes is a message. So resources,
attributes and points of numbers are read as bytes: see ``protobuf_view``. Exporters
write the fields of a point in the order of their numbers. Its start, time and value
come first and have a fixed length; the attributes follow and are the same in every
record. A point of another form is decoded whole. What an exporter repeats but for
times and values is not decoded at all: see ``otlp_layouts``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from opentelemetry.proto.resource.v1 import resource_pb2

from detector.errors import BadRecord, RejectReason
from detector.events import Labels
from detector.ingest.formats.grouped_rows import Points, Stream
from detector.ingest.formats.otlp_blocks import (
    DOUBLE,
    INT,
    START,
    TIME,
    Block,
    cut,
    only_block,
)
from detector.ingest.formats.otlp_layouts import Layouts
from detector.ingest.formats.otlp_streams import Resource, text
from detector.ingest.formats.protobuf_view import UNDECODABLE, message_class, view

_NAN: Final = float("nan")
_NO_RECORDED_VALUE: Final = 1  # a bit of a point's flags

_UNDECODED: Final = (
    "MetricsData.resource_metrics",
    "ResourceMetrics.resource",
    "Gauge.data_points",
    "Sum.data_points",
    "HistogramDataPoint.attributes",
    "HistogramDataPoint.exemplars",
    "ExponentialHistogramDataPoint.attributes",
    "ExponentialHistogramDataPoint.exemplars",
    "SummaryDataPoint.attributes",
)
_POOL = view(metrics_pb2.DESCRIPTOR, _UNDECODED)
_MetricsData = message_class(_POOL, "opentelemetry.proto.metrics.v1.MetricsData")
_ResourceMetrics = message_class(
    _POOL, "opentelemetry.proto.metrics.v1.ResourceMetrics"
)

# Time and value, or start, time and value, each after its tag of one byte.
_SHORT: Final = Struct("<BQBd")
_LONG: Final = Struct("<BQBQBd")
_INT64: Final = Struct("<q")
_VALUES: Final = (DOUBLE, INT)


class OtlpProtobuf:
    """Implements Encoding."""

    def __init__(self) -> None:
        self.layouts = Layouts()

    def blocks(self, value: bytes) -> Sequence[Block]:
        only = only_block(value)
        if only is not None:
            return (only,)
        try:
            found: Sequence[bytes] = _MetricsData.FromString(value).resource_metrics
        except UNDECODABLE as error:
            raise _bad("it", error) from None
        return list(map(cut, found))

    def decode(self, block: Block) -> Any:
        try:
            return _ResourceMetrics.FromString(b"".join(block))
        except UNDECODABLE as error:
            raise _bad("it", error) from None

    def streams(
        self, attributes: Sequence[bytes], resource: Resource
    ) -> Sequence[Stream]:
        """The streams of points, by what follows their values. Raises BadRecord."""
        known = resource.known
        found = [known.get(each) or _learn(each, resource) for each in attributes]
        return [stream for stream in found if stream is not None]

    def resource(self, encoded: bytes) -> Resource:
        try:
            decoded = resource_pb2.Resource.FromString(encoded)
        except UNDECODABLE as error:
            raise _bad("its resource", error) from None
        return Resource(_texts(decoded.attributes))

    def data(self, metric: Any) -> tuple[str, Any] | None:
        kind = metric.WhichOneof("data")
        return None if kind is None else (kind, getattr(metric, kind))

    def temporality(self, data: Any) -> int:
        found: int = data.aggregation_temporality
        return found

    def add_numbers(
        self, found: Points, points: Sequence[bytes], resource: Resource
    ) -> None:
        known = resource.known
        for point in points:
            start = 0
            try:
                if point[0] == START:
                    _, start, time_tag, time, tag, value = _LONG.unpack_from(point)
                    end = _LONG.size
                else:
                    time_tag, time, tag, value = _SHORT.unpack_from(point)
                    end = _SHORT.size
            except (IndexError, struct.error):  # it is shorter
                _add_decoded(found, point, resource)
                continue
            stream = None
            if time_tag == TIME and tag in _VALUES:
                rest = point[end:]
                stream = known.get(rest) or _learn(rest, resource)
            if stream is None:
                _add_decoded(found, point, resource)
                continue
            if tag == INT:
                (value,) = _INT64.unpack_from(point, end - _INT64.size)
            found.streams.append(stream)
            found.times.append(time)
            found.starts.append(start)
            found.values.append(value)

    def total(self, point: Any) -> float | None:
        return point.sum if point.HasField("sum") else None

    def stream(self, point: Any, resource: Resource) -> Stream:
        encoded = tuple(point.attributes)
        found = resource.known.get(encoded)
        if found is None:
            try:
                attributes = [KeyValue.FromString(each) for each in encoded]
            except UNDECODABLE as error:
                raise _bad("its attributes", error) from None
            found = resource.stream(_texts(attributes))
            resource.known[encoded] = found
        return found


def _learn(rest: bytes, resource: Resource) -> Stream | None:
    """The stream that the rest of a point names; None: it says more than attributes."""
    try:
        point = NumberDataPoint.FromString(rest)
    except UNDECODABLE as error:
        raise _bad("a data point", error) from None
    others = NumberDataPoint()
    others.CopyFrom(point)
    others.ClearField("attributes")
    if others.ByteSize():
        return None
    stream = resource.stream(_texts(point.attributes))
    resource.known[rest] = stream
    return stream


def _add_decoded(found: Points, encoded: bytes, resource: Resource) -> None:
    """A data point of another form, decoded whole. Raises BadRecord."""
    try:
        point = NumberDataPoint.FromString(encoded)
    except UNDECODABLE as error:
        raise _bad("a data point", error) from None
    kind = point.WhichOneof("value")
    value = _NAN if kind is None else float(getattr(point, kind))
    if point.flags & _NO_RECORDED_VALUE:
        value = _NAN
    stream = resource.stream(_texts(point.attributes))
    found.add(stream, point.time_unix_nano, value, point.start_time_unix_nano)


def _bad(what: str, error: Exception) -> BadRecord:
    detail = f"{what} is not OTLP metrics in protobuf ({error})"
    return BadRecord(RejectReason.MALFORMED, detail)


def _texts(attributes: Sequence[KeyValue]) -> Labels:
    return {attribute.key: text(_plain(attribute.value)) for attribute in attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_plain(each) for each in found.values]
    if kind == "kvlist_value":
        return {each.key: _plain(each.value) for each in found.values}
    return found
