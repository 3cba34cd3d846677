"""gNMIc's events, output format "event".

    [{"name": "sub1", "timestamp": 1700000000000000000, "tags": {"source":
     "10.0.0.1:57400", "subscription-name": "sub1", "interface_name": "ethernet-1/1"},
     "values": {"/interface/statistics/in-octets": "123"}}]

The device and the subscription name the stream; numbers come as text. An event that
only deletes holds no point.

Source: gNMIc documentation, "Event format".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import ARRAY, NUMBER, OBJECT, TEXT, Preset

_MAPPING = RecordMapping(
    timestamp=("timestamp",),
    stream=("{tags.source}/{tags.subscription-name}", "{tags.source}/{name}", "{name}"),
    tags=("tags",),
    inside="values",
)

PRESETS = (
    Preset(
        name="gnmic",
        shape={"name": TEXT, "tags": OBJECT, "values": OBJECT, "timestamp": NUMBER},
        mapping=_MAPPING,
    ),
    Preset(
        name="gnmic",
        shape={"name": TEXT, "deletes": ARRAY, "timestamp": NUMBER},
        mapping=_MAPPING,
        holds_points=False,
    ),
)
