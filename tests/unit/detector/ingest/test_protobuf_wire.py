"""Binary records are told by their form, so that `auto` reads them."""

from __future__ import annotations

import pytest

from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.protobuf_wire import OTLP, REMOTE_WRITE, binary_format
from tests.fakes import raw_batch
from tests.fuzz.corpus import CORPUS
from tests.unit.detector.ingest.formats.remote_writes import compressed

EXPORTS = CORPUS[OTLP]
REQUESTS = CORPUS[REMOTE_WRITE]
RECORDS = [
    *((OTLP, record) for record in EXPORTS),
    *((REMOTE_WRITE, compressed(record)) for record in REQUESTS),
    (REMOTE_WRITE, REQUESTS[0]),
]


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_protobuf_is_recognised_by_its_form(name: str, record: bytes) -> None:
    raw = raw_batch([record], timestamp=1_700_000_000_000)
    found = metric_decoder(FORMATS["auto"]).decode(raw)
    expected = metric_decoder(FORMATS[name]).decode(raw)
    assert list(found.names) == list(expected.names) != []
    assert not found.rejected


@pytest.mark.parametrize(
    "value",
    [
        b"\x0a\x02\x08\x01",
        b"\x01\x02",
        b"\x0a\x05\x0a\x01",
        b"m\x00 v=1",
        b"cpu,host=a __name__=1",
        EXPORTS[0][:-1],
    ],
)
def test_what_has_another_form_is_not_protobuf(value: bytes) -> None:
    assert binary_format(value) is None


def test_traces_are_rejected_with_what_they_may_be() -> None:
    span = b"\x12\x06\x12\x04\x12\x02ab"  # a span with an id and no name
    record = b"\x0a" + bytes([len(span)]) + span
    found = metric_decoder(FORMATS["auto"]).decode(raw_batch([record]))
    assert "traces or logs" in found.rejected[0].detail
