"""The formats, by the name that the setting ``format`` of a topic takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from detector.ingest.format import Format, FormatKind, UnknownFields
from detector.ingest.formats.auto import Auto, MakeFormat, is_flat_unless
from detector.ingest.formats.collectd import Collectd
from detector.ingest.formats.graphite import GraphiteLines
from detector.ingest.formats.influx import InfluxLines
from detector.ingest.formats.json_mapped import MappedReader
from detector.ingest.formats.json_records import JsonRecords
from detector.ingest.formats.json_wide import JsonWide
from detector.ingest.formats.otlp import OtlpMetrics
from detector.ingest.formats.presets.registry import MARKERS, by_name
from detector.ingest.formats.prometheus_remote_write import PrometheusRemoteWrite
from detector.ingest.json_objects.mapper import Mapper
from detector.ingest.json_objects.mapping import GENERIC
from detector.ingest.json_objects.preset import Preset
from detector.ingest.json_objects.recognise import SIGNS, Recogniser
from detector.ingest.pick_features import PickFeatures
from detector.ingest.rows import FeatureValues, NamedValues

AUTO: Final = "auto"
JSON: Final = "json"
Given = Mapping[str, Any]
_MakeAll = Callable[[UnknownFields, Collection[str]], Format[NamedValues]]

# Formats with bytes or a structure of their own, one line each.
_OWN: Final[Mapping[str, FormatKind]] = {
    "collectd": FormatKind(Collectd),
    "graphite": FormatKind(GraphiteLines),
    "influx": FormatKind(InfluxLines),
    "otlp": FormatKind(OtlpMetrics),
    "prometheus_remote_write": FormatKind(PrometheusRemoteWrite),
}
# Formats that are JSON without a sign of their producer.
_PLAIN: Final = ("debezium", "fluent_bit")


def format_kind(name: str, given: Given) -> FormatKind | None:
    """The format of a name; None if there is none.

    ``given``: parts of the mapping that the topic's settings say. Raises ValueError if
    the format takes no such part.
    """
    if name in _OWN:
        return _own_kind(name, given)
    if name == AUTO:
        return _of_json(partial(_auto, given), given, MARKERS | SIGNS)
    if name == JSON:
        return _of_json(partial(_json, given), given, ())
    if name in _PLAIN:
        return _of_json(partial(_preset, name, (), given), given, SIGNS)
    presets = by_name().get(name)
    if presets is None:
        return None
    return FormatKind(lambda unknown: _preset(name, presets, given, unknown, ()))


def _own_kind(name: str, given: Given) -> FormatKind:
    if name == "influx" and given.keys() <= {"booleans"}:
        return FormatKind(partial(InfluxLines, booleans=given.get("booleans", False)))
    if given:
        raise ValueError(f"format {name} takes no `{next(iter(given))}`")
    return _OWN[name]


def _auto(
    given: Given, unknown: UnknownFields, wanted: Collection[str]
) -> Format[NamedValues]:
    others: dict[str, MakeFormat] = {
        name: kind.all_numbers for name, kind in _OWN.items()
    }
    others["influx"] = partial(InfluxLines, booleans=given.get("booleans", False))
    return Auto(unknown, others, given, wanted)


def _json(
    given: Given, unknown: UnknownFields, wanted: Collection[str]
) -> Format[NamedValues]:
    mapper = Mapper(GENERIC.with_settings(given), unknown, wanted)
    return JsonRecords(MappedReader(mapper, JSON), is_flat_unless(given))


def _preset(
    name: str,
    presets: Sequence[Preset],
    given: Given,
    unknown: UnknownFields,
    wanted: Collection[str],
) -> Format[NamedValues]:
    recogniser = Recogniser(unknown, presets, given, wanted, name)
    is_flat = is_flat_unless(given) if not presets else lambda names: False
    return JsonRecords(MappedReader(recogniser, name), is_flat)


def _of_json(make: _MakeAll, given: Given, telling: Collection[str]) -> FormatKind:
    """JSON that may be flat: a bundle of features has a faster way to read it."""

    def of_features(
        features: Sequence[str], unknown: UnknownFields
    ) -> Format[FeatureValues]:
        others = PickFeatures(make(unknown, features), features, unknown)
        if given:
            return others
        return JsonWide(features, others, unknown, telling)

    return FormatKind(lambda unknown: make(unknown, ()), of_features)


#: All names that the setting takes.
NAMES: Final[Sequence[str]] = (AUTO, *sorted({JSON, *_PLAIN, *_OWN, *by_name()}))
FORMATS: Final[Mapping[str, FormatKind]] = {
    name: kind for name in NAMES if (kind := format_kind(name, {})) is not None
}
