"""What was learnt from one export must change nothing of what the next ones say."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from detector.events import MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.formats import otlp_layouts
from detector.ingest.formats.grouped_rows import GroupedRows, Stream
from detector.ingest.formats.otlp import OtlpMetrics
from detector.ingest.formats.otlp_blocks import Blocks, encoded_resource
from detector.ingest.formats.otlp_protobuf import OtlpProtobuf
from detector.ingest.formats.otlp_streams import Resource
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


def large(host: str = "web-1", metric: str = "m") -> ExportMetricsServiceRequest:
    """As many points as are read as rows at once."""
    cores = [point(0.5 * i, {"cpu": str(i)}) for i in range(9)]
    seen = [point(i, {"cpu": str(i)}, start_time_unix_nano=NS) for i in range(9)]
    metrics = [gauge(f"{metric}{j}", *cores) for j in range(4)]
    return export(*metrics, total(f"{metric}_seen", *seen), host_name=host)


def together(*requests: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    """The resources of all in one export, as a batch processor puts them."""
    joined = ExportMetricsServiceRequest()
    for request in requests:
        joined.resource_metrics.extend(request.resource_metrics)
    return joined


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize(
    "request_",
    [
        usual(),
        large(),
        together(large("a"), usual(), large("b")),
        together(large("a"), large("a", "n")),
        together(large("a"), large("a")),
    ],
    ids=["small", "large", "several", "one resource twice", "the same twice"],
)
def test_an_export_like_the_one_before_is_read_as_if_it_were_the_first(
    request_: ExportMetricsServiceRequest, seed: int
) -> None:
    learnt = make()
    same = request_.SerializeToString()
    rows(learnt, same)
    other = moved(request_, seed)
    for values in ([same, same], [other], [same, other, b"garbage", same]):
        assert str(rows(learnt, *values)) == str(rows(make(), *values))
        assert rows(learnt, *values)[0] == rows(make(), *values)[0]


def test_a_fault_in_an_export_drops_all_of_it_and_nothing_of_others() -> None:
    learnt = make()
    good = large().SerializeToString()
    rows(learnt, good)
    bad = together(large(), export(gauge("", point(1.0)), host_name="b"))
    found, (_, _, _, faults) = rows(learnt, good, bad.SerializeToString(), good)
    assert [message for message, _ in faults] == [1]
    assert found == rows(make(), good, good)[0]


def test_an_export_like_the_one_before_is_not_decoded() -> None:
    encoding = OtlpProtobuf()
    (block,) = encoding.blocks(usual().SerializeToString())
    decoded = encoding.decode(block)
    resource = encoding.resource(decoded.resource)
    found = GroupedRows(NS)
    for metric in decoded.scope_metrics[0].metrics:
        data = encoding.data(metric)
        assert data is not None
        encoding.add_numbers(found.points, data[1].data_points, resource)
        found.name(metric.name, MetricKind.UNKNOWN)
    layouts = encoding.layouts
    layouts.learn(block, resource, found, 0)
    resource_field, rest = block
    other = resource_field, rest.replace(b"load", b"lo@d")
    longer = resource_field, rest + rest
    blocks = Blocks()
    blocks.add(0, [block])
    blocks.add(1, [other])
    blocks.add(2, [block, other])
    blocks.add(3, [block, longer])

    def streams(field: bytes, attributes: Sequence[bytes]) -> Sequence[Stream]:
        return encoding.streams(attributes, resource)

    unlike, unknown = layouts.read(GroupedRows(NS), blocks, streams)
    assert unlike.messages == [1, 2, 2]
    assert unknown.messages == [3, 3]


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


def test_what_is_remembered_of_ever_new_resources_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp_layouts, "MAX_POINTS", 20)
    encoding = OtlpProtobuf()
    layouts = encoding.layouts
    for host in range(60):
        name = f"host-{host:02}"
        value = export(gauge("load", point(0.5)), host_name=name).SerializeToString()
        (block,) = encoding.blocks(value)
        resource = encoding.resource(encoded_resource(block[0]))

        def streams(
            field: bytes, attributes: Sequence[bytes], known: Resource = resource
        ) -> Sequence[Stream]:
            return encoding.streams(attributes, known)

        blocks = Blocks()
        for message in range(10):
            blocks.add(message, [block])
        _, unknown = layouts.read(GroupedRows(NS), blocks, streams)
        if len(unknown):
            found = GroupedRows(NS)
            decoded = encoding.decode(block)
            (metric,) = decoded.scope_metrics[0].metrics
            encoding.add_numbers(found.points, metric.gauge.data_points, resource)
            found.name("load", MetricKind.GAUGE)
            layouts.learn(block, resource, found, 0)
        assert 0 < layouts.points <= 21
