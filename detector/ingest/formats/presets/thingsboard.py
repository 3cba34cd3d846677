"""ThingsBoard's telemetry: values at a time.

    {"ts": 1700000000512, "values": {"temperature": 22.5}}

The record's key names the stream.

Source: ThingsBoard documentation, "Telemetry upload API".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import OBJECT, TEXT_OR_NUMBER, Preset

PRESETS = (
    Preset(
        name="thingsboard",
        shape={"ts": TEXT_OR_NUMBER, "values": OBJECT},
        mapping=RecordMapping(
            timestamp=("ts",),
            stream=("{stream|deviceName|device|key}",),
            inside="values",
        ),
    ),
)
