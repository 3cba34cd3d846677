"""collectd: value lists as JSON and as PUTVAL commands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detector.errors import MissingReason, RejectReason
from detector.events import MetricKind
from tests.unit.detector.ingest.formats.reading import (
    Row,
    faults_of,
    kinds_of,
    missing_of,
    read,
    rows_of,
)

T = 1_700_000_000.123


def value_list(**changes: Any) -> bytes:
    found = {
        "values": [0.12, 3.4],
        "dstypes": ["derive", "gauge"],
        "dsnames": ["rx", "tx"],
        "time": T,
        "interval": 10.0,
        "host": "web-1",
        "plugin": "interface",
        "plugin_instance": "eth0",
        "type": "if_octets",
        "type_instance": "",
        "meta": {"network:received": True},
    }
    return json.dumps([found | changes]).encode()


def test_a_value_list_is_a_row_of_its_identifier() -> None:
    assert read("collectd", value_list()) == [
        Row("web-1/interface-eth0/if_octets", T, {"rx": 0.12, "tx": 3.4})
    ]


def test_instances_are_part_of_the_stream_where_there_are_any() -> None:
    (row,) = read("collectd", value_list(plugin_instance="", type_instance="x"))
    assert row.stream == "web-1/interface/if_octets-x"


def test_labels_are_the_parts_of_the_identifier() -> None:
    rows = rows_of("collectd", value_list())
    assert rows.labels == [
        {
            "host": "web-1",
            "plugin": "interface",
            "plugin_instance": "eth0",
            "type": "if_octets",
        }
    ]


def test_only_a_gauge_has_a_known_kind() -> None:
    rows = rows_of("collectd", value_list())
    assert kinds_of(rows) == {"rx": MetricKind.UNKNOWN, "tx": MetricKind.GAUGE}


def test_a_null_is_missing_and_costs_no_other_value() -> None:
    value = value_list(values=[None, 2])
    (row,) = read("collectd", value)
    assert row.numbers == {"tx": 2.0}
    assert missing_of("collectd", value) == [(0, "rx", MissingReason.NAN)]


def test_several_value_lists_are_a_row_each() -> None:
    lists = [json.loads(value_list(host=host))[0] for host in ("a", "b")]
    rows = read("collectd", json.dumps(lists).encode())
    assert [row.stream for row in rows] == [
        "a/interface-eth0/if_octets",
        "b/interface-eth0/if_octets",
    ]


def test_putval_names_the_data_sources_of_known_types() -> None:
    line = b"PUTVAL web-1/interface-eth0/if_octets interval=10.000 1700000000.123:1:2"
    assert read("collectd", line) == [
        Row("web-1/interface-eth0/if_octets", T, {"rx": 1.0, "tx": 2.0})
    ]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"PUTVAL a/b/gauge N:1", Row("a/b/gauge", None, {"value": 1.0})),
        (b'PUTVAL "a b/c-d e/f" 9:1', Row("a b/c-d e/f", 9.0, {"value": 1.0})),
        (
            b"PUTVAL a/b/own 9:1:2",
            Row("a/b/own", 9.0, {"value0": 1.0, "value1": 2.0}),
        ),
    ],
)
def test_putval_takes_now_quotes_and_types_of_ones_own(line: bytes, row: Row) -> None:
    assert read("collectd", line) == [row]


def test_putval_of_several_lines_and_times_is_a_row_each() -> None:
    rows = read("collectd", b"PUTVAL a/b/c 9:1 10:2\r\nPUTVAL a/b/c 11:3\n")
    assert [row.time for row in rows] == [9.0, 10.0, 11.0]


@pytest.mark.parametrize("text", [b"U", b"nan"])
def test_an_unknown_value_is_missing(text: bytes) -> None:
    line = b"PUTVAL a/load/load 9:1:" + text + b":3"
    (row,) = read("collectd", line)
    assert row.numbers == {"shortterm": 1.0, "longterm": 3.0}
    assert missing_of("collectd", line) == [(0, "midterm", MissingReason.NAN)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[{}]", RejectReason.MALFORMED),
        (b"[1", RejectReason.MALFORMED),
        (value_list(dsnames=["rx"]), RejectReason.MALFORMED),
        (value_list(dstypes=["gauge"]), RejectReason.MALFORMED),
        (value_list(values=["1", "2"]), RejectReason.MALFORMED),
        (b"PUTVAL a/b/c", RejectReason.MALFORMED),
        (b"PUTVAL a/b/c interval=10", RejectReason.MALFORMED),
        (b"PUTVAL a/b 9:1", RejectReason.MALFORMED),
        (b"PUTVAL a/b/c 9", RejectReason.MALFORMED),
        (b"PUTVAL a/b/c 9:x", RejectReason.MALFORMED),
        (b'PUTVAL "a/b/c 9:1', RejectReason.MALFORMED),
        (b"PUTVAL a/b/c 9:1\nGETVAL a/b/c", RejectReason.MALFORMED),
        (b"PUTVAL a/b/\xff 9:1", RejectReason.ENCODING),
    ],
)
def test_what_is_no_value_list_is_rejected_and_no_other_record(
    value: bytes, reason: RejectReason
) -> None:
    good = value_list()
    ((message, found, _),) = faults_of("collectd", good, value, good)
    assert (message, found) == (1, reason)
