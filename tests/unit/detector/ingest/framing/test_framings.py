"""Records come apart into messages, each with the index of its record."""

from __future__ import annotations

import pytest

from detector.errors import RejectReason
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.framing.array import Array
from detector.ingest.framing.lines import Lines
from detector.ingest.framing.none import NoFraming
from detector.ingest.messages import Framing
from tests.fakes import raw_batch

LINES = b'{"a": 1}\r\n\n{"a": 2}\n'
ARRAY = b'[{"a": 1}, {"a": "]"}]'


@pytest.mark.parametrize(
    ("framing", "value", "values"),
    [
        (NoFraming(), LINES, [LINES]),
        (Lines(), LINES, [b'{"a": 1}', b'{"a": 2}']),
        (Array(), ARRAY, [b'{"a": 1}', b'{"a": "]"}']),
    ],
)
def test_a_record_has_the_messages_that_its_framing_packs(
    framing: Framing, value: bytes, values: list[bytes]
) -> None:
    messages = framing.messages(raw_batch([value, value], b"key", first=70))
    assert messages.values == [*values, *values]
    records = [messages.record(i) for i in range(len(messages.values))]
    assert records == [0] * len(values) + [1] * len(values)
    assert messages.offset(len(values)) == 71


@pytest.mark.parametrize(("framing", "value"), [(Lines(), b"\n \n"), (Array(), b"[]")])
def test_a_record_without_a_message_is_said_to_hold_no_point(
    framing: Framing, value: bytes
) -> None:
    messages = framing.messages(raw_batch([b'["a"]', value]))
    assert messages.without_points == [1]


def test_a_record_that_is_no_array_is_a_fault() -> None:
    (fault,) = Array().messages(raw_batch([b'["a"]', b'{"a": 1}'])).faults
    assert fault[0] == 1
    assert fault[1].reason is RejectReason.MALFORMED


def test_each_record_is_points_or_rejected_whatever_its_messages() -> None:
    decoder = metric_decoder(FORMATS["json"], framing=Lines())
    good = b'{"a": 1}\n{"a": 2}'
    torn = b'{"a": 1}\n{"a": '
    values = [good, torn, b"\n", b'{"b": 3}']
    batch = decoder.decode(raw_batch(values, b"k", first=70, timestamp=60_000))
    assert list(batch.names) == ["k/a", "k/a", "k/b"]
    assert batch.offsets.tolist() == [70, 70, 73]
    assert [r.offset for r in batch.rejected] == [71]
    assert (batch.without_points, batch.records) == (1, 4)
