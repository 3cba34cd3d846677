"""Vector's metric events, with codec "json".

    {"name": "load1", "namespace": "host", "tags": {"host": "web-1"},
     "timestamp": "2023-11-14T22:13:20Z", "kind": "absolute", "gauge": {"value": 1.5}}

A counter is a total if its kind is ``absolute``, and what came since the last event if
it is ``incremental``. Of a histogram, a summary or a distribution, the count and the
sum are metrics.

Source: Vector's data model of metrics.
"""

from __future__ import annotations

from dataclasses import replace

from detector.events import MetricKind
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import TEXT, Preset

_NAME = ("{namespace}.{name}", "{name}")
_NAMED = RecordMapping(
    timestamp=("timestamp",),
    stream=("",),
    tags=("tags",),
    name=_NAME,
    deltas=("kind", "incremental"),
)

PRESETS = (
    Preset(
        name="vector",
        shape={"name": TEXT, "kind": TEXT},
        one_of=("gauge", "counter"),
        mapping=replace(
            _NAMED,
            value=("gauge.value", "counter.value"),
            kinds=(MetricKind.GAUGE, MetricKind.COUNTER),
        ),
    ),
    Preset(
        name="vector",
        shape={"name": TEXT, "kind": TEXT},
        one_of=("aggregated_histogram", "aggregated_summary"),
        mapping=replace(
            _NAMED,
            value=("aggregated_histogram", "aggregated_summary"),
            statistics=("count", "sum"),
            kinds=(MetricKind.COUNTER, MetricKind.COUNTER),
        ),
    ),
    Preset(
        name="vector",
        shape={"name": TEXT, "kind": TEXT},
        one_of=("set", "distribution", "sketch"),
        mapping=_NAMED,
        holds_points=False,
    ),
)
