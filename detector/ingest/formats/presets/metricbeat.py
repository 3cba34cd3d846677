"""Metricbeat's events, in the Elastic Common Schema.

    {"@timestamp": "2023-11-14T22:13:20.123Z", "event": {"dataset": "system.cpu",
     "duration": 115000}, "host": {"name": "web-1"}, "metricset": {"name": "cpu",
     "period": 10000}, "system": {"cpu": {"idle": {"pct": 22.9}}}}

The host and the data set name the stream. One data set has an event for each interface,
disk, process or container: what names them are tags. All that describes the event, the
agent and the machine is no metric: how long the scrape took, its period, and ids.

Source: Metricbeat reference, exported fields.
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import OBJECT, TEXT_OR_NUMBER, Preset

# fields of the event, the agent and the machine, and not of the module
_AROUND = (
    "@*",
    "agent.*",
    "beat.*",
    "cloud.*",
    "data_stream.*",
    "ecs.*",
    "error.*",
    "event.*",
    "fields.*",
    "host.*",
    "input.*",
    "labels.*",
    "log.*",
    "metricset.*",
    "process.*.id",
    "process.pgid",
    "process.ppid",
    "service.*",
    "tags",
    "user.*",
)
# what tells the events of one data set and host apart, in whichever module
_TOLD_APART = (
    "*.name",
    "*.id",
    "*.device",
    "*.device_name",
    "*.mount_point",
    "*.interface",
    "*.namespace",
    "*.pid",
)

PRESETS = (
    Preset(
        name="metricbeat",
        shape={"@timestamp": TEXT_OR_NUMBER, "metricset": OBJECT},
        mapping=RecordMapping(
            timestamp=("@timestamp",),
            stream=(
                "{host.name|agent.name|agent.hostname|beat.hostname|beat.name}"
                "/{event.dataset}",
                "{host.name|agent.name|agent.hostname|beat.hostname|beat.name}"
                "/{metricset.module}.{metricset.name}",
                "{host.name|agent.name|agent.hostname|beat.hostname|beat.name}"
                "/{metricset.name}",
                "{event.dataset}",
            ),
            tags=("service.address",),
            labels=("host.name", "event.dataset"),
            tag_fields=_TOLD_APART,
            exclude=_AROUND,
        ),
    ),
)
