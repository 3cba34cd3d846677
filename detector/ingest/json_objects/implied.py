"""What records say of themselves that follow nobody's format.

A record in which one field names a metric and another has its value holds that metric
alone. A record without a key and without a stream is named by the fields that identify
where it comes from. Text that changes from record to record identifies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from detector.ingest import cells
from detector.ingest.json_objects.field_names import (
    STREAM,
    clock_rank,
    identifies,
    is_clock,
    is_id,
    leaf,
    may_be_clock,
)
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.paths import Fields

_METRIC_NAMES: Final = (
    "metric",
    "metric_name",
    "metricName",
    "metricname",
    "measurement",
    "tagname",
    "tagName",
    "tag_name",
    "variable",
    "parameter",
    "name",
)
_VALUES: Final = ("value", "val", "v", "Value")
# what names the machine, the device or the place, the plainest first
_HOSTS: Final = (
    "host",
    "hostname",
    "host_name",
    "device",
    "device_id",
    "deviceId",
    "device_name",
    "deviceName",
    "instance",
    "node",
    "server",
    "machine",
    "sensor",
    "sensor_id",
    "sensorId",
    "entity",
    "entity_id",
    "asset",
    "station",
    "source",
)
#: Fields that may say that a record holds one metric.
IMPLYING: Final = frozenset((*_METRIC_NAMES, *_VALUES))
_TAG_OBJECTS: Final = ("tags", "labels", "dimensions", "attributes")
# texts that change without another stream, or that say what a number means
_TELL_NOTHING: Final = frozenset(
    (
        "comment",
        "correlation_id",
        "description",
        "error",
        "event_id",
        "id",
        "level",
        "log",
        "message",
        "msg",
        "note",
        "quality",
        "reason",
        "request_id",
        "severity",
        "span_id",
        "state",
        "status",
        "text",
        "trace_id",
        "unit",
        "units",
        "uuid",
        "version",
    )
)
# numbers that stand beside a value and are no metrics
_BESIDE: Final = frozenset(("interval", "period", "step", "quality", "q", "ttl", "ns"))
_LONGEST_TAG: Final = 128  # characters; a longer text is prose
_DEEPEST_TAG: Final = 4  # objects around a field that is looked at; by judgement


def one_metric(fields: Fields, has_key: bool) -> RecordMapping | None:
    """The mapping of a record that holds one metric; None if it is not plainly one."""
    name = _first_text(fields, _METRIC_NAMES)
    value = next((field for field in _VALUES if field in fields), None)
    if name is None or value is None or not _is_value(fields[value]):
        return None
    others = [field for field in fields if field not in (name, value)]
    if any(_is_metric(field, fields[field]) for field in others):
        return None
    host = _host(fields, others)
    tags = _tags(fields, [field for field in others if field != host])
    if host is not None:
        stream = (_template(fields, host),)
    elif has_key:
        stream = ("{key}",)
    else:
        stream = ("",) if tags else ("{topic}",)
    return RecordMapping(
        stream=stream,
        tags=tags,
        labels=() if host is None else (host,),
        name=(f"{{$.{name}}}",),
        value=(value,),
    )


def keyless(fields: Fields) -> RecordMapping | None:
    """The mapping of a record without a key; None if nothing in it names a stream."""
    host = _host(fields, list(fields))
    tags = _tags(fields, [field for field in fields if field != host])
    if host is None and not tags:
        return None
    stream = "" if host is None else _template(fields, host)
    labels = () if host is None else (host,)
    return RecordMapping(stream=(stream,), tags=tags, labels=labels)


def names_a_source(path: str) -> bool:
    """Whether the last part of a path names a machine, a device or a place."""
    return leaf(path) in _HOSTS


def telling(fields: Fields, depth: int = _DEEPEST_TAG) -> Iterator[tuple[str, str]]:
    """The path and the text of each field that may tell where a record comes from."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            inner = telling(value, depth - 1) if depth else ()
            yield from ((f"{name}.{path}", text) for path, text in inner)
        elif _is_tag(name, value) or (type(value) is int and is_id(name)):
            yield name, str(value)


def _is_value(value: Any) -> bool:
    return isinstance(value, bool) or cells.cell(value) is not None


def _is_metric(name: str, value: Any) -> bool:
    if name in _BESIDE or is_id(name):
        return False
    if may_be_clock(name) and is_clock(value):
        return False
    return type(value) in (int, float)


def _first_text(fields: Fields, names: Sequence[str]) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return name
    return None


def _host(fields: Fields, names: Sequence[str]) -> str | None:
    for name in (STREAM, *_HOSTS):
        if name not in names:
            continue
        value = fields[name]
        if isinstance(value, str) and value:
            return name
        if type(value) is int and is_id(name):
            return name
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            return name
    return None


def _template(fields: Fields, host: str) -> str:
    path = f"{host}.name" if isinstance(fields[host], dict) else host
    return f"{{$.{path}}}"


def _tags(fields: Fields, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if _is_tag(name, fields[name]))


def _is_tag(name: str, value: Any) -> bool:
    if name in _TAG_OBJECTS and isinstance(value, dict):
        return bool(value)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TAG:
        return False
    if name.lower() in _TELL_NOTHING or clock_rank(name) is not None:
        return False
    if is_clock(value):  # it changes from record to record
        return False
    return cells.text(value) is None or identifies(value)
