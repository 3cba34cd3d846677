"""Which stream a data point of OTLP belongs to.

A resource is named first: its host, its service, that service's instance. Without a
host and a service, the first of :data:`_ALONE` names it. Other attributes become tags,
those of the resource and those of the point alike: any of them may tell two streams
apart. Attributes that only describe a resource are no part of the name, since an
update of a program must not begin its streams anew.

Source: OpenTelemetry's semantic conventions for resources.
"""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping
from typing import Any, Final

import msgspec

from detector.events import Labels
from detector.ingest.formats.grouped_rows import Stream

_HOST: Final = "host.name"
_SERVICE: Final = "service.name"
_INSTANCE: Final = "service.instance.id"
# what names a resource that has neither a host nor a service, the narrowest first
_ALONE: Final = (
    "k8s.pod.name",
    "container.name",
    "k8s.node.name",
    "faas.name",
    "host.id",
    "container.id",
)
_UNNAMED: Final = "otlp"  # a resource without any of these attributes
# attributes that describe a resource and don't identify it, and prefixes of such
_DESCRIBING: Final = frozenset(
    (
        "host.arch",
        "host.type",
        "host.ip",
        "host.mac",
        "service.version",
        "cloud.provider",
        "cloud.platform",
        "process.command",
        "process.command_args",
        "process.command_line",
        "process.executable.path",
        "process.owner",
        "process.parent_pid",
    )
)
_DESCRIBING_PREFIXES: Final = (
    "telemetry.",
    "os.",
    "host.cpu.",
    "host.image.",
    "process.runtime.",
    "container.image.",
    "container.runtime",
    "webengine.",
)


class Resource:
    """A resource and its streams.

    Attributes:
        known: streams by their attributes as they are encoded; readers fill it.
    """

    def __init__(self, attributes: Labels) -> None:
        self._attributes = attributes
        path = _path(attributes)
        self._name = "/".join(attributes[key] for key in path) or _UNNAMED
        self._tags = {
            key: value
            for key, value in attributes.items()
            if key not in path and not _describes(key)
        }
        self._streams: dict[tuple[tuple[str, str], ...], Stream] = {}
        self.known: dict[Hashable, Stream] = {}

    def stream(self, attributes: Labels) -> Stream:
        """The stream with these attributes of its data points."""
        key = tuple(sorted(attributes.items()))
        found = self._streams.get(key)
        if found is None:
            found = self._make(attributes)
            self._streams[key] = found
        return found

    def _make(self, attributes: Labels) -> Stream:
        tags = dict(self._tags)
        for key, value in attributes.items():
            if key in tags:
                tags[f"resource.{key}"] = tags[key]
            tags[key] = value
        return Stream(self._name, tags, {**self._attributes, **attributes})


def text(value: Any) -> str:
    """The text of an attribute's value; arrays and maps are JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, int | float):
        return str(value)
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()


def _path(attributes: Labels) -> list[str]:
    """The attributes whose values are the resource's name, in order."""
    path = [key for key in (_HOST, _SERVICE) if _is_part(attributes, key)]
    if _SERVICE in path and _is_part(attributes, _INSTANCE):
        path.append(_INSTANCE)
    if path:
        return path
    return [key for key in _ALONE if _is_part(attributes, key)][:1]


def _is_part(attributes: Mapping[str, str], key: str) -> bool:
    """Whether it can be part of a path: a slash would make the path ambiguous."""
    value = attributes.get(key, "")
    return value != "" and "/" not in value


def _describes(key: str) -> bool:
    return key in _DESCRIBING or key.startswith(_DESCRIBING_PREFIXES)
