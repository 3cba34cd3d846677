"""Netdata's exporting engine, as JSON: one dimension of a chart.

    {"prefix": "netdata", "hostname": "web-1", "chart_id": "system.cpu",
     "chart_name": "system.cpu", "chart_context": "system.cpu", "units": "percentage",
     "id": "user", "name": "user", "value": 1.5, "timestamp": 1700000000}

The host and the chart name the stream, and the dimension is the metric.

Source: Netdata's exporting/json connector.
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import TEXT, Preset

PRESETS = (
    Preset(
        name="netdata",
        shape={"chart_id": TEXT, "hostname": TEXT},
        one_of=("value",),
        mapping=RecordMapping(
            timestamp=("timestamp",),
            stream=("{hostname}/{chart_id}",),
            labels=(
                "labels",
                "hostname",
                "chart_id",
                "chart_family",
                "chart_context",
                "units",
            ),
            name=("{name|id}",),
            value=("value",),
        ),
    ),
)
