"""A row becomes one point of its stream, or one of each of its numbers' streams."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import MetricKind
from detector.ingest.keying import ByMetric, ByStream, series_name, stream_names
from detector.ingest.rows import FeatureValues, Rows, named_values
from detector.names import metric_of
from tests.fakes import raw_batch

VECTORS = FeatureValues(("cpu", "mem"), np.array([[1, 2], [3, 4]], np.float64))
NAMED = named_values([["cpu", "mem"], ["disk"]], [[1, 2], [3]])


def test_a_vector_is_one_point_of_its_stream() -> None:
    points = ByStream(("cpu", "mem")).points(["a", b"b"], VECTORS, None)
    assert (list(points.names), points.per_row) == (["a", b"b"], None)
    assert points.values.tolist() == [[1, 2], [3, 4]]


def test_only_good_vectors_are_points() -> None:
    good = np.array([False, True])
    points = ByStream(("cpu", "mem")).points([None, "b"], VECTORS, good)
    assert (list(points.names), points.values.tolist()) == (["b"], [[3, 4]])


def test_each_number_is_a_point_of_the_stream_of_its_metric() -> None:
    points = ByMetric().points(["a", b"b"], NAMED, None)
    assert list(points.names) == ["a/cpu", "a/mem", "b/disk"]
    assert points.values.tolist() == [[1], [2], [3]]
    assert points.per_row is not None
    assert points.per_row.tolist() == [2, 1]


def test_only_numbers_of_good_rows_are_points() -> None:
    points = ByMetric().points([None, "b"], NAMED, np.array([False, True]))
    assert (list(points.names), points.values.tolist()) == (["b/disk"], [[3]])


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({}, "cpu"),
        ({"host": "a"}, "a/cpu"),
        ({"host": "a", "core": "0"}, "a/cpu{core=0}"),
        ({"zone": "z", "rack": "r"}, "cpu{rack=r,zone=z}"),
        ({"rack": "r", "zone": "z"}, "cpu{rack=r,zone=z}"),
        ({"a": "1,b=2}"}, r"cpu{a=1\,b\=2\}}"),
    ],
)
def test_a_series_is_named_by_its_host_its_measurement_and_all_its_tags(
    tags: dict[str, str], name: str
) -> None:
    assert series_name("cpu", tags) == name


def test_a_row_without_a_name_is_named_by_its_record_s_key() -> None:
    raw = raw_batch([b"x", b"y"], [b"key-0", b"key-1"])
    numbers = named_values([[], [], []], [[], [], []])
    rows = Rows(np.array([0, 1, 1]), ["a", None, "c"], [None] * 3, numbers)
    assert list(stream_names(raw, rows)) == ["a", b"key-1", "c"]


def test_points_have_the_kinds_the_starts_and_the_labels_of_their_numbers() -> None:
    kinds = np.array([MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.DELTA], np.uint8)
    starts = np.array([np.nan, 60.0, 120.0])
    numbers = named_values([["cpu", "mem"], ["disk"]], [[1, 2], [3]], kinds, starts)
    labels = [{"host": "a"}, None]
    points = ByMetric().points(["a", "b"], numbers, None, labels)
    assert points.kinds is not None
    assert points.kinds.tolist() == [[1], [2], [3]]
    assert points.starts is not None
    np.testing.assert_array_equal(points.starts, starts[:, None])
    assert points.labels == [{"host": "a"}, {"host": "a"}, None]
    kept = ByMetric().points([None, "b"], numbers, np.array([False, True]), labels)
    assert kept.kinds is not None
    assert (kept.kinds.tolist(), kept.labels) == ([[3]], [None])


def test_vectors_have_the_kinds_and_the_labels_of_their_rows() -> None:
    kinds = np.array([[1, 2], [2, 3]], np.uint8)
    vectors = FeatureValues(VECTORS.features, VECTORS.values, kinds)
    good = np.array([False, True])
    points = ByStream(VECTORS.features).points([None, "b"], vectors, good, [None, {}])
    assert points.kinds is not None
    assert (points.kinds.tolist(), points.labels) == ([[2, 3]], [{}])


def test_a_row_without_tags_keeps_its_name_beside_one_that_has_some() -> None:
    raw = raw_batch([b"x", b"y"], [b"key-0", b"key-1"])
    numbers = named_values([[], [], []], [[], [], []])
    tags = [{"host": "h"}, None, {}]
    rows = Rows(np.array([0, 1, 1]), ["m", "plain", None], [None] * 3, numbers, tags)
    assert list(stream_names(raw, rows)) == ["h/m", "plain", b"key-1"]


def test_a_slash_in_a_metric_is_not_one_in_a_stream() -> None:
    numbers = named_values([["c"], ["b/c"]], [[1], [2]])
    points = ByMetric().points(["a/b", "a"], numbers, None)
    assert points.names == ["a/b/c", "a/b%2Fc"]
    assert [metric_of(str(name)) for name in points.names] == ["c", "b/c"]
