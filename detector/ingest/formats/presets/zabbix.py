"""Zabbix' real-time export: a value, a trend or an event.

    {"host": {"host": "web-1", "name": "Web 1"}, "groups": ["Linux"], "itemid": 42269,
     "name": "CPU utilization", "clock": 1700000000, "ns": 123456789, "value": 3.1,
     "type": 0}

A time is in seconds and nanoseconds. A trend is a set of statistics of an hour, and its
average counts. The text of a log or a character item is a missing value. An event of a
trigger holds no point.

Source: Zabbix manual, appendix "Newline-delimited JSON export protocol".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import (
    NUMBER,
    TEXT_OR_NUMBER,
    TEXT_OR_OBJECT,
    Preset,
)

_ITEM = RecordMapping(
    timestamp=("clock",),
    nanoseconds="ns",
    stream=("{host.host|host.name|host}",),
    labels=("item_tags", "host.name", "itemid"),
    name=("{name}",),
    value=("value", ""),
)

PRESETS = (
    Preset(
        name="zabbix",
        shape={"itemid": TEXT_OR_NUMBER, "clock": NUMBER, "host": TEXT_OR_OBJECT},
        mapping=_ITEM,
    ),
    Preset(
        name="zabbix",
        shape={"eventid": TEXT_OR_NUMBER, "clock": NUMBER, "value": NUMBER},
        mapping=_ITEM,
        holds_points=False,
    ),
)
