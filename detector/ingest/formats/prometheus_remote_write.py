"""Prometheus remote write: a WriteRequest in protobuf, in one block of snappy.

The label ``__name__`` is the metric. ``instance`` names the stream, else ``job`` does;
all other labels are its tags: ``web-1:9100{job=node}``. A series with neither is called
``prometheus``. Values that are NaN are missing: a stale marker is one, by a pattern of
bits that says that the series has ended.

A metric whose type the request states has it; types mostly come in requests of their
own, as a format keeps nothing from record to record. Otherwise the name tells, as
OpenMetrics asks: ``_total``, ``_count``, ``_sum`` and ``_bucket`` end the names of
counters. Histograms become ``NAME_count``, ``NAME_mean`` and quantiles, ``NAME_p95``:
see :mod:`detector.ingest.formats.prometheus_histograms`.

Both versions are read. Their fields have different numbers, so one schema fits both; it
is declared here because no package on PyPI carries it. Snappy is cramjam's, which the
Kafka client brings along. A block that claims to be longer than snappy can make it is
refused before any memory is taken. A request that was not compressed is read too.

Source: the Prometheus Remote-Write 1.0 and 2.0 specifications.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cramjam
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Type

from detector.errors import BadRecord, RejectReason
from detector.events import Labels, MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.formats.grouped_rows import GroupedRows, Stream
from detector.ingest.formats.prometheus_histograms import (
    Histograms,
    Part,
    Sample,
    add_totals,
    native_metrics,
    part_of,
    without_bound,
)
from detector.ingest.formats.protobuf_view import (
    UNDECODABLE,
    Field,
    declare,
    message_class,
)
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.rows import NamedValues, Rows

_METRIC: Final = "__name__"
_NAMED_BY: Final = ("instance", "job")
_MILLISECONDS: Final = 1_000  # of a second
_UNNAMED: Final = "prometheus"
# A copy of snappy takes at least 3 bytes and makes at most 64, so this is its bound.
_MAX_RATIO: Final = 22
_MAX_KNOWN: Final = 100_000  # series whose labels are kept

_COUNTER_SUFFIXES: Final = ("_total", "_count", "_sum", "_bucket")
# MetricMetadata.MetricType; the numbers are the protocol's
_TYPES: Final[Mapping[int, MetricKind]] = {
    1: MetricKind.COUNTER,
    2: MetricKind.GAUGE,
    4: MetricKind.GAUGE,  # of a gauge histogram
    6: MetricKind.GAUGE,  # an info
    7: MetricKind.GAUGE,  # a state set
}
_GAUGE_HISTOGRAM: Final = 3  # Histogram.ResetHint

_POOL = declare(
    "streamwarden.prometheus",
    {
        "Label": [
            Field("name", 1, Type.TYPE_STRING),
            Field("value", 2, Type.TYPE_STRING),
        ],
        "Sample": [
            Field("value", 1, Type.TYPE_DOUBLE),
            Field("timestamp", 2, Type.TYPE_INT64),
        ],
        "Histogram": [
            Field("count_int", 1, Type.TYPE_UINT64),
            Field("count_float", 2, Type.TYPE_DOUBLE),
            Field("sum", 3, Type.TYPE_DOUBLE),
            Field("schema", 4, Type.TYPE_SINT32),
            Field("zero_count_int", 6, Type.TYPE_UINT64),
            Field("zero_count_float", 7, Type.TYPE_DOUBLE),
            Field("negative_spans", 8, "BucketSpan", repeated=True),
            Field("negative_deltas", 9, Type.TYPE_SINT64, repeated=True),
            Field("negative_counts", 10, Type.TYPE_DOUBLE, repeated=True),
            Field("positive_spans", 11, "BucketSpan", repeated=True),
            Field("positive_deltas", 12, Type.TYPE_SINT64, repeated=True),
            Field("positive_counts", 13, Type.TYPE_DOUBLE, repeated=True),
            Field("reset_hint", 14, Type.TYPE_INT32),
            Field("timestamp", 15, Type.TYPE_INT64),
        ],
        "BucketSpan": [
            Field("offset", 1, Type.TYPE_SINT32),
            Field("length", 2, Type.TYPE_UINT32),
        ],
        "Series": [
            Field("labels", 1, Type.TYPE_BYTES, repeated=True),
            Field("samples", 2, "Sample", repeated=True),
            Field("histograms", 4, "Histogram", repeated=True),
        ],
        "Metadata": [
            Field("type", 1, Type.TYPE_INT32),
            Field("metric_family_name", 2, Type.TYPE_STRING),
        ],
        "Series2": [
            Field("labels_refs", 1, Type.TYPE_UINT32, repeated=True),
            Field("samples", 2, "Sample", repeated=True),
            Field("histograms", 3, "Histogram", repeated=True),
            Field("metadata", 5, "Metadata"),
            Field("created_timestamp", 6, Type.TYPE_INT64),
        ],
        "Request": [
            Field("timeseries", 1, "Series", repeated=True),
            Field("metadata", 3, "Metadata", repeated=True),
            Field("symbols", 4, Type.TYPE_STRING, repeated=True),
            Field("timeseries2", 5, "Series2", repeated=True),
        ],
    },
)
_Label = message_class(_POOL, "streamwarden.prometheus.Label")
_Request = message_class(_POOL, "streamwarden.prometheus.Request")


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """What the labels of a series say; equal only to itself.

    Attributes:
        part: what it may be of a histogram, whose stream is ``of``.
    """

    metric: str
    stream: Stream
    part: Part | None
    of: Stream


class PrometheusRemoteWrite:
    """Implements Format."""

    def __init__(self, unknown: UnknownFields) -> None:
        self._series: dict[tuple[bytes | str, ...], _Series] = {}
        self._streams: dict[tuple[tuple[str, str], ...], Stream] = {}

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        if len(self._series) > _MAX_KNOWN:
            self._series.clear()
            self._streams.clear()
        rows = GroupedRows(_MILLISECONDS)
        for i, value in enumerate(messages.values):
            try:
                self._read(as_bytes(value), rows)
            except BadRecord as fault:
                rows.reject(i, fault)
            else:
                rows.close(i)
        return rows.rows()

    def _read(self, value: bytes, rows: GroupedRows) -> None:
        """Raises BadRecord."""
        request = _request(value)
        types = {
            each.metric_family_name: _TYPES.get(each.type, MetricKind.UNKNOWN)
            for each in request.metadata
        }
        histograms = Histograms()
        for series in request.timeseries:
            known = self._known(series.labels)
            kind = types.get(known.metric, MetricKind.UNKNOWN)
            _add(rows, histograms, known, kind, series)
        for series in request.timeseries2:
            known = self._known(_referred(request.symbols, series.labels_refs))
            kind = _TYPES.get(series.metadata.type, MetricKind.UNKNOWN)
            created = series.created_timestamp
            _add(rows, histograms, known, kind, series, created)
        histograms.add_to(rows)

    def _known(self, encoded: Iterable[bytes | str]) -> _Series:
        """The series of labels: encoded ones, or names and values in turn."""
        key = tuple(encoded)
        found = self._series.get(key)
        if found is None:
            found = self._learn(key)
            self._series[key] = found
        return found

    def _learn(self, key: tuple[bytes | str, ...]) -> _Series:
        labels = dict(_labels(key))
        metric = labels.pop(_METRIC, "")
        if not metric:
            detail = f"a series has no label `{_METRIC}`"
            raise BadRecord(RejectReason.MALFORMED, detail)
        part = part_of(metric, labels)
        of = self._stream(without_bound(part, labels))
        return _Series(metric, self._stream(labels), part, of)

    def _stream(self, labels: Labels) -> Stream:
        identity = tuple(sorted(labels.items()))
        stream = self._streams.get(identity)
        if stream is None:
            stream = self._streams[identity] = _stream(labels)
        return stream


def _request(value: bytes) -> Any:
    try:
        request = _Request.FromString(_decompressed(value))
    except (cramjam.DecompressionError, *UNDECODABLE) as error:
        detail = f"it is not a remote write request in snappy ({error})"
        raise BadRecord(RejectReason.MALFORMED, detail) from None
    if not (request.timeseries or request.timeseries2 or request.metadata):
        detail = "it is not a remote write request: it has no series"
        raise BadRecord(RejectReason.MALFORMED, detail)
    return request


def _decompressed(value: bytes) -> bytes:
    """Raises BadRecord or DecompressionError."""
    if value[:1] == b"\n" and _is_request(value):
        return value
    length = cramjam.snappy.decompress_raw_len(value)
    if length > _MAX_RATIO * len(value):
        detail = f"its block of snappy claims to hold {length} bytes"
        raise BadRecord(RejectReason.MALFORMED, detail)
    return bytes(cramjam.snappy.decompress_raw(value))


def _is_request(value: bytes) -> bool:
    """Whether it is a request without compression."""
    try:
        request = _Request.FromString(value)
    except UNDECODABLE:
        return False
    return any(series.labels for series in request.timeseries)


def _referred(symbols: Any, references: Iterable[int]) -> list[str]:
    """The texts of version 2's references. Raises BadRecord."""
    try:
        return [symbols[reference] for reference in references]
    except IndexError:
        detail = "a label refers to a symbol that the request does not have"
        raise BadRecord(RejectReason.MALFORMED, detail) from None


def _labels(key: tuple[bytes | str, ...]) -> Iterator[tuple[str, str]]:
    """Raises BadRecord."""
    texts: list[str] = []
    for each in key:
        if isinstance(each, str):
            texts.append(each)
            continue
        try:
            label = _Label.FromString(each)
        except UNDECODABLE as error:
            detail = f"a label can't be read ({error})"
            raise BadRecord(RejectReason.MALFORMED, detail) from None
        texts.extend((label.name, label.value))
    if len(texts) % 2:
        detail = "a label has a name and no value"
        raise BadRecord(RejectReason.MALFORMED, detail)
    return zip(texts[::2], texts[1::2], strict=True)


def _stream(labels: Labels) -> Stream:
    tags = dict(labels)
    for key in _NAMED_BY:
        name = tags.get(key)
        if name:
            del tags[key]
            return Stream(name, tags, labels)
    return Stream(_UNNAMED, tags, labels)


def _add(
    rows: GroupedRows,
    histograms: Histograms,
    series: _Series,
    kind: MetricKind,
    found: Any,
    start: int = 0,
) -> None:
    metric = series.metric
    if kind is MetricKind.UNKNOWN and metric.endswith(_COUNTER_SUFFIXES):
        kind = MetricKind.COUNTER
    stream = series.stream
    for each in found.samples:
        sample = Sample(stream, metric, kind, each.timestamp, each.value, start)
        if series.part is None:
            sample.add_to(rows)
        else:
            histograms.add(series.part, series.of, sample)
    for each in found.histograms:
        of_gauges = each.reset_hint == _GAUGE_HISTOGRAM
        counted = MetricKind.GAUGE if of_gauges else MetricKind.COUNTER
        count = each.count_int or each.count_float
        rows.points.add(stream, each.timestamp, count, start)
        rows.name(f"{metric}_count", counted)
        if of_gauges:
            rows.points.add(stream, each.timestamp, each.sum, start)
            rows.name(f"{metric}_sum", counted)
        else:
            for name, totals in native_metrics(metric, each, start):
                add_totals(rows, stream, each.timestamp, name, totals)
