"""Kepware's IoT Gateway, the standard template: values of tags of a PLC.

    {"timestamp": 1700000000512, "values": [{"id": "Channel1.Device1.Tag1", "v": 42,
     "q": true, "t": 1700000000500}]}

The tag is the metric, and each value has its own time. A value whose quality is bad is
missing. The record's key names the stream, else the topic: the name of a tag has its
channel and its device.

Source: Kepware IoT Gateway manual, "Standard template data format".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import ANY, ARRAY, TEXT, Preset

PRESETS = (
    Preset(
        name="kepware",
        shape={"values": ARRAY},
        mapping=RecordMapping(
            records="values",
            timestamp=("t", "timestamp"),
            stream=("{key|topic}",),
            name=("{id}",),
            value=("v",),
            quality="q",
        ),
        element={"id": TEXT, "v": ANY},
    ),
)
