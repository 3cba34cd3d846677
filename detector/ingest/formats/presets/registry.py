"""The presets, in the order in which a record is compared with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from detector.ingest.formats.presets import (
    azure,
    cloudwatch,
    gnmic,
    kepware,
    metricbeat,
    netdata,
    prometheus_json,
    telegraf_json,
    thingsboard,
    vector,
    zabbix,
)
from detector.ingest.json_objects.preset import Preset, markers

PRESETS: Final[Sequence[Preset]] = (
    *telegraf_json.PRESETS,
    *prometheus_json.PRESETS,
    *metricbeat.PRESETS,
    *vector.PRESETS,
    *netdata.PRESETS,
    *zabbix.PRESETS,
    *cloudwatch.PRESETS,
    *azure.PRESETS,
    *gnmic.PRESETS,
    *kepware.PRESETS,
    *thingsboard.PRESETS,
)


def by_name() -> Mapping[str, Sequence[Preset]]:
    """The presets of each format."""
    found: dict[str, list[Preset]] = {}
    for preset in PRESETS:
        found.setdefault(preset.name, []).append(preset)
    return found


#: First names of all fields that presets are recognised by.
MARKERS: Final = markers(PRESETS)

_SHAPES: Final = [
    frozenset(path.partition(".")[0] for path in preset.shape) for preset in PRESETS
]


def may_fit(names: Collection[str]) -> bool:
    """Whether a record with fields of these names may be a preset's."""
    found = frozenset(names)
    return any(shape <= found for shape in _SHAPES)
