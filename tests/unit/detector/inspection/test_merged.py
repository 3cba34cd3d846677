"""Sources that come out as one stream, and the fields that tell them apart."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from detector.events import Partition, RawBatch
from detector.ingest.decoder import Decoder, metric_decoder
from detector.ingest.formats.registry import format_kind
from detector.ingest.framing.registry import FRAMINGS
from detector.inspection.findings import find
from detector.inspection.merged import Merged, merged_streams
from detector.inspection.report import Inspected, in_one_line, lines
from tests.fakes import raw_batch

AT = 1_700_000_000  # epoch seconds


def auto(**mapping: Any) -> Decoder[Any]:
    kind = format_kind("auto", mapping)
    assert kind is not None
    return metric_decoder(kind, framing=FRAMINGS["auto"](None))


def batch(values: Sequence[object], key: bytes | None = b"plant") -> RawBatch:
    return raw_batch([json.dumps(value).encode() for value in values], key)


def merged(raw: RawBatch, decoder: Decoder[Any] | None = None) -> Merged | None:
    reading = decoder or auto()
    return merged_streams([reading.messages(raw)], [reading.decode(raw)])


def turns(count: int, *sources: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of the sources, one after the other."""
    records = zip(range(count), itertools.cycle(sources), strict=False)
    return [{"timestamp": AT + n, "temp": 20.5 + n % 3, **of} for n, of in records]


@pytest.mark.parametrize(
    "field",
    ["host", "hostname", "device", "deviceId", "sensor", "node", "instance", "source"],
)
def test_a_field_that_names_a_source_tells_it(field: str) -> None:
    found = merged(batch(turns(6, {field: "a"}, {field: "b"}, {field: "c"})))
    assert found == Merged([field], {"plant/temp": 3})


@pytest.mark.parametrize(
    ("sources", "path"),
    [
        ([{"room": "attic"}, {"room": "cellar"}], "room"),
        ([{"meta": {"line": "l1"}}, {"meta": {"line": "l2"}}], "meta.line"),
        ([{"plc_id": 7}, {"plc_id": 8}], "plc_id"),
        ([{"tags": {"core": "c0"}}, {"tags": {"core": "c1"}}], "tags.core"),
    ],
)
def test_any_text_whose_values_take_turns_tells_it(
    sources: Sequence[Mapping[str, Any]], path: str
) -> None:
    assert merged(batch(turns(8, *sources))) == Merged([path], {"plant/temp": 2})


def test_a_stream_that_the_record_names_may_hold_several_sources_too() -> None:
    raw = batch(turns(8, {"stream": "s", "host": "a"}, {"stream": "s", "host": "b"}))
    assert merged(raw) == Merged(["host"], {"s/temp": 2})


def test_the_elements_of_an_array_and_the_lines_of_a_record_are_looked_at() -> None:
    one = turns(4, {"host": "a"}, {"host": "b"})
    lines_of_one = b"\n".join(json.dumps(each).encode() for each in one)
    expected = Merged(["host"], {"plant/temp": 2})
    assert merged(batch([one])) == expected
    assert merged(raw_batch([lines_of_one], b"plant")) == expected


def test_no_more_fields_are_named_than_tell_all_sources_apart() -> None:
    a = {"host": "a", "address": "10.0.0.1", "rack": "r"}
    b = {"host": "b", "address": "10.0.0.2", "rack": "r"}
    assert merged(batch(turns(8, a, b))) == Merged(["host"], {"plant/temp": 2})
    disks = [{**of, "disk": disk} for of in (a, b) for disk in ("sda", "sdb")]
    found = merged(batch(turns(12, *disks)))
    assert found == Merged(["host", "disk"], {"plant/temp": 4})


@pytest.mark.parametrize(
    "texts",
    [
        ["idle"] * 6 + ["busy"] * 6,
        [f"job-{n}" for n in range(12)],
        ["a"] * 12,
    ],
)
def test_a_state_an_id_and_a_constant_tell_no_sources(texts: Sequence[str]) -> None:
    records = [{"timestamp": AT + n, "x": n, "mode": t} for n, t in enumerate(texts)]
    assert merged(batch(records)) is None


def test_records_whose_names_have_it_already_are_not_merged() -> None:
    records = turns(8, {"host": "a"}, {"host": "b"})
    assert merged(batch(records, key=None)) is None
    assert merged(batch(records), auto(tags=("host",))) is None
    assert merged(batch(records), auto(stream=("{host}",))) is None


def report(raw: RawBatch, decoder: Decoder[Any], tags: Sequence[str]) -> Inspected:
    findings = find([decoder.decode(raw)], AT + 60.0)
    return Inspected(
        topic="metrics",
        held={Partition("metrics", 0): range(findings.records)},
        unreadable=(),
        formats={"json": findings.records},
        configured="auto",
        findings=findings,
        best=findings,
        merged=merged(raw, decoder),
        tags=tags,
    )


@pytest.mark.parametrize("tags", [(), ("rack",)])
def test_the_settings_to_paste_make_each_source_a_stream(tags: Sequence[str]) -> None:
    records = turns(
        8, {"host": "a", "rack": "r", "n": "1"}, {"host": "b", "rack": "r", "n": "1"}
    )
    raw = batch(records)
    decoder = auto(tags=tags) if tags else auto()
    said = "\n".join(lines(report(raw, decoder, tags)))
    assert "merged" in said
    table = tomllib.loads(said.partition("TOML file:")[2])["kafka"]["topics"][0]
    assert table["mapping"]["tags"] == [*tags, "host"]
    assert merged(raw, auto(**table["mapping"])) is None


def test_check_says_it_in_its_line() -> None:
    raw = batch(turns(8, {"host": "a"}, {"host": "b"}))
    said = in_one_line(report(raw, auto(), ()))
    assert "several sources in 1 stream, told apart by `host`" in said
    assert "see `streamwarden inspect --topic metrics`" in said
