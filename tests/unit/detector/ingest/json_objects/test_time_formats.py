"""Times of any notation: refused with the setting that reads them, and then read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from detector.events import RecordBatch
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import format_kind
from detector.kafka.mapping_settings import MappingSettings
from detector.record_clock import ClockBounds
from tests.fakes import raw_batch

AT = 1_767_186_000  # 2025-12-31T13:00:00Z


def read(record: Mapping[str, Any], **mapping: Any) -> RecordBatch:
    given = MappingSettings.model_validate(mapping).given()
    kind = format_kind("auto", given)
    assert kind is not None
    raw = raw_batch([json.dumps(record).encode()], b"k", timestamp=AT * 1000)
    return metric_decoder(kind, bounds=ClockBounds()).decode(raw)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("31.12.2025 13:00", "%d.%m.%Y %H:%M"),
        ("31.12.2025 13:00:00", "%d.%m.%Y %H:%M:%S"),
        ("31/12/2025 13:00:00", "%d/%m/%Y %H:%M:%S"),
        ("12/31/2025 01:00:00 PM", "%m/%d/%Y %I:%M:%S %p"),
        ("2025/12/31 13:00:00", "%Y/%m/%d %H:%M:%S"),
    ],
)
@pytest.mark.parametrize("field", ["timestamp", "date", "ts", "time"])
def test_a_date_is_refused_with_the_setting_that_reads_it(
    field: str, written: str, form: str
) -> None:
    record = {field: written, "cpu": 1}
    (rejected,) = read(record).rejected
    assert rejected.reason.value == "timestamp"
    assert f'set `time_format` in the topic\'s mapping to "{form}"' in rejected.detail
    assert read(record, time_format=form).times.tolist() == [AT]


@pytest.mark.parametrize("stamp", [20251231, "20251231"])
def test_a_date_of_eight_digits_is_told_from_a_number(stamp: object) -> None:
    record = {"timestamp": stamp, "cpu": 1}
    (rejected,) = read(record).rejected
    assert '`time_format` in the topic\'s mapping to "%Y%m%d"' in rejected.detail
    midnight = AT - 13 * 3600
    assert read(record, time_format="%Y%m%d").times.tolist() == [midnight]


def test_a_field_of_any_name_may_hold_the_time() -> None:
    record = {"Zeit": "31.12.2025 14:00 +0100", "cpu": 1}
    mapping = {"timestamp": "Zeit", "time_format": "%d.%m.%Y %H:%M %z"}
    batch = read(record, **mapping)
    assert (batch.names, batch.times.tolist()) == (["k/cpu"], [AT])


@pytest.mark.parametrize("stamp", ["31.12.2025", "noon", 1_700_000_000, True])
def test_a_time_that_is_written_otherwise_is_refused(stamp: object) -> None:
    record = {"timestamp": stamp, "cpu": 1}
    (rejected,) = read(record, time_format="%d.%m.%Y %H:%M").rejected
    assert rejected.reason.value in ("timestamp", "type")


def test_text_that_is_no_date_is_refused_with_an_example() -> None:
    (rejected,) = read({"timestamp": "yesterday at 5", "cpu": 1}).rejected
    assert "if it is a time, set `time_format`" in rejected.detail
    assert 'such as "%d.%m.%Y %H:%M:%S"' in rejected.detail


def test_a_notation_that_reads_no_date_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="no year, month and day"):
        MappingSettings(time_format="%H:%M")
