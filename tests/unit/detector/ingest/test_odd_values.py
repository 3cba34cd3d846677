"""Whatever stands in the place of one value of a producer's record, no record ends the
daemon, and none vanishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import format_kind
from detector.kafka.mapping_settings import MappingSettings
from tests.fakes import raw_batch
from tests.unit.detector.ingest.producers import CASES, MS, Case

# a number, or a text that is no field's name
SCALAR: Final = re.compile(rb'(?<![\w."])-?\d+(?:\.\d+)?(?![\w"])|"[^"]*"(?=\s*[,}\]])')
DIGITS: Final = b"9" * 400  # more than a float holds
ODD: Final = (
    DIGITS,
    b"-" + DIGITS,
    b"1e999",
    b"1e-400",
    b"-0",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"' + DIGITS + b'"',
    b'"1e999"',
    b'"\\u0000"',
    "\N{SNOWMAN}".encode(),
)


def odd_records(case: Case) -> Iterator[bytes]:
    for place in SCALAR.finditer(case.data):
        before = case.data[: place.start()]
        after = case.data[place.end() :]
        for odd in ODD:
            yield before + odd + after


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_record_with_an_odd_value_is_accounted_for(case: Case) -> None:
    given = MappingSettings.model_validate(case.mapping).given()
    kind = format_kind("auto", given)
    assert kind is not None
    decoder = metric_decoder(kind)
    key = case.key.encode() if case.key else None
    for value in odd_records(case):
        batch = decoder.decode(raw_batch([value], key, timestamp=MS))
        fates = [
            len(batch.names) > 0,
            len(batch.rejected) > 0,
            batch.without_points > 0,
        ]
        assert fates.count(True) == 1, value
