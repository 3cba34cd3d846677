"""prometheus-kafka-adapter's JSON: one sample, its value as text.

    {"labels": {"__name__": "node_load1", "instance": "web-1:9100", "job": "node"},
     "name": "node_load1", "timestamp": "2023-11-14T22:13:20Z", "value": "0.53"}

The instance names the stream, and all other labels tell it apart. ``NaN``, also
Prometheus' marker of a series that went stale, and ``+Inf`` are missing values.

Source: README of prometheus-kafka-adapter, serialization format "json".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import TEXT, TEXT_OR_NUMBER, Preset

PRESETS = (
    Preset(
        name="prometheus_json",
        shape={
            "labels.__name__": TEXT,
            "name": TEXT,
            "value": TEXT_OR_NUMBER,
        },
        one_of=("timestamp",),
        mapping=RecordMapping(
            timestamp=("timestamp",),
            stream=("{labels.instance}", ""),
            tags=("labels",),
            name=("{name}",),
            value=("value",),
        ),
    ),
)
