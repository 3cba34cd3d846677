"""What was learnt from one export must change nothing of what the next ones say."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from detector.events import MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.formats.grouped_rows import GroupedRows
from detector.ingest.formats.otlp import OtlpMetrics
from detector.ingest.formats.otlp_protobuf import OtlpProtobuf
from detector.ingest.messages import Messages
from tests.fakes import raw_batch
from tests.unit.detector.ingest.formats.otlp_exports import (
    NS,
    T,
    export,
    gauge,
    point,
    total,
)
from tests.unit.detector.ingest.formats.reading import Row, list_rows


def usual() -> ExportMetricsServiceRequest:
    started = point(7, {"cpu": "0"}, start_time_unix_nano=(T - 9) * NS)
    return export(
        gauge("load", point(0.5), point(0.25, {"cpu": "0"})),
        total("seen", started, point(-3)),
        host_name="web-1",
    )


def moved(request: ExportMetricsServiceRequest, seed: int) -> bytes:
    """The same series with other times and values."""
    rng = random.Random(seed)
    other = copy.deepcopy(request)
    for of_resource in other.resource_metrics:
        for scope in of_resource.scope_metrics:
            for metric in scope.metrics:
                for each in (*metric.gauge.data_points, *metric.sum.data_points):
                    each.time_unix_nano = rng.choice((0, T * NS, (T + seed) * NS))
                    if each.HasField("as_int"):
                        each.as_int = rng.randint(-(2**63), 2**63 - 1)
                    else:
                        each.as_double = rng.choice((rng.random(), math.nan, 0.0))
    encoded: bytes = other.SerializeToString()
    return encoded


def make() -> OtlpMetrics:
    return OtlpMetrics(UnknownFields(lambda field, partition, offset: None))


def rows(format_: OtlpMetrics, *values: bytes) -> tuple[list[Row], Any]:
    found = format_.rows(Messages(raw_batch(values), values))
    kinds = None if found.numbers.kinds is None else found.numbers.kinds.tolist()
    return list_rows(found), (found.missing, found.labels, kinds, found.faults)


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_export_like_the_one_before_is_read_as_if_it_were_the_first(
    seed: int,
) -> None:
    learnt = make()
    rows(learnt, usual().SerializeToString())
    value = moved(usual(), seed)
    assert rows(learnt, value) == rows(make(), value)


def test_an_export_like_the_one_before_is_not_decoded() -> None:
    encoding = OtlpProtobuf()
    (block,) = encoding.blocks(usual().SerializeToString())
    decoded = encoding.decode(block)
    resource = encoding.resource(decoded.resource)
    found = GroupedRows(NS)
    assert not encoding.add_known(found, block)
    for metric in decoded.scope_metrics[0].metrics:
        data = encoding.data(metric)
        assert data is not None
        encoding.add_numbers(found.points, data[1].data_points, resource)
        found.name(metric.name, MetricKind.UNKNOWN)
    encoding.learn(block, resource, found, 0)
    count = len(found.points)
    assert encoding.add_known(found, block)
    assert found.points.values[count:] == found.points.values[:count]
    assert not encoding.add_known(found, block.replace(b"load", b"lo@d"))


@pytest.mark.parametrize(
    "change",
    [
        lambda points: points[0].attributes.add(key="x"),
        lambda points: setattr(points[0], "flags", 1),
        lambda points: points[0].exemplars.add(as_double=1.0),
        lambda points: points.add(as_double=1.0, time_unix_nano=T * NS),
        lambda points: points[0].ClearField("time_unix_nano"),
        lambda points: setattr(points[0], "as_int", 5),
    ],
)
def test_an_export_that_differs_in_more_than_numbers_is_decoded(change: Any) -> None:
    learnt = make()
    rows(learnt, usual().SerializeToString())
    other = usual()
    change(other.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points)
    for _ in range(2):
        value = other.SerializeToString()
        assert rows(learnt, value) == rows(make(), value)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_an_export_with_bytes_of_another_is_read_as_if_it_were_the_first(
    changes: list[tuple[int, int]],
) -> None:
    learnt = make()
    value = bytearray(usual().SerializeToString())
    rows(learnt, bytes(value))
    for place, byte in changes:
        value[place % len(value)] = byte
    for _ in range(2):
        assert str(rows(learnt, bytes(value))) == str(rows(make(), bytes(value)))
