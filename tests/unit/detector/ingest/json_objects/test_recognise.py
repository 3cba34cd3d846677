"""Records of many producers are recognised by their own content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from detector.errors import MissingReason, RejectReason
from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import NAMES, format_kind
from detector.kafka.mapping_settings import MappingSettings
from tests.unit.detector.ingest.producers import CASES, ISO, Case, T, telegraf, vector

P = Partition("metrics", 0)
HEADERS = (("region", b"eu"),)


def read(*cases: Case, format_: str = "auto") -> RecordBatch:
    """The records of these cases, decoded with the mapping of the first."""
    given = MappingSettings.model_validate(cases[0].mapping).given()
    kind = format_kind(format_, given)
    assert kind is not None
    count = len(cases)
    raw = RawBatch(
        P,
        range(70, 70 + count),
        [T * 1000] * count,
        [0] * count,
        [None if case.key is None else case.key.encode() for case in cases],
        [case.data for case in cases],
        [HEADERS] * count,
    )
    return metric_decoder(kind).decode(raw)


def rejected(value: Any, key: str | None = None, format_: str = "auto") -> str:
    (record,) = read(Case("", value, {}, key=key), format_=format_).rejected
    return f"{record.reason.value}: {record.detail}"


def found(batch: RecordBatch) -> Mapping[str | bytes, float]:
    return dict(zip(batch.names, batch.values[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_record_gives_its_points_at_its_time(case: Case) -> None:
    batch = read(case)
    assert not batch.rejected
    assert found(batch) == pytest.approx(case.points)
    assert batch.times.tolist() == pytest.approx([case.at] * len(case.points))
    assert batch.missing == dict.fromkeys(case.missing.items(), 1)
    assert batch.without_points == (0 if case.points else 1)


def test_a_record_is_recognised_alike_whatever_came_before() -> None:
    cases = [case for case in CASES if not case.mapping]
    together = read(*cases, *reversed(cases))
    alone = [read(case) for case in (*cases, *reversed(cases))]
    assert list(together.names) == [name for one in alone for name in one.names]
    values = [value for one in alone for value in one.values[:, 0].tolist()]
    assert together.values[:, 0].tolist() == values
    labels = [label for one in alone for label in one.labels or [None] * len(one.names)]
    assert list(together.labels or ()) == labels
    assert not together.rejected


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (telegraf(), {"host": "db-7", "cpu": "cpu3"}),
        (vector(kind="absolute", gauge={"value": 1}), {"host": "db-7", "code": "200"}),
        (
            {"metric": "m", "host": "a", "mount": "/", "value": 1, "timestamp": T},
            {"host": "a", "mount": "/"},
        ),
    ],
)
def test_all_tags_are_labels(value: object, labels: Mapping[str, str]) -> None:
    (found_labels,) = read(Case("", value, {})).labels or ()
    assert found_labels == labels


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        ({"ts": T, "temp": 20.1}, None, "no_stream: .* set `stream`"),
        ({"id": "s", "time": f"{T}", "t": 1}, None, "no_stream: .*key: if `id` names"),
        ({"a": 1, "message": "hi there"}, None, "no_stream: .*`message` names it"),
        ({"message": "hello", "@timestamp": ISO}, "k", "no_features: "),
        ({"resourceLogs": []}, "k", "no_features: .*resourceLogs"),
        ("<a/>", "k", "malformed: .*XML"),
        ("a;b\n1;2\n", "k", "malformed: .*CSV"),
        ("Obj\x01rest", "k", "malformed: .*Avro"),
        ("hello world", "k", "malformed: no format is recognised.*`format`"),
        ("\0\0\0\0\x07{}", "k", "malformed: .*schema 7.*confluent"),
        ('\0{\0"\0a\0"\0:\x001\0}', "k", "encoding: it is UTF-16: send UTF-8"),
        ('{"a": 1', "k", "malformed: "),
        ("[1, 2]", "k", "malformed: .*not an object"),
    ],
)
def test_the_reason_of_a_rejection_names_the_likely_format_and_the_remedy(
    value: Any, key: str | None, reason: str
) -> None:
    assert re.match(reason, rejected(value, key), re.DOTALL)


def test_bytes_that_are_not_text_are_rejected_by_their_encoding() -> None:
    kind = format_kind("auto", {})
    assert kind is not None
    raw = RawBatch(P, [1], [0], [0], [b"k"], [b"\xfe\xfe\x80"], [()])
    (record,) = metric_decoder(kind).decode(raw).rejected
    assert record.reason is RejectReason.ENCODING


def test_a_format_that_is_set_reads_nothing_else() -> None:
    assert not read(Case("", telegraf(), {}), format_="telegraf_json").rejected
    other = vector(kind="absolute", gauge={"value": 1})
    assert "it is not telegraf_json" in rejected(other, format_="telegraf_json")
    assert "it looks like influx" in rejected("m v=1 5", "k", format_="json")
    assert "it is otlp and not json" in rejected({"resourceMetrics": []}, "k", "json")


def test_json_takes_no_record_for_another_producer_s() -> None:
    value = {"name": "a", "kind": "absolute", "gauge": {"value": 1}, "timestamp": T}
    batch = read(Case("", value, {}, key="k"), format_="json")
    assert found(batch) == {"k/gauge.value": 1}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_of_a_format_makes_one(name: str) -> None:
    assert format_kind(name, {}) is not None


def test_a_format_without_a_mapping_says_so() -> None:
    with pytest.raises(ValueError, match="graphite takes no `stream`"):
        format_kind("graphite", {"stream": ("a",)})


def test_an_empty_array_holds_no_point() -> None:
    assert read(Case("", json.dumps([]), {}, key="k")).without_points == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("installed_version", 587753009),
        ("@version", "1"),
        ("appVersion", 12),
        ("devEui", "1122334455667788"),
        ("imei", 356938035643809),
        ("serial", 4711),
        ("devAddr", "00189440"),
        ("port_name", "0012"),
    ],
)
def test_what_names_something_is_no_metric(name: str, value: object) -> None:
    record = {"timestamp": T, "level": 1.5, "info": {name: value}}
    assert found(read(Case("", record, {}, key="k"))) == {"k/level": 1.5}


@pytest.mark.parametrize("value", ["0", "0.5", "007", "-0012", "10", 12])
def test_numbers_in_quotes_are_numbers(value: object) -> None:
    record = {"timestamp": T, "level": value}
    assert found(read(Case("", record, {}, key="k"))) == {"k/level": float(str(value))}


def test_text_in_a_metric_that_the_settings_name_is_missing_and_rejects_nothing() -> (
    None
):
    record = {"timestamp": T, "entity": "door", "state": "on", "note": "x"}
    named = Case("", record, {}, key="k", mapping={"metrics": "state"})
    batch = read(named)
    assert not batch.rejected
    assert batch.missing == {("state", MissingReason.TEXT): 1}
    assert batch.without_points == 1
    by_pattern = Case("", record, {}, key="k", mapping={"metrics": "st*"})
    assert [r.reason for r in read(by_pattern).rejected] == [RejectReason.NO_FEATURES]
    switch = Case("", {**record, "state": True}, {}, key="k", mapping=named.mapping)
    assert found(read(switch)) == {"k/state": 1.0}
