"""Azure Monitor's platform metrics, as diagnostic settings write them to Event Hubs.

    {"records": [{"count": 4, "total": 8, "minimum": 1, "maximum": 3, "average": 2,
     "resourceId": "/SUBSCRIPTIONS/…/VM1", "time": "2023-11-14T22:13:00.0000000Z",
     "metricName": "Percentage CPU", "timeGrain": "PT1M"}]}

The resource names the stream. The record is a set of statistics, and its average
counts. Resource logs in the same hub hold no point.

Source: Azure Monitor documentation, "stream platform metrics to an event hub".
"""

from __future__ import annotations

from dataclasses import replace

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import ARRAY, TEXT, Preset

_MAPPING = RecordMapping(
    timestamp=("time",),
    stream=("{resourceId}",),
    tags=("dimensions", "dimension"),
    labels=("timeGrain", "unit"),
    name=("{metricName}",),
    value=("",),
)

PRESETS = (
    Preset(
        name="azure",
        shape={"records": ARRAY},
        mapping=replace(_MAPPING, records="records"),
        element={"metricName": TEXT, "resourceId": TEXT},
    ),
    Preset(
        name="azure",
        shape={"metricName": TEXT, "resourceId": TEXT},
        mapping=_MAPPING,
    ),
    Preset(
        name="azure",
        shape={"records": ARRAY},
        mapping=replace(_MAPPING, records="records"),
        element={"category": TEXT, "resourceId": TEXT},
        holds_points=False,
    ),
)
