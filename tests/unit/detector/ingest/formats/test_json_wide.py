"""Flat JSON of known features: each record is a point, or is rejected with a reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import MissingReason, RejectReason
from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from tests.fakes import raw_batch
from tests.unit.detector.ingest.formats.reading import between_good

P = Partition("metrics", 3)


def raw(*values: bytes | None, key: bytes | None = b"host-1") -> RawBatch:
    return raw_batch(values, key, 70, P, timestamp=1_700_000_000_000)


def decode(
    *values: bytes | None,
    key: bytes | None = b"host-1",
    features: tuple[str, ...] = ("cpu", "mem"),
    max_bytes: int = 1000,
) -> RecordBatch:
    return feature_decoder(FORMATS["json"], features, max_bytes).decode(
        raw(*values, key=key)
    )


def record(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_a_good_record_is_a_point() -> None:
    columns = decode(record(timestamp=5.5, stream="a", cpu=1, mem=2.5))
    assert list(columns.names) == ["a"]
    assert columns.times.tolist() == [5.5]
    assert columns.values.tolist() == [[1.0, 2.5]]
    assert columns.offsets.tolist() == [70]
    assert columns.next_offset == 71


def test_a_null_or_absent_feature_is_missing() -> None:
    columns = decode(record(timestamp=5, cpu=None, mem=1), record(timestamp=6, cpu=2))
    assert np.isnan(columns.values).tolist() == [[True, False], [False, True]]


def test_without_a_stream_field_the_key_names_the_stream() -> None:
    assert list(decode(record(timestamp=5, cpu=1)).names) == [b"host-1"]


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (7, 7.0),
        ("7.5", 7.5),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01 00:01:00", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        (None, 1.7e9),
    ],
)
def test_a_timestamp_is_epoch_seconds_iso_8601_or_the_record_s_own(
    stamp: object, seconds: float
) -> None:
    assert decode(record(timestamp=stamp, cpu=1)).times.tolist() == [seconds]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", RejectReason.EMPTY, "no bytes"),
        (b'{"cpu":1,"x":"' + b"y" * 1000 + b'"}', RejectReason.TOO_LARGE, "bytes"),
        ('{"cpu":1}'.encode("utf-16"), RejectReason.ENCODING, "UTF-8"),
        (b'{"timestamp":"\xff","cpu":1}', RejectReason.ENCODING, "UTF-8"),
        (b"[1]", RejectReason.MALFORMED, "object"),
        (b'{"cpu":', RejectReason.MALFORMED, "truncated"),
        (
            b"cpu,host=web-1 usage=1.5",
            RejectReason.MALFORMED,
            "it looks like influx: set the topic's format",
        ),
        (b'{"cpu":1}{"cpu":2}', RejectReason.MALFORMED, "trailing"),
        (b'{"cpu":1,"stream":7}', RejectReason.TYPE, "stream"),
        (b'{"cpu":1,"timestamp":"noon"}', RejectReason.TIMESTAMP, "noon"),
        (b'{"cpu":1,"timestamp":-4}', RejectReason.TIMESTAMP, "1970"),
        (b'{"disk":1}', RejectReason.NO_FEATURES, "`cpu`, `mem`"),
    ],
)
def test_a_bad_record_is_rejected_alone_with_its_own_fault(
    value: bytes | None, reason: RejectReason, detail: str
) -> None:
    good = record(timestamp=5, cpu=1)
    columns = decode(good, value, good)
    assert columns.offsets.tolist() == [70, 72]
    assert columns.next_offset == 73
    (rejected,) = columns.rejected
    assert (rejected.offset, rejected.reason, rejected.value) == (71, reason, value)
    assert detail in rejected.detail


def test_a_record_without_stream_and_key_is_rejected() -> None:
    (rejected,) = decode(record(timestamp=5, cpu=1), key=None).rejected
    assert rejected.reason is RejectReason.NO_STREAM


def test_a_key_that_is_not_utf_8_is_rejected() -> None:
    (rejected,) = decode(record(timestamp=5, cpu=1), key=b"\xff").rejected
    assert rejected.reason is RejectReason.ENCODING


def test_an_unknown_field_is_reported_once_and_always_counted() -> None:
    reported: list[tuple[str, Partition, int]] = []
    decoder = feature_decoder(
        FORMATS["json"], ("cpu",), on_unknown=lambda *what: reported.append(what)
    )
    value = record(timestamp=5, cpu=1, region={"name": "x"})
    assert decoder.decode(raw(value, record(timestamp=6, cpu=2))).unknown_fields == 1
    assert decoder.decode(raw(value, value)).unknown_fields == 2
    assert reported == [("region", P, 70)]


def test_a_topic_with_endless_new_fields_is_still_decoded() -> None:
    decoder = feature_decoder(FORMATS["json"], ("cpu",))
    for k in range(100):
        assert (
            len(decoder.decode(raw(record(timestamp=5, cpu=1, **{f"x{k}": k}))).names)
            == 1
        )


@pytest.mark.parametrize("feature", ["class", "f0", "a b", "é", "u0", "stamp.x"])
def test_a_feature_may_be_called_anything(feature: str) -> None:
    assert decode(
        record(timestamp=5, **{feature: 3}), features=(feature,)
    ).values.tolist() == [[3.0]]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cpu", "mem", "timestamp", "stream", "x"]) | st.text(),
            inner,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=40) | JSON.map(lambda v: json.dumps(v).encode()),
        max_size=12,
    )
)
def test_every_record_is_a_point_or_rejected_whatever_its_bytes(
    values: list[bytes],
) -> None:
    good = record(timestamp=9, stream="good", cpu=4, mem=2)
    columns, mine = between_good(decode, values, good)
    assert np.isfinite(columns.times).all()
    assert not np.isinf(columns.values).any()
    assert len(mine) == len(values) + 1
    assert {columns.names[i] for i in mine} == {"good"}
    assert columns.values[mine].tolist() == [[4.0, 2.0]] * len(mine)


@pytest.mark.parametrize(
    "neighbour", [record(timestamp=5, cpu=1), record(timestamp="yesterday", cpu=1)]
)
def test_a_timestamp_nan_is_not_an_absent_one(
    neighbour: bytes,
) -> None:
    rejected = decode(record(timestamp="nan", cpu=1), neighbour).rejected
    assert (rejected[0].offset, rejected[0].reason) == (70, RejectReason.TIMESTAMP)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("NaN", MissingReason.NAN),
        ('"high"', MissingReason.TEXT),
        ("[1]", MissingReason.TYPE),
        ("1e999", MissingReason.OVERFLOW),
        ("1e39", MissingReason.OVERFLOW),
        ("9" * 400, MissingReason.OVERFLOW),
    ],
)
def test_a_bad_feature_is_missing_and_the_others_count(
    cell: str, reason: MissingReason
) -> None:
    columns = decode(f'{{"timestamp":5,"cpu":{cell},"mem":2}}'.encode())
    np.testing.assert_array_equal(columns.values, [[np.nan, 2]])
    assert columns.missing == {("cpu", reason): 1}


@pytest.mark.parametrize(("cell", "value"), [('"20.1"', 20.1), ("true", 1.0)])
def test_a_feature_may_be_a_number_in_quotes_or_a_boolean(
    cell: str, value: float
) -> None:
    columns = decode(f'{{"timestamp":5,"cpu":{cell},"mem":2}}'.encode())
    assert columns.values.tolist() == [[value, 2.0]]


def test_features_are_found_in_objects_and_arrays() -> None:
    deep = record(timestamp=5, sys={"cpu": 1, "mem": 2})
    columns = decode(b"[" + deep + b"]", deep, features=("sys.cpu", "sys.mem"))
    assert columns.values.tolist() == [[1.0, 2.0]] * 2


def test_records_of_both_paths_stay_in_order() -> None:
    plain = record(timestamp=5, cpu=1)
    quoted = record(timestamp=6, cpu="2")
    columns = decode(plain, quoted, plain, quoted)
    assert columns.offsets.tolist() == [70, 71, 72, 73]
    assert columns.values[:, 0].tolist() == [1.0, 2.0, 1.0, 2.0]


def test_a_value_that_is_ignored_may_hold_anything() -> None:
    """It is not read, not even on the first occurrence of its field."""
    value = b'{"timestamp":5,"cpu":1,"note":"\xff"}'
    decoder = feature_decoder(FORMATS["json"], ("cpu",))
    for _ in range(2):
        batch = decoder.decode(raw(value))
        assert (batch.unknown_fields, len(batch.names)) == (1, 1)
