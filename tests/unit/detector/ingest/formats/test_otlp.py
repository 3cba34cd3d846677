"""OTLP metrics: both encodings, each kind of metric, and the names of streams."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from detector.distributions import explicit_buckets, mean_totals, quantile_totals
from detector.errors import MissingReason, RejectReason
from detector.events import MetricKind
from detector.ingest.decoder import feature_decoder, metric_decoder
from detector.ingest.formats.registry import FORMATS
from tests.fakes import raw_batch
from tests.unit.detector.ingest.formats.otlp_exports import (
    CUMULATIVE,
    DELTA,
    NS,
    T,
    export,
    gauge,
    point,
    total,
)
from tests.unit.detector.ingest.formats.reading import (
    Row,
    faults_of,
    kinds_of,
    missing_of,
    read,
    rows_of,
    starts_of,
)


def protobuf(request: ExportMetricsServiceRequest) -> bytes:
    encoded: bytes = request.SerializeToString()
    return encoded


def as_json(request: ExportMetricsServiceRequest) -> bytes:
    """As OTLP asks: integers of 64 bits as text, enumerations as numbers."""
    return json.dumps(MessageToDict(request, use_integers_for_enums=True)).encode()


ENCODINGS = pytest.mark.parametrize("encode", [protobuf, as_json])


@ENCODINGS
def test_points_of_one_stream_and_time_are_one_row(encode: Any) -> None:
    request = export(
        gauge("cpu.load", point(0.5), point(0.25, {"cpu": "1"})),
        gauge("cpu.count", point(8), point(-3, {"cpu": "1"})),
        host_name="web-1",
    )
    assert read("otlp", encode(request)) == [
        Row("web-1", T, {"cpu.load": 0.5, "cpu.count": 8.0}),
        Row("web-1{cpu=1}", T, {"cpu.load": 0.25, "cpu.count": -3.0}),
    ]


@ENCODINGS
@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        (gauge("m", point(1.0)), MetricKind.GAUGE),
        (total("m", point(1.0)), MetricKind.COUNTER),
        (total("m", point(1.0), temporality=DELTA), MetricKind.DELTA),
        (total("m", point(1.0), monotonic=False), MetricKind.GAUGE),
        (total("m", point(1.0), temporality=0), MetricKind.UNKNOWN),
    ],
)
def test_a_sum_is_a_counter_a_delta_or_a_gauge(
    encode: Any, metric: Metric, kind: MetricKind
) -> None:
    rows = rows_of("otlp", encode(export(metric, host_name="a")))
    assert kinds_of(rows) == {"m": kind}


@ENCODINGS
def test_a_counter_has_its_start_and_keeps_all_digits(encode: Any) -> None:
    big = 2**53 - 1
    metric = total("m", point(big, start_time_unix_nano=(T - 60) * NS))
    without = total("n", point(1))
    rows = rows_of("otlp", encode(export(metric, without, host_name="a")))
    assert rows.numbers.values.tolist() == [big, 1.0]
    assert starts_of(rows) == {"m": T - 60, "n": pytest.approx(math.nan, nan_ok=True)}


@ENCODINGS
def test_a_value_that_was_not_recorded_is_missing(encode: Any) -> None:
    request = export(
        gauge("stale", point(0.0, flags=1)),
        gauge("none", point()),
        gauge("nan", point(math.nan)),
        gauge("good", point(1.0)),
        host_name="a",
    )
    assert read("otlp", encode(request)) == [Row("a", T, {"good": 1.0})]
    missing = [(0, name, MissingReason.NAN) for name in ("stale", "none", "nan")]
    assert missing_of("otlp", encode(request)) == missing


@ENCODINGS
def test_an_infinite_value_is_passed_on_for_the_shared_checks(encode: Any) -> None:
    rows = rows_of("otlp", encode(export(gauge("m", point(math.inf)), host_name="a")))
    assert rows.numbers.values.tolist() == [math.inf]


@ENCODINGS
def test_a_point_without_a_time_has_that_of_its_record(encode: Any) -> None:
    request = export(gauge("m", point(1.0, time_unix_nano=0)), host_name="a")
    assert read("otlp", encode(request)) == [Row("a", None, {"m": 1.0})]


@pytest.mark.parametrize(
    ("resource", "stream"),
    [
        ({"host_name": "web-1"}, "web-1"),
        ({"service_name": "api", "host_name": "web-1"}, "web-1/api"),
        (
            {"service_name": "api", "service_instance_id": "7", "cloud_region": "eu"},
            "api/7{cloud.region=eu}",
        ),
        (
            {"k8s_node_name": "n", "k8s_pod_name": "p", "k8s_namespace_name": "shop"},
            "p{k8s.namespace.name=shop,k8s.node.name=n}",
        ),
        ({"host_name": "a", "os_type": "linux", "service_version": "2"}, "a"),
        ({"host_name": "a/b", "service_name": "c"}, "c{host.name=a/b}"),
        ({}, "otlp"),
    ],
)
def test_a_stream_is_named_by_what_identifies_its_resource(
    resource: dict[str, str], stream: str
) -> None:
    request = export(gauge("m", point(1.0)), **resource)
    (row,) = read("otlp", protobuf(request))
    assert row.stream == stream


@ENCODINGS
def test_labels_are_all_attributes(encode: Any) -> None:
    request = export(
        gauge("m", point(1.0, {"cpu": "1"})), host_name="a", os_type="linux"
    )
    rows = rows_of("otlp", encode(request))
    assert rows.labels == [{"host.name": "a", "os.type": "linux", "cpu": "1"}]


@ENCODINGS
def test_attributes_of_every_type_have_a_text(encode: Any) -> None:
    request = export(gauge("m", point(1.0)), host_name="a")
    attributes = request.resource_metrics[0].scope_metrics[0].metrics[0]
    for key, value in (("b", {"bool_value": True}), ("i", {"int_value": 2**40})):
        added = attributes.gauge.data_points[0].attributes.add(key=key)
        ((field, content),) = value.items()
        setattr(added.value, field, content)
    array = attributes.gauge.data_points[0].attributes.add(key="l")
    array.value.array_value.values.add(string_value="x")
    array.value.array_value.values.add(int_value=1)
    (labels,) = rows_of("otlp", encode(request)).labels or [None]
    expected = {"b": "true", "i": str(2**40), "l": '["x",1]'}
    assert labels == {"host.name": "a", **expected}


@ENCODINGS
def test_a_tag_that_a_resource_has_too_is_kept_beside_it(encode: Any) -> None:
    request = export(gauge("m", point(1.0, {"zone": "b"})), host_name="a", zone="c")
    (row,) = read("otlp", encode(request))
    assert row.stream == "a{resource.zone=c,zone=b}"


def histogram(temporality: int, **fields: Any) -> Metric:
    metric = Metric(name="h")
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.histogram.data_points.add(
        time_unix_nano=T * NS,
        start_time_unix_nano=(T - 10) * NS,
        count=10,
        bucket_counts=[0, 8, 2],
        explicit_bounds=[1.0, 2.0],
        **fields,
    )
    return metric


@ENCODINGS
def test_differences_of_a_histogram_are_its_count_mean_and_quantiles(
    encode: Any,
) -> None:
    rows = rows_of("otlp", encode(export(histogram(DELTA, sum=16.0), host_name="a")))
    numbers = dict(zip(rows.numbers.names[0], rows.numbers.values, strict=True))
    assert numbers == {"h.count": 10, "h.mean": 1.6, "h.p50": 1.625, "h.p95": 2.0}
    assert kinds_of(rows) == {
        "h.count": MetricKind.DELTA,
        "h.mean": MetricKind.GAUGE,
        "h.p50": MetricKind.GAUGE,
        "h.p95": MetricKind.GAUGE,
    }
    assert starts_of(rows)["h.count"] == T - 10


@ENCODINGS
def test_a_cumulative_histogram_says_the_totals_of_its_mean_and_quantiles(
    encode: Any,
) -> None:
    request = export(histogram(CUMULATIVE, sum=16.0), host_name="a")
    rows = rows_of("otlp", encode(request))
    assert kinds_of(rows) == {
        "h.count": MetricKind.COUNTER,
        "h.mean": MetricKind.GAUGE,
        "h.p50": MetricKind.GAUGE,
        "h.p95": MetricKind.GAUGE,
    }
    names = rows.numbers.names[0]
    totals = {names[place]: each for place, each in rows.numbers.totals.items()}
    assert totals["h.mean"] == mean_totals(16.0, 10, T - 10)
    buckets = explicit_buckets([1.0, 2.0], [0, 8, 2])
    assert totals["h.p95"] == quantile_totals(buckets, 0.95, T - 10)
    assert "h.count" not in totals


def test_totals_go_with_their_points_wherever_those_go() -> None:
    later = histogram(CUMULATIVE, sum=1.0)
    later.histogram.data_points[0].time_unix_nano = (T + 10) * NS
    bad = gauge("m", point(math.nan))
    request = export(
        gauge("g", point(1.0)), later, bad, histogram(CUMULATIVE, sum=16.0)
    )
    value = request.SerializeToString()
    for _ in range(2):
        raw = raw_batch([b"{", value])
        batch = metric_decoder(FORMATS["auto"]).decode(raw)
        told = {
            (str(batch.names[row]).rpartition("/")[2], batch.times[row]): totals[0]
            for row, totals in batch.totals.items()
        }
        assert told["h.mean", T].total == 16.0
        assert told["h.mean", T + 10].total == 1.0
        assert len(told) == 6


def test_a_bundle_of_features_has_the_totals_of_those_that_it_knows() -> None:
    request = export(histogram(CUMULATIVE, sum=16.0), host_name="a")
    kind = FORMATS["otlp"]
    decoder = feature_decoder(kind, ["other", "h.mean", "h.count"])
    batch = decoder.decode(raw_batch([request.SerializeToString()]))
    assert batch.totals == {0: {1: mean_totals(16.0, 10, T - 10)}}


@ENCODINGS
def test_a_histogram_without_a_sum_has_no_mean(encode: Any) -> None:
    (row,) = read("otlp", encode(export(histogram(DELTA), host_name="a")))
    assert "h.mean" not in row.numbers


@ENCODINGS
def test_an_exponential_histogram_has_quantiles_of_its_buckets(encode: Any) -> None:
    metric = Metric(name="e")
    metric.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    data = metric.exponential_histogram.data_points.add(
        time_unix_nano=T * NS, count=4, sum=12.0, scale=0
    )
    data.positive.offset = 1  # from 2 to 4
    data.positive.bucket_counts.extend([4])
    (row,) = read("otlp", encode(export(metric, host_name="a")))
    assert row.numbers["e.mean"] == 3.0
    assert row.numbers["e.p50"] == pytest.approx(math.sqrt(8.0))


@ENCODINGS
def test_a_summary_has_the_quantiles_of_its_producer(encode: Any) -> None:
    metric = Metric(name="s")
    data = metric.summary.data_points.add(time_unix_nano=T * NS, count=4, sum=12.0)
    for share in (0.0, 0.5, 0.999, 1.0):
        data.quantile_values.add(quantile=share, value=share * 10)
    rows = rows_of("otlp", encode(export(metric, host_name="a")))
    assert kinds_of(rows) == {
        "s.count": MetricKind.COUNTER,
        "s.mean": MetricKind.GAUGE,
        "s.p50": MetricKind.GAUGE,
        "s.p99.9": MetricKind.GAUGE,
    }


def test_one_resource_alone_in_json_is_read() -> None:
    request = json.loads(as_json(export(gauge("m", point(1.0)), host_name="a")))
    alone = json.dumps(request["resourceMetrics"][0]).encode()
    assert read("otlp", alone) == [Row("a", T, {"m": 1.0})]


def test_the_same_metric_of_two_scopes_is_two_rows() -> None:
    request = export(gauge("m", point(1.0)), host_name="a")
    scopes = request.resource_metrics[0].scope_metrics
    scopes.add().metrics.append(gauge("m", point(2.0)))
    rows = read("otlp", protobuf(request))
    assert [row.numbers["m"] for row in rows] == [1.0, 2.0]


def test_rows_are_in_the_order_of_their_times() -> None:
    later = point(2.0, time_unix_nano=(T + 1) * NS)
    request = export(gauge("m", later, point(1.0)), gauge("n", point(1.0)))
    rows = read("otlp", protobuf(request))
    assert [row.time for row in rows] == [T, T + 1]


def test_an_export_without_points_is_no_fault() -> None:
    rows = rows_of("otlp", protobuf(export(host_name="a")))
    assert list(rows.without_points) == [0]


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"garbage", "protobuf"),
        (b'{"resourceMetrics": 1}', "JSON"),
        (b'{"cpu": 1}', "no resourceMetrics"),
        (b"\x12\x02\x08\x01", "no resourceMetrics"),
        (protobuf(export(gauge("", point(1.0)))), "no name"),
    ],
)
def test_what_is_no_export_is_rejected_and_no_other_record(
    value: bytes, detail: str
) -> None:
    good = protobuf(export(gauge("m", point(1.0)), host_name="a"))
    ((message, reason, found),) = faults_of("otlp", good, value, good)
    assert (message, reason) == (1, RejectReason.MALFORMED)
    assert detail in found


POINTS = st.builds(
    NumberDataPoint,
    start_time_unix_nano=st.sampled_from([0, 1, T * NS]),
    time_unix_nano=st.sampled_from([0, T * NS, (T + 1) * NS]),
    as_double=st.none() | st.floats(),
    flags=st.sampled_from([0, 0, 0, 1, 2]),
    exemplars=st.just([]) | st.just([{"as_double": 1.0}]),
) | st.builds(
    NumberDataPoint,
    start_time_unix_nano=st.sampled_from([0, 1, T * NS]),
    time_unix_nano=st.sampled_from([0, T * NS]),
    as_int=st.integers(-(2**63), 2**63 - 1),
)


@given(st.lists(POINTS, max_size=8))
def test_points_read_by_their_leading_fields_are_those_of_the_schema(
    points: list[NumberDataPoint],
) -> None:
    for i, each in enumerate(points):  # streams of their own
        each.attributes.add(key="i").value.int_value = i
    rows = read("otlp", protobuf(export(gauge("m", *points), host_name="a")))
    found = {row.stream: (row.time, row.numbers["m"]) for row in rows}
    expected = {}
    for i, each in enumerate(points):
        kind = each.WhichOneof("value")
        value = float(getattr(each, kind)) if kind else math.nan
        if not each.flags & 1 and not math.isnan(value):
            time = each.time_unix_nano / NS if each.time_unix_nano else None
            expected[f"a{{i={i}}}"] = time, value
    assert found == expected
