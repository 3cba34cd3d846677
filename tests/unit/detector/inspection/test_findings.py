"""What is found in a sample, and how it is said."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from detector.events import Partition, RawBatch, RecordBatch, TimestampType
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.stated_kinds import StatedKinds, with_kinds
from detector.inspection.findings import Findings, find
from detector.inspection.formats import by_strictness, records_by_format
from detector.inspection.report import Inspected, in_one_line, lines, toml
from tests.fakes import raw_batch

AT = 1_700_000_000  # epoch seconds


def sample(
    *values: object, number: int = 0, key: bytes | None = b"a", ahead: float = 0.0
) -> RawBatch:
    """Records of one partition, a second apart by Kafka's timestamps."""
    encoded = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    raw = raw_batch(encoded, key, partition=Partition("metrics", number))
    stamps = [int((AT + n - ahead) * 1000) for n in range(len(values))]
    return replace(raw, timestamps=stamps)


def decoded(name: str, *raws: RawBatch) -> Sequence[RecordBatch]:
    return [metric_decoder(FORMATS[name]).decode(raw) for raw in raws]


def found(*raws: RawBatch, name: str = "json", now: float = AT + 60) -> Findings:
    return find(decoded(name, *raws), now)


def points(count: int, **fields: Sequence[float]) -> list[dict[str, float]]:
    return [
        {"timestamp": AT + n, **{name: of[n] for name, of in fields.items()}}
        for n in range(count)
    ]


def report(findings: Findings, best: Findings | None = None, **more: object) -> str:
    held = {Partition("metrics", 0): range(findings.records)}
    made = Inspected(
        topic="metrics",
        held=held,
        unreadable=(),
        formats=more.get("formats", {"json": findings.records}),  # type: ignore[arg-type]
        configured="json",
        findings=findings,
        best=best or findings,
    )
    return "\n".join(lines(made))


def test_streams_metrics_and_rates_are_counted() -> None:
    findings = found(sample(*points(11, cpu=range(11), mem=[1] * 11)))
    assert findings.streams == {"a/cpu": 11, "a/mem": 11}
    assert findings.metrics == {"cpu": 11, "mem": 11}
    assert findings.tick == 1
    assert findings.record_rate == pytest.approx(1.0)
    assert (findings.records, findings.points) == (11, 22)


def test_a_stream_on_several_partitions_is_named() -> None:
    records = points(3, cpu=[1, 2, 3])
    both = found(sample(*records), sample(*records, number=4))
    assert both.split == {"a/cpu": [0, 4]}
    assert not found(sample(*records), sample(*records, number=4, key=b"b")).split


def test_a_metric_that_only_rises_looks_like_a_counter() -> None:
    wave = [n % 3 for n in range(9)]
    findings = found(sample(*points(9, total=range(9), load=wave, flat=[1] * 9)))
    assert findings.counters == {"total": "only rises in this sample"}


def test_what_tells_a_counter_is_what_the_daemon_goes_by() -> None:
    """In the daemon's order: a setting, the name, its own past."""
    rises = points(
        9, hits_total=range(9), mem_total=[8] * 9, seen=range(9), level=range(9)
    )
    kind = with_kinds(FORMATS["json"], StatedKinds(("seen",), ("level",)))
    counters = find([metric_decoder(kind).decode(sample(*rises))], AT).counters
    assert counters == {
        "seen": "as its format or a setting says",
        "hits_total": "by its name",
    }
    few = points(2, hits_total=[1, 2], level=[1, 2])
    assert found(sample(*few)).counters == {"hits_total": "by its name"}


def test_what_only_rises_is_offered_as_a_counter_and_not_set() -> None:
    findings = found(sample(*points(9, **{"sent.bytes": range(9)})))
    made = Inspected("m", {}, (), {"json": 9}, "auto", findings, findings)
    text = "\n".join(toml(made))
    assert r'# counters = ["sent\\.bytes"]' in text
    (table,) = tomllib.loads(text)["kafka"]["topics"]
    assert "counters" not in table


def test_a_few_points_make_no_counter() -> None:
    assert not found(sample(*points(4, total=range(4)))).counters


def test_clocks_are_event_time_less_kafka_s() -> None:
    findings = found(sample(*points(3, cpu=[1, 2, 3]), ahead=5.0), now=AT)
    assert findings.clocks is not None
    assert findings.clocks.median == pytest.approx(5.0)
    assert findings.clocks.ahead == pytest.approx(2.0)


def test_who_set_the_timestamps_is_known() -> None:
    raw = sample(*points(2, cpu=[1, 2]))
    assert not found(raw).broker_time
    types = [TimestampType.LOG_APPEND_TIME] * 2
    assert found(replace(raw, timestamp_types=types)).broker_time


def test_rejected_records_are_counted_with_the_first_of_each_reason() -> None:
    findings = found(sample(b"no", {"cpu": 1}, b"no either"))
    ((reason, (count, record)),) = findings.rejected.items()
    assert (reason.value, count, record.offset) == ("malformed", 2, 0)


def test_a_record_counts_for_the_first_format_that_makes_points_of_it() -> None:
    line = b"cpu,host=a usage=1 1700000000000000000"
    raw = sample(line, {"cpu": 1}, line, b"?")
    tried = {name: decoded(name, raw) for name in by_strictness([*FORMATS])}
    assert records_by_format(tried) == {"influx": 2, "json": 1}


def test_the_formats_that_take_nearly_all_are_tried_last() -> None:
    assert by_strictness(["auto", "json", "influx"]) == ["influx", "json", "auto"]


def test_no_record_counts_for_a_format_that_reads_it_otherwise_than_auto() -> None:
    change = {
        "before": None,
        "after": {"cpu": 1},
        "op": "c",
        "ts_ms": 1_700_000_000_000,
    }
    raw = sample(change)
    tried = {name: decoded(name, raw) for name in by_strictness([*FORMATS])}
    assert tried["json"][0].names != tried["auto"][0].names
    assert records_by_format(tried) == {"auto": 1}


def test_what_comes_from_records_is_escaped_and_cut() -> None:
    hostile = {"stream": "a\x1b[2J\n" + "b" * 500, "c\u202ed": 1.0}
    text = report(found(sample(hostile, b"\x1b[2J" + b"x" * 5000)))
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) < 600


def test_the_format_with_more_points_is_suggested() -> None:
    raw = sample(*[b"cpu,host=a usage=1 1700000000000000000"] * 3)
    as_json = found(raw)
    as_influx = found(raw, name="influx")
    made = Inspected("m", {}, (), {"influx": 3}, "json", as_json, as_influx)
    settings = tomllib.loads("\n".join(toml(made)))
    assert settings["kafka"]["topics"] == [{"name": "m", "format": "influx"}]
    assert "3 of 3 records would be rejected; set its format" in in_one_line(made)


def test_a_format_that_makes_no_more_points_is_not_suggested() -> None:
    findings = found(sample(*points(3, cpu=[1, 2, 3])))
    made = Inspected("m", {}, (), {"influx": 3}, "json", findings, findings)
    assert made.suggested == "json"
    assert "set its format" not in in_one_line(made)


def test_an_empty_topic_has_no_settings_to_paste() -> None:
    text = report(found())
    assert "no record was read" in text
    assert "kafka.topics" not in text
