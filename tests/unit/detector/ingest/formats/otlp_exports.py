"""OTLP exports for tests, by opentelemetry-proto's own classes."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

T: Final = 1_700_000_000
NS: Final = 1_000_000_000
DELTA: Final = 1
CUMULATIVE: Final = 2


def key_values(attributes: dict[str, str]) -> list[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(string_value=value))
        for key, value in attributes.items()
    ]


def export(*metrics: Metric, **resource: str) -> ExportMetricsServiceRequest:
    """Metrics of one resource; ``host_name`` is its attribute ``host.name``."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    attributes = {key.replace("_", "."): value for key, value in resource.items()}
    of_resource.resource.attributes.extend(key_values(attributes))
    of_resource.scope_metrics.add().metrics.extend(metrics)
    return request


def point(
    value: float | None = None, tags: dict[str, str] | None = None, **fields: Any
) -> NumberDataPoint:
    """A data point at T, with a double or, if ``value`` is an int, an integer."""
    found = NumberDataPoint(
        time_unix_nano=fields.pop("time_unix_nano", T * NS),
        attributes=key_values(tags or {}),
        **fields,
    )
    if isinstance(value, int):
        found.as_int = value
    elif value is not None:
        found.as_double = value
    return found


def gauge(name: str, *points: NumberDataPoint) -> Metric:
    metric = Metric(name=name)
    metric.gauge.data_points.extend(points)
    return metric


def total(
    name: str,
    *points: NumberDataPoint,
    temporality: int = CUMULATIVE,
    monotonic: bool = True,
) -> Metric:
    metric = Metric(name=name)
    metric.sum.data_points.extend(points)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = monotonic
    return metric
