"""Telegraf's JSON: one metric, or a batch of them.

    {"name": "cpu", "tags": {"cpu": "cpu0", "host": "web-1"},
     "fields": {"usage_idle": 97.3}, "timestamp": 1700000000}
    {"metrics": [{…}, {…}]}

Clients of InfluxDB write the same with ``measurement`` and ``time``. The unit of a time
is Telegraf's ``json_timestamp_units``; its magnitude tells it.

Sources: Telegraf's serializer "json"; write_points of influxdb-python.
"""

from __future__ import annotations

from dataclasses import replace

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import ARRAY, OBJECT, TEXT, Preset

_MAPPING = RecordMapping(
    timestamp=("timestamp", "time"),
    stream=("{name|measurement}",),
    tags=("tags",),
    inside="fields",
)

PRESETS = (
    Preset(
        name="telegraf_json",
        shape={"fields": OBJECT, "name": TEXT},
        mapping=_MAPPING,
    ),
    Preset(
        name="telegraf_json",
        shape={"metrics": ARRAY},
        mapping=replace(_MAPPING, records="metrics"),
        element={"fields": OBJECT, "name": TEXT},
    ),
    Preset(
        name="telegraf_json",
        shape={"fields": OBJECT, "measurement": TEXT},
        mapping=_MAPPING,
    ),
)
