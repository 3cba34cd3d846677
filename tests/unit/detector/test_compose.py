"""Settings become parts, or one sentence says why they can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.compose import make_decoder, own_topics
from detector.errors import ConfigError
from detector.events import MetricKind, Partition
from detector.settings.load import Settings
from tests.fakes import fake_bundle, raw_batch


def decoded(settings: Settings, tmp_path: Path, value: bytes) -> list[str | bytes]:
    decoder = make_decoder(fake_bundle(tmp_path), settings, lambda *field: None)
    return list(
        decoder.decode(raw_batch([value], b"key", timestamp=1_700_000_000_000)).names
    )


def with_format(name: str) -> Settings:
    return Settings.model_validate({"kafka": {"format": name}})


def test_records_are_json_unless_another_format_is_set(tmp_path: Path) -> None:
    assert decoded(Settings(), tmp_path, b'{"stream": "a", "cpu": 1}') == ["a"]
    assert decoded(with_format("influx"), tmp_path, b"m,host=a cpu=1") == ["a/m"]


def test_an_unknown_format_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'xml'.*influx, json"):
        decoded(with_format("xml"), tmp_path, b"")


def test_each_topic_has_the_format_and_the_framing_of_its_own(tmp_path: Path) -> None:
    topics = [
        {"name": "lines", "format": "influx"},
        {"pattern": "batch.*", "framing": "array"},
        "plain",
    ]
    settings = Settings.model_validate({"kafka": {"topics": topics}})
    decoder = make_decoder(fake_bundle(tmp_path), settings, lambda *field: None)

    def names(topic: str, value: bytes) -> list[str | bytes]:
        raw = raw_batch(
            [value], None, 0, Partition(topic, 0), timestamp=1_700_000_000_000
        )
        return list(decoder.decode(raw).names)

    assert names("lines", b"m,host=a cpu=1") == ["a/m"]
    pair = b'[{"stream": "a", "cpu": 1}, {"stream": "b", "cpu": 2}]'
    assert names("batches", pair) == ["a", "b"]
    assert names("plain", b'{"stream": "a", "cpu": 1}') == ["a"]


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ({"name": "a", "format": "xml"}, "topic a: there is no format 'xml'"),
        ({"pattern": "a.*", "framing": "x"}, r"topic a\.\*: there is no framing 'x'"),
    ],
)
def test_settings_of_a_topic_are_checked_before_its_first_record(
    topic: dict[str, str], message: str, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"kafka": {"topics": [topic]}})
    with pytest.raises(ConfigError, match=message):
        make_decoder(fake_bundle(tmp_path), settings, lambda *field: None)


def test_a_topic_may_say_which_metrics_are_counters(tmp_path: Path) -> None:
    topics = [{"name": "a", "counters": ["c.*"], "gauges": ["m.*"]}]
    settings = Settings.model_validate({"kafka": {"topics": topics}})
    decoder = make_decoder(fake_bundle(tmp_path), settings, lambda *field: None)
    record = b'{"timestamp": 1700000000, "stream": "s", "cpu": 1, "mem": 2}'
    batch = decoder.decode(raw_batch([record], partition=Partition("a", 0)))
    assert batch.kinds is not None
    assert batch.kinds.tolist() == [[MetricKind.COUNTER, MetricKind.GAUGE]]
    other = decoder.decode(raw_batch([record], partition=Partition("b", 0)))
    assert other.kinds is None


def test_topics_of_receivers_are_the_daemons_own() -> None:
    receiver = {"kind": "kafka", "name": "bus", "topic": "alerts"}
    settings = Settings.model_validate(
        {
            "alerting": {"receivers": [receiver]},
            "recovery": {"store": "kafka:states", "dead_letters": "kafka:letters"},
        }
    )
    assert own_topics(settings) == ("states", "letters", "alerts")
