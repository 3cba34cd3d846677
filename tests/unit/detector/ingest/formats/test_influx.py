"""Line protocol: one row for each line, named by its tags and its measurement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import RejectReason
from detector.events import Partition, RecordBatch
from detector.ingest.decoder import feature_decoder, metric_decoder
from detector.ingest.formats.registry import FORMATS, format_kind
from tests.fakes import raw_batch

P = Partition("telegraf", 3)
INFLUX = FORMATS["influx"]
LINE = b"cpu,host=web-1 usage=1.5 1700000000000000000"


def decode(*values: bytes | None) -> RecordBatch:
    raw = raw_batch(values, b"random-key", 70, P, timestamp=1_700_000_100_000)
    return metric_decoder(INFLUX, max_bytes=1000).decode(raw)


def points(batch: RecordBatch) -> dict[str | bytes, float]:
    return dict(zip(batch.names, batch.values[:, 0].tolist(), strict=True))


def test_each_number_of_a_line_is_a_point_of_its_own_stream() -> None:
    batch = decode(b"cpu,host=web-1 idle=90.5,busy=-3i,cores=4u 1700000000000000000")
    assert points(batch) == {
        "web-1/cpu/idle": 90.5,
        "web-1/cpu/busy": -3.0,
        "web-1/cpu/cores": 4.0,
    }
    assert batch.times.tolist() == [1.7e9] * 3
    assert batch.values.dtype == np.float64


def test_a_boolean_is_no_metric_unless_a_setting_says_so() -> None:
    value = b"disk,host=a ok=true,full=F,free=2"
    assert points(decode(value)) == {"a/disk/free": 2.0}
    kind = format_kind("influx", {"booleans": True})
    assert kind is not None
    batch = metric_decoder(kind).decode(raw_batch([value], timestamp=60_000))
    assert points(batch) == {"a/disk/ok": 1.0, "a/disk/full": 0.0, "a/disk/free": 2.0}


def test_a_record_of_strings_alone_holds_no_point_and_is_no_error() -> None:
    batch = decode(b'm state="up"', LINE)
    assert (batch.without_points, len(batch.rejected)) == (1, 0)


def test_a_string_is_ignored_counted_and_reported_once() -> None:
    reported: list[tuple[str, Partition, int]] = []
    decoder = metric_decoder(INFLUX, on_unknown=lambda *what: reported.append(what))
    value = b'm,host=a state="up, and running",v=1'
    batch = decoder.decode(
        raw_batch([value, value], first=70, partition=P, timestamp=60_000)
    )
    assert points(batch) == {"a/m/v": 1.0}
    assert batch.unknown_fields == 2
    assert reported == [("state", P, 70)]


def test_the_lines_of_a_record_share_its_offset() -> None:
    batch = decode(LINE + b"\n# a comment\n\nmem,host=web-1 free=2 1700000001\n", LINE)
    assert list(batch.names) == [
        "web-1/cpu/usage",
        "web-1/mem/free",
        "web-1/cpu/usage",
    ]
    assert batch.offsets.tolist() == [70, 70, 71]
    assert (batch.records, batch.next_offset) == (2, 72)


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (b" 1700000000123456789", 1_700_000_000.123456789),
        (b" 1700000000123456", 1_700_000_000.123456),
        (b" 1700000000123", 1_700_000_000.123),
        (b" 1700000000", 1_700_000_000.0),
        (b"", 1_700_000_100.0),
    ],
)
def test_the_magnitude_of_a_timestamp_tells_its_unit(
    stamp: bytes, seconds: float
) -> None:
    assert decode(b"m v=1" + stamp).times.tolist() == [seconds]


def test_escapes_and_quoted_line_ends_are_read() -> None:
    value = b'c\\ pu,rack=a\\,b v\\=x=1,note="two\nlines, \\"quoted\\"\n" 1700000000'
    batch = decode(value + b"\nmem free=2")
    assert points(batch) == {r"c pu{rack=a\,b}/v=x": 1.0, "mem/free": 2.0}


def test_a_quote_in_a_tag_opens_no_string() -> None:
    batch = decode(b'm,rack=6" v=1,s="x"\nmem,rack=6" v=2')
    assert points(batch) == {'m{rack=6"}/v': 1.0, 'mem{rack=6"}/v': 2.0}


def test_a_line_of_strings_alone_costs_its_record_nothing() -> None:
    batch = decode(b'system,host=a uptime="2 days"\nmem,host=a free=2')
    assert points(batch) == {"a/mem/free": 2.0}
    assert not batch.rejected


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", RejectReason.EMPTY, "no bytes"),
        (b"m v=1 1700000000" + b" " * 1000, RejectReason.TOO_LARGE, "bytes"),
        (b"m,host=\xff v=1", RejectReason.ENCODING, "UTF-8"),
        (b"cpu", RejectReason.MALFORMED, "line 1"),
        (LINE + b"\nmem v=", RejectReason.MALFORMED, "line 2"),
        (b"m v=0x10", RejectReason.MALFORMED, "line 1"),
        (b'm v="open', RejectReason.MALFORMED, "line 1"),
        (b"m v=1 noon", RejectReason.MALFORMED, "line 1"),
        (b'{"cpu": 1}', RejectReason.MALFORMED, "set the topic's format to json"),
        (b"m v=1 -1", RejectReason.TIMESTAMP, "1970"),
        (b"m v=1 9000000000000000000", RejectReason.TIMESTAMP, "2100"),
        (b"# only a comment\n \n", RejectReason.NO_FEATURES, "comment"),
    ],
)
def test_a_bad_line_rejects_its_record_and_no_other(
    value: bytes | None, reason: RejectReason, detail: str
) -> None:
    batch = decode(LINE, value, LINE)
    assert batch.offsets.tolist() == [70, 72]
    (rejected,) = batch.rejected
    assert (rejected.offset, rejected.reason, rejected.value) == (71, reason, value)
    assert detail in rejected.detail


def test_a_bundle_of_features_takes_them_from_a_line_and_ignores_others() -> None:
    reported: list[str] = []
    decoder = feature_decoder(
        INFLUX,
        ("free", "used"),
        on_unknown=lambda field, partition, offset: reported.append(field),
    )
    values = [
        b'mem,host=a used=2,free=1,total=3,note="x"',
        b"mem,host=b free=4\ncpu,host=b idle=9",
        b"cpu,host=c idle=9",
    ]
    batch = decoder.decode(raw_batch(values, partition=P, timestamp=60_000))
    assert list(batch.names) == ["a/mem", "b/mem"]
    np.testing.assert_array_equal(batch.values, [[1, 2], [4, np.nan]])
    assert batch.unknown_fields == 2
    assert sorted(reported) == ["idle", "note", "total"]
    assert [r.reason for r in batch.rejected] == [RejectReason.NO_FEATURES]


PIECES = st.sampled_from(
    ["cpu", ",host=a", ",=", " ", "v=1", 'v="', '"', "\\", "\n", "1", "#", "i", "é"]
)


@given(st.lists(st.lists(PIECES, max_size=12).map("".join) | st.text(), max_size=6))
def test_every_record_is_rows_or_rejected_whatever_its_text(texts: list[str]) -> None:
    values = [part for text in texts for part in (text.encode(), LINE)]
    batch = decode(*values, LINE)
    scored = set(batch.offsets.tolist())
    rejected = [r.offset for r in batch.rejected]
    assert batch.records == 1 + len(values)  # a line of text alone has no point
    assert not scored.intersection(rejected)
    assert {71 + 2 * i for i in range(len(texts))} <= scored
    assert np.isfinite(batch.values).all()
