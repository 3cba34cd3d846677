"""Prometheus remote write: series, kinds, stale markers, both versions."""

from __future__ import annotations

import math

import pytest

from detector.errors import MissingReason, RejectReason
from detector.events import MetricKind
from detector.ingest.keying import stream_names
from detector.ingest.rows import NamedValues, Rows
from tests.fakes import raw_batch
from tests.unit.detector.ingest.formats.reading import (
    Row,
    faults_of,
    kinds_of,
    missing_of,
    read,
    rows_of,
    starts_of,
)
from tests.unit.detector.ingest.formats.remote_writes import (
    STALE,
    block,
    compressed,
    double,
    metadata,
    series,
    series_2,
    symbols,
    varint,
    whole,
)

FORMAT = "prometheus_remote_write"
T = 1_700_000_000
MS = T * 1000
NODE = {"instance": "web-1:9100", "job": "node"}


def node(metric: str, value: float = 1.0, time: int = MS) -> bytes:
    return series({"__name__": metric, **NODE}, (value, time))


def test_a_series_is_a_stream_of_its_instance_and_the_name_is_its_metric() -> None:
    request = node("node_load1", 0.53) + node("node_load5", 0.4, MS)
    (row,) = read(FORMAT, compressed(request))
    assert row == Row(
        "web-1:9100{job=node}", T, {"node_load1": 0.53, "node_load5": 0.4}
    )


def test_labels_are_all_labels_but_the_name() -> None:
    rows = rows_of(FORMAT, compressed(node("m")))
    assert rows.labels == [NODE]


@pytest.mark.parametrize(
    ("labels", "stream"),
    [
        ({"job": "node", "cpu": "0"}, "node{cpu=0}"),
        ({"cluster": "a"}, "prometheus{cluster=a}"),
        ({}, "prometheus"),
    ],
)
def test_a_series_without_an_instance_is_named_by_its_job(
    labels: dict[str, str], stream: str
) -> None:
    request = series({"__name__": "m", **labels}, (1.0, MS))
    (row,) = read(FORMAT, compressed(request))
    assert row.stream == stream


def test_samples_of_a_series_are_rows_in_the_order_of_their_times() -> None:
    first = series({"__name__": "a", **NODE}, (2.0, MS + 500))
    second = series({"__name__": "b", **NODE}, (1.0, MS), (2.0, MS + 500))
    rows = read(FORMAT, compressed(first + second))
    assert [row.time for row in rows] == [T, T + 0.5]
    assert rows[1].numbers == {"a": 2.0, "b": 2.0}


@pytest.mark.parametrize("value", [STALE, math.nan])
def test_a_stale_marker_is_missing(value: float) -> None:
    request = compressed(node("m", value))
    assert read(FORMAT, request) == []
    assert missing_of(FORMAT, request) == [(0, "m", MissingReason.NAN)]


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("requests_total", MetricKind.COUNTER),
        ("latency_count", MetricKind.COUNTER),
        ("latency_sum", MetricKind.COUNTER),
        ("latency_bucket", MetricKind.COUNTER),
        ("node_load1", MetricKind.UNKNOWN),
    ],
)
def test_the_name_of_a_counter_tells_its_kind(metric: str, kind: MetricKind) -> None:
    assert kinds_of(rows_of(FORMAT, compressed(node(metric)))) == {metric: kind}


def test_a_type_that_the_request_states_counts_more_than_the_name() -> None:
    request = node("open_total") + node("seen") + node("up")
    request += metadata("open_total", 2) + metadata("seen", 1)
    assert kinds_of(rows_of(FORMAT, compressed(request))) == {
        "open_total": MetricKind.GAUGE,
        "seen": MetricKind.COUNTER,
        "up": MetricKind.UNKNOWN,
    }


def test_a_native_histogram_is_its_count_its_mean_and_its_quantiles() -> None:
    spans = block(11, whole(1, 2 << 1) + whole(2, 1)) + block(11, whole(2, 1))
    deltas = block(12, varint(7 << 1) + varint((4 << 1) - 1))  # 7 and 3
    totals = whole(1, 10) + double(3, 25.0) + whole(4, 0)
    histogram = totals + spans + deltas + whole(15, MS)
    request = series({"__name__": "h", **NODE}, histogram=histogram)
    rows = rows_of(FORMAT, compressed(request))
    told = told_by(rows)
    assert told["h_count"] == 10
    assert told["h_mean"] == 2.5
    # 7 between 2 and 4, 3 between 4 and 8
    assert told["h_p50"] == pytest.approx(2 * 2 ** (5 / 7))
    assert told["h_p95"] == pytest.approx(4 * 2 ** (2.5 / 3))
    assert kinds_of(rows)["h_count"] is MetricKind.COUNTER
    assert list(rows.stamps) == [T]
    assert len(rows.numbers.totals) == 3


def test_a_native_histogram_of_gauges_is_its_count_and_its_sum() -> None:
    histogram = whole(1, 8) + double(3, 2.5) + whole(14, 3) + whole(15, MS)
    request = series({"__name__": "h", **NODE}, histogram=histogram)
    rows = rows_of(FORMAT, compressed(request))
    assert kinds_of(rows) == dict.fromkeys(("h_count", "h_sum"), MetricKind.GAUGE)


def told_by(rows: Rows[NamedValues]) -> dict[str, float]:
    names = [name for of_row in rows.numbers.names for name in of_row]
    return dict(zip(names, rows.numbers.values.tolist(), strict=True))


def classic(*counts: float, time: int = MS, total: float = 16.0) -> bytes:
    """Buckets up to 1, 2 and infinity, and what goes with them."""
    bounds = ("1", "2.0", "+Inf")
    buckets = [
        series({"__name__": "h_bucket", **NODE, "le": bound}, (count, time))
        for bound, count in zip(bounds, counts, strict=False)
    ]
    return b"".join(buckets) + node("h_sum", total, time) + node("h_count", 10, time)


def test_a_classic_histogram_is_its_count_its_mean_and_its_quantiles() -> None:
    rows = rows_of(FORMAT, compressed(classic(0.0, 8.0, 10.0)))
    expected = {"h_count": 10, "h_mean": 1.6, "h_p50": 1.625, "h_p95": 2.0}
    assert told_by(rows) == expected
    assert set(stream_names(raw_batch([b""]), rows)) == {"web-1:9100{job=node}"}
    assert len(rows.numbers.totals) == 3
    assert kinds_of(rows)["h_count"] is MetricKind.COUNTER


def test_histograms_of_several_times_are_told_apart() -> None:
    request = classic(0, 8, 10) + classic(0, 8, 10, time=MS + 1000, total=32.0)
    first, second = read(FORMAT, compressed(request))
    assert (first.time, first.numbers["h_mean"]) == (T, 1.6)
    assert (second.time, second.numbers["h_mean"]) == (T + 1, 3.2)


@pytest.mark.parametrize(
    ("request_", "metrics"),
    [
        (classic(0.0, 8.0), {"h_bucket", "h_count", "h_mean"}),
        (classic(0.0, 8.0, STALE), {"h_bucket", "h_count", "h_sum"}),
        (classic(0, 8, 10) * 2, {"h_bucket", "h_count", "h_sum"}),
        (node("h_sum"), {"h_sum"}),
        (node("h_count"), {"h_count"}),
        (node("h_bucket"), {"h_bucket"}),
        (
            node("h_sum") + node("h_count") + metadata("h_sum", 2),
            {"h_sum", "h_count"},
        ),
    ],
    ids=["cut off", "stale", "twice", "a sum", "a count", "a bucket", "a gauge"],
)
def test_what_is_no_whole_histogram_stays_what_it_is(
    request_: bytes, metrics: set[str]
) -> None:
    rows = rows_of(FORMAT, compressed(request_))
    assert {name for of_row in rows.numbers.names for name in of_row} == metrics


def test_version_2_refers_to_symbols_and_states_types_and_starts() -> None:
    texts = symbols("", "__name__", "seen", "instance", "a", "job", "b")
    request = texts + series_2(
        [1, 2, 3, 4, 5, 6], (7.0, MS), type_=1, created=MS - 1000
    )
    rows = rows_of(FORMAT, compressed(request))
    assert read(FORMAT, compressed(request)) == [Row("a{job=b}", T, {"seen": 7.0})]
    assert kinds_of(rows) == {"seen": MetricKind.COUNTER}
    assert starts_of(rows) == {"seen": T - 1}


def test_a_request_without_compression_is_read() -> None:
    assert read(FORMAT, node("m")) == read(FORMAT, compressed(node("m")))


def test_metadata_alone_is_no_fault() -> None:
    rows = rows_of(FORMAT, compressed(metadata("m", 1)))
    assert (list(rows.faults), list(rows.without_points)) == ([], [0])


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"garbage", "snappy"),
        (compressed(b"garbage"), "remote write"),
        (compressed(b""), "no series"),
        (varint(1 << 31) + b"abc", "claims to hold 2147483648 bytes"),
        (compressed(series({"job": "a"}, (1.0, MS))), "__name__"),
        (compressed(symbols("") + series_2([1, 2], (1.0, MS))), "symbol"),
        (compressed(symbols("", "a") + series_2([1], (1.0, MS))), "no value"),
        (compressed(block(1, block(1, b"\xff"))), "label"),
    ],
)
def test_what_is_no_request_is_rejected_and_no_other_record(
    value: bytes, detail: str
) -> None:
    good = compressed(node("m"))
    ((message, reason, found),) = faults_of(FORMAT, good, value, good)
    assert (message, reason) == (1, RejectReason.MALFORMED)
    assert detail in found
