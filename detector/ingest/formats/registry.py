"""The formats, by the name that DETECTOR_KAFKA__FORMAT takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from detector.ingest.format import FormatKind
from detector.ingest.formats.collectd import Collectd
from detector.ingest.formats.graphite import GraphiteLines
from detector.ingest.formats.influx import InfluxLines
from detector.ingest.formats.json_per_metric import JsonPerMetric
from detector.ingest.formats.json_wide import JsonWide
from detector.ingest.formats.otlp import OtlpMetrics
from detector.ingest.formats.prometheus_remote_write import PrometheusRemoteWrite

FORMATS: Final[Mapping[str, FormatKind]] = {
    "collectd": FormatKind(Collectd),
    "graphite": FormatKind(GraphiteLines),
    "influx": FormatKind(InfluxLines),
    "json": FormatKind(JsonPerMetric, JsonWide),
    "otlp": FormatKind(OtlpMetrics),
    "prometheus_remote_write": FormatKind(PrometheusRemoteWrite),
}
