"""OTLP as JSON: what msgspec reads of it.

Keys are in lowerCamelCase, 64-bit integers are text or numbers, and keys that are not
known are left out. Attributes stay as they are written, so that what repeats in every
record is read once.

Source: the OTLP specification, "JSON Protobuf Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from detector.errors import BadRecord, RejectReason
from detector.events import Labels
from detector.ingest.formats.grouped_rows import Points, Stream
from detector.ingest.formats.otlp_streams import Resource, text

_UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_NAN: Final = float("nan")
_NO_RECORDED_VALUE: Final = 1  # a bit of a point's flags
_PLAIN: Final = (
    "string_value",
    "bool_value",
    "int_value",
    "double_value",
    "bytes_value",
)
_DATA: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_TEMPORALITY: Final = {
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}


# 64 bits, so that arithmetic stays within a float's range
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Message(msgspec.Struct, rename="camel", gc=False):
    """A message whose fields may all be absent."""


class _Value(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | None = None
    double_value: float | str | None = None
    bytes_value: str | None = None
    array_value: _Array | None = None
    kvlist_value: _KeyValues | None = None


class _Array(_Message):
    values: list[_Value] = []


class _KeyValue(_Message):
    key: str = ""
    value: _Value = msgspec.field(default_factory=_Value)


class _KeyValues(_Message):
    values: list[_KeyValue] = []


class _Attributes(_Message):
    attributes: list[_KeyValue] = []


class _Point(_Message):
    attributes: msgspec.Raw = msgspec.Raw(b"[]")
    start_time_unix_nano: _Int = 0
    time_unix_nano: _Int = 0
    flags: _Int = 0


class _NumberPoint(_Point):
    as_double: float | None = None
    as_int: _Int | None = None


class _Buckets(_Message):
    offset: _Int = 0
    bucket_counts: list[_Int] = []


class _Quantile(_Message):
    quantile: float = 0.0
    value: float = 0.0


class _CountedPoint(_Point):
    """A point of a histogram of either kind, or of a summary."""

    count: _Int = 0
    sum: float | None = None
    bucket_counts: list[_Int] = []
    explicit_bounds: list[float] = []
    scale: _Int = 0
    zero_count: _Int = 0
    positive: _Buckets = msgspec.field(default_factory=_Buckets)
    negative: _Buckets = msgspec.field(default_factory=_Buckets)
    quantile_values: list[_Quantile] = []


class _Gauge(_Message):
    data_points: list[_NumberPoint] = []


class _Sum(_Gauge):
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class _Counted(_Message):
    data_points: list[_CountedPoint] = []
    aggregation_temporality: int | str = 0


class _Metric(_Message):
    name: str = ""
    gauge: _Gauge | None = None
    sum: _Sum | None = None
    histogram: _Counted | None = None
    exponential_histogram: _Counted | None = None
    summary: _Counted | None = None


class _ScopeMetrics(_Message):
    metrics: list[_Metric] = []


class _ResourceMetrics(_Message):
    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scope_metrics: list[_ScopeMetrics] | None = None


class _Request(_ResourceMetrics):
    """An export, or one of its resources alone, as exporters split it."""

    resource_metrics: list[_ResourceMetrics] | None = None


_request = msgspec.json.Decoder(_Request, strict=False).decode  # texts are numbers too
_resource = msgspec.json.Decoder(_Attributes, strict=False).decode
_attributes = msgspec.json.Decoder(list[_KeyValue], strict=False).decode


class OtlpJson:
    """Implements Encoding."""

    def blocks(self, value: bytes) -> Sequence[_ResourceMetrics]:
        try:
            request = _request(value)
        except _UNDECODABLE as error:
            detail = f"it is not OTLP metrics in JSON ({error})"
            raise BadRecord(RejectReason.MALFORMED, detail) from None
        if request.resource_metrics is not None:
            return request.resource_metrics
        return [] if request.scope_metrics is None else [request]

    def decode(self, block: _ResourceMetrics) -> _ResourceMetrics:
        return block

    def resource(self, encoded: msgspec.Raw) -> Resource:
        try:
            return Resource(_texts(_resource(encoded).attributes))
        except _UNDECODABLE as error:
            raise _bad_attributes(error) from None

    def data(self, metric: _Metric) -> tuple[str, Any] | None:
        for kind in _DATA:
            found = getattr(metric, kind)
            if found is not None:
                return kind, found
        return None

    def temporality(self, data: _Sum | _Counted) -> int:
        found = data.aggregation_temporality
        return found if isinstance(found, int) else _TEMPORALITY.get(found, 0)

    def add_numbers(
        self, found: Points, points: Sequence[_NumberPoint], resource: Resource
    ) -> None:
        for point in points:
            value: float | None = point.as_double
            if value is None:
                value = point.as_int
            if value is None or point.flags & _NO_RECORDED_VALUE:
                value = _NAN
            stream = self.stream(point, resource)
            found.add(stream, point.time_unix_nano, value, point.start_time_unix_nano)

    def total(self, point: _CountedPoint) -> float | None:
        return point.sum

    def stream(self, point: _Point, resource: Resource) -> Stream:
        encoded = bytes(point.attributes)
        found = resource.known.get(encoded)
        if found is None:
            try:
                attributes = _texts(_attributes(encoded))
            except _UNDECODABLE as error:
                raise _bad_attributes(error) from None
            found = resource.stream(attributes)
            resource.known[encoded] = found
        return found


def _bad_attributes(error: Exception) -> BadRecord:
    detail = f"its attributes can't be read ({error})"
    return BadRecord(RejectReason.MALFORMED, detail)


def _texts(attributes: Sequence[_KeyValue]) -> Labels:
    return {attribute.key: text(_plain(attribute.value)) for attribute in attributes}


def _plain(value: _Value) -> Any:
    if value.array_value is not None:
        return [_plain(each) for each in value.array_value.values]
    if value.kvlist_value is not None:
        return {each.key: _plain(each.value) for each in value.kvlist_value.values}
    for field in _PLAIN:
        found = getattr(value, field)
        if found is not None:
            return found
    return None
