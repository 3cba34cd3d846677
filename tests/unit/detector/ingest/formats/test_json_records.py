"""Flat JSON of any numbers: each number is a point of a stream of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import MissingReason, RejectReason
from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.decoder import metric_decoder
from detector.ingest.format import MAX_UNKNOWN
from detector.ingest.formats.registry import FORMATS
from detector.ingest.json_objects.field_names import is_id, may_be_clock
from detector.names import metric_stream
from tests.fakes import raw_batch
from tests.unit.detector.ingest.formats.reading import between_good

P = Partition("metrics", 3)


def raw(*values: bytes | None, key: bytes | None = b"host-1") -> RawBatch:
    return raw_batch(values, key, 70, P, timestamp=1_700_000_000_000)


def decode(*values: bytes | None, key: bytes | None = b"host-1") -> RecordBatch:
    return metric_decoder(FORMATS["json"], 1000).decode(raw(*values, key=key))


def record(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_each_number_of_a_record_is_a_point_of_a_stream_of_its_own() -> None:
    columns = decode(
        record(timestamp=5.5, stream="a", cpu=1, mem=2.5),
        record(timestamp=6.5, stream="b", disk=-3),
    )
    assert list(columns.names) == ["a/cpu", "a/mem", "b/disk"]
    assert columns.times.tolist() == [5.5, 5.5, 6.5]
    assert columns.values.tolist() == [[1.0], [2.5], [-3.0]]
    assert columns.values.dtype == np.float64
    assert columns.offsets.tolist() == [70, 70, 71]
    assert (columns.records, columns.next_offset) == (2, 72)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("NaN", MissingReason.NAN),
        ('"nan"', MissingReason.NAN),
        ("-Infinity", MissingReason.INFINITE),
        ('"+Inf"', MissingReason.INFINITE),
        ("1e39", MissingReason.OVERFLOW),
        ("1e999", MissingReason.OVERFLOW),
        ("-" + "9" * 60, MissingReason.OVERFLOW),
        ("9" * 400, MissingReason.OVERFLOW),
        ("9" * 5000, MissingReason.OVERFLOW),
        ('"n/a"', MissingReason.TEXT),
    ],
)
def test_a_bad_cell_costs_itself_and_not_its_record(
    cell: str, reason: MissingReason
) -> None:
    value = f'{{"timestamp": 5, "a": {cell}, "b": 2.0, "c": {cell}}}'.encode()
    columns = metric_decoder(FORMATS["json"]).decode(raw(value))
    assert list(columns.names) == ["host-1/b"]
    assert columns.missing == {("a", reason): 1, ("c", reason): 1}
    assert not columns.rejected


def test_a_record_of_bad_cells_alone_is_neither_scored_nor_rejected() -> None:
    columns = decode(b'{"a": NaN}', b'{"a": 1}')
    assert columns.offsets.tolist() == [71]
    assert (columns.without_points, columns.records) == (1, 2)
    assert not columns.rejected


def test_numbers_in_quotes_are_numbers() -> None:
    columns = decode(record(timestamp=5, a="20.1", b=" -3e2 ", c="0x10", d="1_0"))
    assert dict(zip(columns.names, columns.values[:, 0], strict=True)) == {
        "host-1/a": 20.1,
        "host-1/b": -300.0,
    }


def test_objects_give_dotted_names() -> None:
    columns = decode(record(timestamp=5, cpu={"user": 1, "of": {"core": 2}}))
    assert list(columns.names) == ["host-1/cpu.user", "host-1/cpu.of.core"]


def test_arrays_and_lines_hold_records() -> None:
    one = record(timestamp=5, stream="a", cpu=1)
    other = record(timestamp=6, stream="b", cpu=2)
    columns = decode(b"[" + one + b"," + other + b"]", one + b"\n" + other + b"\n")
    assert list(columns.names) == ["a/cpu", "b/cpu"] * 2
    assert columns.offsets.tolist() == [70, 70, 71, 71]


def test_a_bad_line_rejects_its_record_with_all_lines() -> None:
    one = record(timestamp=5, stream="a", cpu=1)
    columns = decode(one + b"\n" + one[:-4], one)
    assert columns.offsets.tolist() == [71]
    (rejected,) = columns.rejected
    assert rejected.offset == 70
    assert "line 2" in rejected.detail


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (1_700_000_000, 1.7e9),
        (1_700_000_000_250, 1_700_000_000.25),
        (1_700_000_000_250_000, 1_700_000_000.25),
        (1_700_000_000_250_000_000, 1_700_000_000.25),
        ("1700000000250", 1_700_000_000.25),
        ("2023-11-14T22:13:20.1234567Z", 1_700_000_000.123456),
    ],
)
def test_the_magnitude_of_a_time_tells_its_unit(stamp: object, seconds: float) -> None:
    columns = decode(record(timestamp=stamp, cpu=1))
    assert columns.times.tolist() == [pytest.approx(seconds, abs=1e-6)]


@pytest.mark.parametrize("name", ["ts", "time", "@timestamp", "clock", "event_time"])
def test_a_clock_is_the_time_and_never_a_metric(name: str) -> None:
    columns = decode(record(**{name: 1_600_000_000_123, "temp": 20.1}))
    assert list(columns.names) == ["host-1/temp"]
    assert columns.times.tolist() == [1_600_000_000.123]


def test_a_second_clock_is_no_metric_either() -> None:
    columns = decode(record(timestamp=1.6e9, received_at=1.6e9 + 5, cpu_time=12.5))
    assert list(columns.names) == ["host-1/cpu_time"]


def test_a_field_with_a_clock_s_name_may_be_a_metric_by_its_value() -> None:
    columns = decode(record(time=12.5, cpu=1))
    assert list(columns.names) == ["host-1/time", "host-1/cpu"]
    assert columns.times.tolist() == [1.7e9] * 2


def test_an_id_is_no_metric() -> None:
    columns = decode(record(ts=1.6e9, device_id=17, id=3, sensorId=4, grid=5))
    assert list(columns.names) == ["host-1/grid"]


def test_a_null_is_skipped() -> None:
    columns = decode(record(timestamp=5, cpu=None, mem=1))
    assert (list(columns.names), columns.unknown_fields, columns.rejected) == (
        ["host-1/mem"],
        0,
        [],
    )


def test_the_key_and_the_record_s_timestamp_stand_in_for_absent_fields() -> None:
    columns = decode(b'{"cpu": 1}', key="Zürich".encode())
    assert list(columns.names) == ["Zürich/cpu"]
    assert columns.times.tolist() == [1.7e9]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", RejectReason.EMPTY, "no bytes"),
        (b'{"cpu":1,"x":"' + b"y" * 1000 + b'"}', RejectReason.TOO_LARGE, "bytes"),
        ('{"cpu":1}'.encode("utf-16"), RejectReason.ENCODING, "UTF-8"),
        (b'{"note":"\xff","cpu":1}', RejectReason.ENCODING, "UTF-8"),
        (b"[1]", RejectReason.MALFORMED, "object"),
        (b"null", RejectReason.MALFORMED, "object"),
        (b'{"cpu":', RejectReason.MALFORMED, "truncated"),
        (
            b"cpu,host=web-1 usage=1.5",
            RejectReason.MALFORMED,
            "it looks like influx: set the topic's format",
        ),
        (b'{"cpu":1,"stream":7}', RejectReason.TYPE, "`stream`"),
        (b'{"cpu":1,"timestamp":true}', RejectReason.TYPE, "`timestamp`"),
        (b'{"cpu":1,"timestamp":"noon"}', RejectReason.TIMESTAMP, "noon"),
        (b'{"cpu":1,"timestamp":' + b"9" * 400 + b"}", RejectReason.TIMESTAMP, "1970"),
        (b"{}", RejectReason.NO_FEATURES, "number"),
        (b'{"cpu":null,"note":"x"}', RejectReason.NO_FEATURES, "number"),
    ],
)
def test_a_bad_record_is_rejected_whole_and_alone_with_its_own_fault(
    value: bytes | None, reason: RejectReason, detail: str
) -> None:
    good = record(timestamp=5, cpu=1, mem=2)
    columns = decode(good, value, good)
    assert columns.offsets.tolist() == [70, 70, 72, 72]
    (rejected,) = columns.rejected
    assert (rejected.offset, rejected.reason, rejected.value) == (71, reason, value)
    assert detail in rejected.detail


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, RejectReason.NO_STREAM),
        (b"", RejectReason.NO_STREAM),
        (b"\xff", RejectReason.ENCODING),
    ],
)
def test_a_record_without_a_stream_name_is_rejected(
    key: bytes | None, reason: RejectReason
) -> None:
    columns = decode(record(timestamp=5, cpu=1), key=key)
    assert ([r.reason for r in columns.rejected], len(columns.names)) == ([reason], 0)


@pytest.mark.parametrize("value", ["text", True, [1], {"deep": "text"}])
def test_a_field_without_a_number_is_reported_once_and_always_counted(
    value: object,
) -> None:
    name = "other.deep" if isinstance(value, dict) else "other"
    reported: list[tuple[str, Partition, int]] = []
    decoder = metric_decoder(
        FORMATS["json"], on_unknown=lambda *what: reported.append(what)
    )
    assert (
        decoder.decode(raw(record(cpu=1), record(cpu=1, other=value))).unknown_fields
        == 1
    )
    columns = decoder.decode(
        raw(record(cpu=1, other=value), record(cpu=1, other=value))
    )
    assert (columns.unknown_fields, list(columns.names)) == (2, ["host-1/cpu"] * 2)
    assert reported == [(name, P, 71)]


def test_unknown_fields_are_reported_up_to_a_bound() -> None:
    reported: list[str] = []
    decoder = metric_decoder(
        FORMATS["json"],
        on_unknown=lambda field, partition, offset: reported.append(field),
    )
    columns = decoder.decode(
        raw(*(record(cpu=1, **{f"x{k}": "text"}) for k in range(2 * MAX_UNKNOWN)))
    )
    assert (columns.unknown_fields, len(reported)) == (2 * MAX_UNKNOWN, MAX_UNKNOWN)


FIELDS = st.dictionaries(
    st.sampled_from(["cpu", "mem", "a/b", "", "timestamp", "stream"]) | st.text(),
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text()
    | st.lists(st.integers(), max_size=2),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=40) | FIELDS.map(lambda v: json.dumps(v).encode()),
        max_size=12,
    )
)
def test_every_record_is_points_or_rejected_whatever_its_bytes(
    values: list[bytes],
) -> None:
    good = record(timestamp=9, stream="good", cpu=4, mem=2)
    columns, mine = between_good(decode, values, good)
    assert (np.diff(columns.offsets) >= 0).all()
    assert (
        len(columns.names)
        == len(columns.times)
        == len(columns.values)
        == len(columns.offsets)
    )
    assert np.isfinite(columns.values).all()
    assert [columns.names[i] for i in mine] == ["good/cpu", "good/mem"] * (
        len(values) + 1
    )
    assert columns.values[mine, 0].tolist() == [4.0, 2.0] * (len(values) + 1)


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        min_size=1,
    )
)
def test_a_field_may_be_called_anything(
    numbers: dict[str, float],
) -> None:
    numbers = {
        name: value
        for name, value in numbers.items()
        if name != "stream" and not may_be_clock(name) and not is_id(name)
    } | {"cpu": 1}
    columns = metric_decoder(FORMATS["json"]).decode(raw(json.dumps(numbers).encode()))
    assert dict(zip(columns.names, columns.values[:, 0].tolist(), strict=True)) == {
        metric_stream("host-1", name): value for name, value in numbers.items()
    }
