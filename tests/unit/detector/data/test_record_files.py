"""Records in a file are read as those of a topic are."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from detector.data.per_metric import read_metrics
from detector.data.read_options import ReadOptions
from detector.data.wide import read_tables
from detector.errors import DataError
from detector.events import MetricKind
from detector.replay.chunks import FileSource
from tests.unit.detector.data.test_exports import MOMENT, Points, points

FLAT = '{"timestamp": 60, "stream": "a", "cpu": 1.5, "mem": 2}'
TELEGRAF = json.dumps(
    {
        "name": "cpu",
        "tags": {"host": "web-1", "cpu": "cpu0"},
        "fields": {"usage_idle": 97.5},
        "timestamp": 60,
    }
)
LINE = "mem,host=web-1 free=3i 1772366400000000000"


def read(folder: Path, *lines: str, name: str = "records.ndjson") -> Points:
    (folder / name).write_text("\n".join(lines) + "\n")
    return points(*read_metrics(folder))


def test_each_line_is_a_record_in_a_format_of_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, FLAT, TELEGRAF, LINE) == {
        ("a/cpu", 60): 1.5,
        ("a/mem", 60): 2,
        ("web-1/cpu{cpu=cpu0}/usage_idle", 60): 97.5,
        ("web-1/mem/free", MOMENT): 3,
    }


def test_kcats_envelope_brings_key_and_timestamp(tmp_path: Path) -> None:
    value = json.dumps({"cpu": 1})
    line = {"topic": "m", "partition": 0, "offset": 7, "tstype": "create"}
    line |= {"ts": 60_000, "key": "host-1", "payload": value}
    packed = base64.b64encode(value.encode()).decode()
    binary = {"ts": 120_000, "key": "host-1", "payload_base64": packed}
    assert read(tmp_path, json.dumps(line), json.dumps(binary)) == {
        ("host-1/cpu", 60): 1,
        ("host-1/cpu", 120): 1,
    }


def test_a_file_that_is_one_document_is_one_record(tmp_path: Path) -> None:
    text = json.dumps([json.loads(FLAT), json.loads(TELEGRAF)], indent=2)
    assert len(read(tmp_path, text, name="records.json")) == 3


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(FLAT.encode()))
    assert points(*read_metrics(tmp_path)) == {("a/cpu", 60): 1.5, ("a/mem", 60): 2}


def test_records_become_rows_of_a_bundles_features(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(f"{FLAT}\n")
    (table,) = read_tables(tmp_path, ["mem", "cpu"])
    assert (table.streams, table.values.tolist()) == (("a",), [[2, 1.5]])


def test_a_record_that_is_rejected_is_noted_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(f'{FLAT}\n{{"timestamp": "noon", "stream": "a", "cpu": 1}}\n')
    (table,) = read_metrics(tmp_path)
    (note,) = table.notes
    assert "1 record rejected as timestamp (record 2" in note
    path.write_text('{"timestamp": "noon", "stream": "a", "cpu": 1}\n')
    with pytest.raises(DataError, match=r"a\.ndjson, record 1: timestamp"):
        read_metrics(tmp_path)


def test_a_value_that_is_no_number_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"timestamp": 60, "stream": "a", "cpu": NaN, "mem": 1}\n')
    (table,) = read_metrics(tmp_path)
    assert table.notes == ("1 value is no number and counts as missing",)


def test_an_option_names_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(f"{FLAT}\n")
    with pytest.raises(DataError, match=r"a\.ndjson, record 1"):
        read_metrics(tmp_path, ReadOptions(record_format="influx"))
    with pytest.raises(DataError, match="no format 'xml'"):
        read_metrics(tmp_path, ReadOptions(record_format="xml"))


def test_a_replay_knows_kinds_and_labels_of_streams(tmp_path: Path) -> None:
    counter = {
        "name": "requests_total",
        "namespace": "shop",
        "tags": {"host": "web-1"},
        "timestamp": "2026-03-01T12:00:00Z",
        "kind": "absolute",
        "counter": {"value": 5.0},
    }
    (tmp_path / "a.ndjson").write_text(f"{json.dumps(counter)}\n{FLAT}\n")
    (chunk,) = FileSource(tmp_path, ["value"], each_metric=True).chunks()
    (poll,) = chunk.polls()
    names = list(poll.names)
    place = names.index("web-1/shop.requests_total")
    assert poll.kinds is not None
    assert poll.kinds[place].tolist() == [MetricKind.COUNTER]
    assert poll.kinds[names.index("a/cpu")].tolist() == [MetricKind.UNKNOWN]
    assert poll.labels is not None
    labels = poll.labels[place]
    assert labels is not None
    assert "web-1" in labels.values()


def histogram(time: int, count: int, total: float, counts: list[int]) -> str:
    """A cumulative histogram of OTLP, with buckets up to 1, 2 and above."""
    point = {
        "timeUnixNano": str(time * 10**9),
        "count": str(count),
        "sum": total,
        "bucketCounts": counts,
        "explicitBounds": [1.0, 2.0],
    }
    data = {"aggregationTemporality": 2, "dataPoints": [point]}
    metrics = [{"name": "h", "histogram": data}]
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})


def test_totals_of_histograms_tell_what_came_between_two_records(
    tmp_path: Path,
) -> None:
    found = read(
        tmp_path,
        histogram(60, 10, 5.0, [10, 0, 0]),
        histogram(120, 14, 11.0, [10, 4, 0]),
        histogram(90, 12, 8.0, [10, 2, 0]),
        histogram(180, 14, 11.0, [10, 4, 0]),
    )
    told = {key: value for key, value in found.items() if "count" not in key[0]}
    assert told == {
        ("otlp/h.mean", 120): 1.5,
        ("otlp/h.p50", 120): 1.5,
        ("otlp/h.p95", 120): pytest.approx(1.95),
    }


def test_growth_of_a_histogram_beyond_float32_is_left_out(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        histogram(60, 10**9, 0.0, [10, 0, 0]),
        histogram(120, 10**9 + 1, 3e39, [11, 0, 0]),
    )
    assert ("otlp/h.p50", 120) in found
    assert ("otlp/h.mean", 120) not in found
