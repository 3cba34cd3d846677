"""No record, whatever is in it, hangs or ends the daemon."""

from __future__ import annotations

import time

import pytest

from detector.errors import RejectReason
from detector.events import RecordBatch
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import format_kind
from tests.fakes import raw_batch

KEY = b"k"
HALF = "\\ud800"


def decoded(
    value: bytes, format_: str = "auto", key: bytes | None = KEY
) -> RecordBatch:
    kind = format_kind(format_, {})
    assert kind is not None
    return metric_decoder(kind).decode(raw_batch([value], key))


def processor_time(value: bytes) -> float:
    """Seconds to decode it, the least of some tries."""
    took = []
    for _ in range(3):
        before = time.process_time()
        decoded(value)
        took.append(time.process_time() - before)
    return min(took)


@pytest.mark.parametrize(
    ("beginning", "part"),
    [
        (b"", b"a;"),
        (b"", b"1;"),
        (b"", b"a;b=c"),
        (b"", b"a,"),
        (b"PUTVAL ", b"a/"),
        (b"PUTVAL ", b"a/b/c "),
    ],
)
def test_time_grows_no_faster_than_a_text(beginning: bytes, part: bytes) -> None:
    short, long = (
        processor_time(beginning + part * (size // len(part)) + b"{")
        for size in (100_000, 800_000)
    )
    assert long < 24 * short + 0.1  # eight times as long, and the clock's grain


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    text = f'{{"name": "cpu", "value": 1, "tags": {{"h": "a{HALF}"}}, "x": NaN}}'
    batch = decoded(text.encode(), key=None)
    assert not batch.rejected
    (labels, *_) = batch.labels or ()
    assert labels is not None
    assert labels["h"] == "a\ufffd"


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\uD800\ud83d\ude00\udc00", "\ufffd\U0001f600\ufffd"),
        (r"\\ud800", r"\ud800"),
    ],
)
def test_whole_pairs_and_other_escapes_stay(escaped: str, text: str) -> None:
    value = f'{{"{escaped}": 1, "x": NaN}}'
    names = list(decoded(value.encode()).names)
    assert names == [f"k/{text}"]


def test_a_value_list_with_half_of_a_surrogate_pair_is_read_as_any_other() -> None:
    text = (
        f'{{"host": "a{HALF}", "plugin": "load", "type": "load", "x": NaN,'
        ' "dsnames": ["value"], "values": [1]}'
    )
    assert list(decoded(text.encode()).names) == ["a\ufffd/load/load/value"]


@pytest.mark.parametrize("format_", ["auto", "json"])
@pytest.mark.parametrize(
    ("beginning", "end"),
    [
        (b'{"a":', b"}"),
        (b'{"specversion":"1.0","data":', b"}"),
        (b'{"payload":', b"}"),
        (b'{"schema":null,"payload":', b"}"),
        (b'{"x":NaN,"a":', b"}"),
        (b"[", b"]"),
    ],
)
def test_a_deep_record_is_accounted_for(
    format_: str, beginning: bytes, end: bytes
) -> None:
    for depth in range(860, 1000, 2):  # about the interpreter's limit
        batch = decoded(beginning * depth + b'{"a":1}' + end * depth, format_)
        fates = [len(batch.names), len(batch.rejected), batch.without_points]
        assert sum(fates) == 1


def test_events_in_events_are_rejected() -> None:
    depth = 50
    value = b'{"specversion":"1.0","data":' * depth + b'{"a":1}' + b"}" * depth
    (record,) = decoded(value).rejected
    assert record.reason is RejectReason.MALFORMED
    assert "nested too deep" in record.detail
