"""Plain records of a producer are read at once, and as if field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.detector.ingest.formats.reading import Row, list_rows, rows_of

AT = 1_700_000_000


def metric(host: str = "a", at: int = AT, **fields: object) -> dict[str, Any]:
    tags = {"host": host, "cpu": "cpu0"}
    return {"name": "cpu", "tags": tags, "fields": fields, "timestamp": at}


def read(*messages: object) -> list[Row]:
    return list_rows(rows_of("telegraf_json", *map(encoded, messages)))


def encoded(message: object) -> bytes:
    return json.dumps(message).encode()


def test_a_batch_is_read_as_its_metrics_one_by_one() -> None:
    metrics = [
        metric(idle=1, busy=2.5),
        metric("b", idle=3),
        metric(at=AT + 10, idle=4),
    ]
    assert read({"metrics": metrics}) == read(*metrics)
    assert read(metrics[0]) == [Row("a/cpu{cpu=cpu0}", AT, {"idle": 1, "busy": 2.5})]


def test_metrics_of_one_stream_and_time_in_a_batch_are_one_row() -> None:
    (row,) = read({"metrics": [metric(idle=1), metric(busy=2)]})
    assert row.numbers == {"idle": 1, "busy": 2}


@pytest.mark.parametrize(
    "odd",
    [
        metric(idle=1) | {"tags": {"host": "a", "n": 7}},
        metric(idle=1) | {"tags": {"host": "a", "n": ["x"]}},
        metric(idle=1) | {"tags": {"host": "a", "__own": "x"}},
        metric(idle=1) | {"tags": {"host": "a", "none": ""}},
        metric(idle="1"),
        metric(idle=1, text="x"),
    ],
)
def test_a_batch_with_a_metric_that_is_not_plain_loses_nothing(
    odd: dict[str, Any],
) -> None:
    plain = metric("b", idle=2)
    found = read({"metrics": [plain, odd]})
    assert found == [*read(plain), *read(odd)]
    assert [row.numbers["idle"] for row in found] == [2, 1]


def test_labels_are_the_tags() -> None:
    rows = rows_of("telegraf_json", encoded({"metrics": [metric(idle=1)]}))
    assert rows.labels == [{"host": "a", "cpu": "cpu0"}]
