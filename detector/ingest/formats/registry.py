"""The formats, by the name that DETECTOR_KAFKA__FORMAT takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from detector.ingest.format import FormatKind
from detector.ingest.formats.influx import InfluxLines
from detector.ingest.formats.json_per_metric import JsonPerMetric
from detector.ingest.formats.json_wide import JsonWide

FORMATS: Final[Mapping[str, FormatKind]] = {
    "influx": FormatKind(InfluxLines),
    "json": FormatKind(JsonPerMetric, JsonWide),
}
