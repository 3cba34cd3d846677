"""What a record is, by its own content alone.

Theory of operation. A JSON object is compared with the presets, which each ask for a
few fields of certain types. An envelope is taken off first. An object in which one
field names a metric holds that metric; any other one is flat JSON, each number a
metric. What is not JSON is told by how it begins. Nothing depends on the records
before, so that a replay recognises each record as it was recognised at first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from detector.errors import BadRecord, RejectReason
from detector.ingest.cells import is_utf8, is_utf_16
from detector.ingest.format import UnknownFields
from detector.ingest.json_objects.change_events import Row, unwrap
from detector.ingest.json_objects.implied import IMPLYING, keyless, one_metric
from detector.ingest.json_objects.json_text import TOO_DEEP, tolerant
from detector.ingest.json_objects.mapper import Mapper
from detector.ingest.json_objects.mapping import GENERIC, RecordMapping
from detector.ingest.json_objects.paths import Fields
from detector.ingest.json_objects.preset import Preset, markers
from detector.ingest.messages import Messages
from detector.ingest.protobuf_wire import binary_format
from detector.ingest.row_builder import RowBuilder

#: Names of the formats that read bytes of their own.
COLLECTD: Final = "collectd"
OTLP: Final = "otlp"
INFLUX: Final = "influx"
GRAPHITE: Final = "graphite"

_REMEMBERED: Final = 256  # mappings that records imply
_OTLP: Final = ("resourceMetrics", "resource_metrics")
_OTLP_OTHERS: Final = ("resourceLogs", "resourceSpans", "resourceProfiles")
_FOREIGN: Final = frozenset((*_OTLP, *_OTLP_OTHERS, "dsnames"))
_CLOUD_EVENT: Final = ("specversion", "data")
_DEEPEST_EVENT: Final = 8  # events around a record; by judgement, one is usual

#: Fields that say that an object is no flat JSON, beside the presets' own.
SIGNS: Final = frozenset(
    (
        *_OTLP,
        *_OTLP_OTHERS,
        *_CLOUD_EVENT,
        *IMPLYING,
        "after",
        "before",
        "dsnames",
        "op",
        "payload",
        "schema",
    )
)

# No two neighbouring parts of these patterns can match the same bytes, so that the time
# to match is linear in a record's length.
_CSV: Final = re.compile(rb"[^\n{}\[\]<>=,;]*[,;][^\n{}\[\]<>=]*(?:\r?\n|$)")
_SEND_JSON: Final = "send JSON, or lines of InfluxDB's line protocol"
_INFLUX_LINE: Final = re.compile(
    rb"(?:#[^\n]*\n|\s)*(?:\\.|[^\s\\#{\[<])(?:\\.|[^\s\\])*[ ]+"
    rb"(?:\\.|[^\s\\=,])+=(?:\"|[+-]?[.\d]|[tTfF])"
)
_GRAPHITE_LINE: Final = re.compile(
    rb"\s*[^\s={};]+(?:;[^\s=;]+=[^\s;]+)*[ \t]+[+-]?[\d.]+(?:[eE][+-]?\d+)?(?:[ \t]+-?\d+)?"
    rb"\s*(?:[\r\n]|$)"
)
_PUTVAL: Final = re.compile(rb"\s*PUTVAL\s", re.IGNORECASE)
_FRAME_BYTES: Final = 5  # of the Confluent frame: a zero byte and a schema's id
_LIKELY: Final = (
    (b"\x1f\x8b", "gzip", "let the producer compress with Kafka's own compression"),
    (b"Obj\x01", "an Avro file", "send single records with a schema registry"),
    (b"<", "XML", _SEND_JSON),
)
_REMEDY: Final = "set `format` of the topic in [[kafka.topics]]"


class Recogniser:
    """Adds the rows of JSON objects to a builder, each as what it is."""

    def __init__(
        self,
        unknown: UnknownFields,
        presets: Sequence[Preset],
        given: Mapping[str, Any],
        wanted: Collection[str] = (),
        only: str = "",
    ) -> None:
        """``given``: parts of the mapping that the topic's settings say.

        ``wanted``: metrics that are known. ``only``: the one format that records have;
        with presets, an object that fits none of them is rejected.
        """
        self._unknown = unknown
        self._given = given
        self._wanted = wanted
        self._only = only if presets else ""
        self._presets = [(preset, self._mapper(preset.mapping)) for preset in presets]
        self._markers = markers(presets)
        self._generic = self._mapper(GENERIC)
        self._implied: dict[RecordMapping, Mapper] = {}
        self._names_streams = "stream" in self._given or "tags" in self._given

    def add(
        self,
        built: RowBuilder,
        messages: Messages,
        message: int,
        fields: Fields,
        around: int = 0,
    ) -> None:
        """The rows of an object. Raises BadRecord before any is added.

        ``around``: how many CloudEvents the object is in.
        """
        if not self._markers.isdisjoint(fields):
            for preset, mapper in self._presets:
                if preset.fits(fields):
                    if preset.holds_points:
                        mapper.add(built, messages, message, fields)
                    else:
                        built.skip(message)
                    return
        if self._only:
            detail = f"it is not {self._only}: set `format` of the topic to auto"
            raise BadRecord(RejectReason.MALFORMED, detail)
        row = unwrap(fields)
        if row is not None:
            self._add_row(built, messages, message, row)
        elif all(name in fields for name in _CLOUD_EVENT) and isinstance(
            fields["data"], dict
        ):
            if around == _DEEPEST_EVENT:
                raise BadRecord(RejectReason.MALFORMED, TOO_DEEP)
            self.add(built, messages, message, fields["data"], around + 1)
        else:
            self._add_own(built, messages, message, fields)

    def takes_plain(self, built: RowBuilder, message: int, document: Any) -> bool:
        """Whether a document is a plain record of the first preset; then its row is
        added. It would be compared with that one first.
        """
        if not self._presets or type(document) is not dict:
            return False
        preset, mapper = self._presets[0]
        return mapper.takes_plain(built, message, document) and preset.holds_points

    def _add_row(
        self, built: RowBuilder, messages: Messages, message: int, row: Row
    ) -> None:
        """What an envelope holds: a row of a table, or any other object."""
        if row.fields is None:
            built.skip(message)
        elif row.is_change:
            mapper = self._generic
            if not self._names_streams:
                mapper = self._implying(_of_table(messages.key(message)))
            mapper.add(built, messages, message, row.fields, row.around)
        else:
            self._add_own(built, messages, message, row.fields)

    def _add_own(
        self, built: RowBuilder, messages: Messages, message: int, fields: Fields
    ) -> None:
        """An object that follows nobody's format."""
        has_key = bool(messages.key(message))
        mapping: RecordMapping | None = None
        if "name" not in self._given and "metrics" not in self._given:
            mapping = one_metric(fields, has_key)
        is_named = has_key or isinstance(fields.get("stream"), str)
        if mapping is None and not is_named and not self._names_streams:
            mapping = keyless(fields)
        mapper = self._generic if mapping is None else self._implying(mapping)
        mapper.add(built, messages, message, fields)

    def _implying(self, mapping: RecordMapping) -> Mapper:
        mapper = self._implied.get(mapping)
        if mapper is None:
            if len(self._implied) >= _REMEMBERED:
                self._implied.clear()
            mapper = self._implied[mapping] = self._mapper(mapping)
        return mapper

    def _mapper(self, mapping: RecordMapping) -> Mapper:
        whole = mapping.with_settings(self._given)
        return Mapper(whole, self._unknown, self._wanted)


def unwrapped(fields: Fields) -> Fields:
    """What is in the envelope of an object; the object itself if it is none."""
    row = unwrap(fields)
    if row is not None:
        return row.fields or {}
    data = fields.get("data")
    is_event = all(name in fields for name in _CLOUD_EVENT)
    return data if is_event and isinstance(data, dict) else fields


def foreign(fields: Fields) -> str | None:
    """The format that reads the bytes of a JSON object itself, if one does.

    Raises BadRecord for telemetry that holds no metrics.
    """
    if _FOREIGN.isdisjoint(fields):
        return None
    if any(isinstance(fields.get(name), list) for name in _OTLP):
        return OTLP
    if isinstance(fields.get("dsnames"), list) and "plugin" in fields:
        return COLLECTD
    others = [name for name in _OTLP_OTHERS if name in fields]
    if others:
        detail = f"it holds `{others[0]}` of OTLP, and no metrics: send them elsewhere"
        raise BadRecord(RejectReason.NO_FEATURES, detail)
    return None


def text_format(value: bytes) -> str:
    """The format of bytes that are not JSON.

    Raises BadRecord, with the likely format and the remedy, if none is recognised.
    """
    if is_utf_16(value):
        raise BadRecord(RejectReason.ENCODING, "it is UTF-16: send UTF-8")
    if value[:1] == b"\0" and len(value) > _FRAME_BYTES:
        number = int.from_bytes(value[1:_FRAME_BYTES], "big")
        detail = (
            f"it has the frame of a schema registry, schema {number}:"
            ' set framing = "confluent" and the registry of the topic'
        )
        raise BadRecord(RejectReason.MALFORMED, detail)
    binary = binary_format(value)
    if binary is not None:
        return binary
    if _PUTVAL.match(value):
        return COLLECTD
    if _INFLUX_LINE.match(value):
        return INFLUX
    if _GRAPHITE_LINE.match(value):
        return GRAPHITE
    for beginning, name, remedy in _LIKELY:
        if value.startswith(beginning):
            detail = f"it looks like {name}: {remedy}"
            raise BadRecord(RejectReason.MALFORMED, detail)
    if _CSV.match(value):
        raise BadRecord(RejectReason.MALFORMED, f"it looks like CSV: {_SEND_JSON}")
    if not is_utf8(value):
        detail = f"it is not UTF-8, and no other format is recognised in it: {_REMEDY}"
        raise BadRecord(RejectReason.ENCODING, detail)
    detail = f"no format is recognised in it: {_REMEDY}"
    raise BadRecord(RejectReason.MALFORMED, detail)


def _of_table(key: bytes | None) -> RecordMapping:
    """The mapping of a row: its table and its primary key, as the record's key has it,
    name the stream.
    """
    names = _key_fields(key)
    if not names:
        return GENERIC
    return RecordMapping(stream=("{source.table}", "{topic}"), tags=names)


def _key_fields(key: bytes | None) -> tuple[str, ...]:
    try:
        fields = tolerant(key or b"")
    except BadRecord:
        return ()
    if isinstance(fields, dict) and isinstance(fields.get("payload"), dict):
        fields = fields["payload"]
    return tuple(fields) if isinstance(fields, dict) else ()
