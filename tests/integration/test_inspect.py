"""`inspect` and the line of `check`, on topics of a real Kafka."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from deploy.harness.broker import Broker
from detector.cli.main import main
from tests.integration.log_segments import flip_last_byte, rewrite, segment
from tests.integration.stage import Record, produce

TICK = 10  # seconds
Inspect = Callable[..., str]


@pytest.fixture
def inspect(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inspect:
    """The output of the command, run in this process."""
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)

    def run(topic: str, *arguments: str) -> str:
        assert main(["inspect", "--topic", topic, *arguments]) == 0
        return capsys.readouterr().out

    return run


def telegraf(host: str, at: float, total: int) -> bytes:
    """As Telegraf's ``data_format = "influx"`` writes it."""
    stamp = int(at) * 1_000_000_000
    return (
        f"net,host={host},interface=eth0 bytes_recv={total}i {stamp}\n"
        f"mem,host={host} free={total % 7 + 0.5} {stamp}\n"
    ).encode()


def line(output: str, name: str) -> str:
    """The rest of the line that begins with this name."""
    report = output.partition("to paste")[0].splitlines()
    (found,) = [each for each in report if each.startswith(f"{name} ")]
    return found[len(name) :].strip()


@pytest.mark.parametrize("partitions", [3])
def test_a_keyless_topic_of_telegraf_is_described_with_its_remedy(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    began = time.time() - TICK * 100
    records = [
        Record(None, telegraf(host, began + TICK * n, 1000 * n), n % 3)
        for n in range(60)
        for host in ("web-1", "web-2")
    ]
    produce(broker, topic, records)
    output = inspect(topic)
    assert "3 partitions, 120 offsets in the log, 120 of" in output
    assert line(output, "format") == "influx; configured: auto"
    assert line(output, "streams").startswith("4: ")
    assert line(output, "metrics") == "2: bytes_recv (120), free (120)"
    assert line(output, "tags") == "2: host (2), interface (1)"
    assert f"a point each {TICK} s" in line(output, "rate")
    assert line(output, "keys") == "none of 120 records has a key"
    assert "4 streams on several partitions" in line(output, "split")
    assert "routing_tag" in line(output, "split")
    assert line(output, "counters") == "1: bytes_recv (only rises in this sample)"
    assert line(output, "rejected") == "none would be"
    settings = tomllib.loads(output.partition("TOML file:")[2])
    assert settings == {"kafka": {"topics": [{"name": topic, "format": "auto"}]}}


def test_what_would_be_rejected_is_shown_escaped(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    good = json.dumps({"timestamp": time.time(), "cpu": 1}).encode()
    hostile = b'\x1b[2J{"cpu": \x07'
    produce(broker, topic, [Record(b"a", good), Record(b"a", hostile)])
    output = inspect(topic)
    assert "malformed" in line(output, "rejected")
    assert f"{topic}/0 offset 1" in output
    assert r"\x1b[2J" in output
    assert output.replace("\n", "").isprintable()


def test_a_clock_that_is_ahead_is_seen(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    value = json.dumps({"timestamp": time.time() + 7200, "cpu": 1}).encode()
    produce(broker, topic, [Record(b"a", value)])
    output = inspect(topic)
    assert line(output, "format") == "json; configured: auto"
    assert "in the FUTURE" in line(output, "clocks")
    assert line(output, "rejected").startswith("1 future: ")


def test_a_topic_is_described_through_its_mapping(
    broker: Broker, topic: str, inspect: Inspect, tmp_path: Path
) -> None:
    """Other formats that are tried may take no such mapping."""
    record = {"when": time.time(), "site": "north", "room": {"temp": 20.5, "id": 7}}
    produce(broker, topic, [Record(None, json.dumps(record).encode())])
    config = tmp_path / "streamwarden.toml"
    config.write_text(
        f'[[kafka.topics]]\nname = "{topic}"\n[kafka.topics.mapping]\n'
        'timestamp = "when"\nstream = "{site}"\nexclude = ["room.id"]\n'
    )
    output = inspect(topic, "--config", str(config))
    assert line(output, "metrics") == "1: room.temp (1)"
    assert line(output, "rejected") == "none would be"


def test_several_sources_under_one_key_are_told_with_the_tags_to_set(
    broker: Broker, topic: str, inspect: Inspect, tmp_path: Path
) -> None:
    began = time.time() - TICK * 100
    records = [
        {"ts": began + TICK * n, "host": host, "x": n % 3}
        for n in range(6)
        for host in ("a", "b")
    ]
    produce(broker, topic, [Record(b"plant", json.dumps(r).encode()) for r in records])
    output = inspect(topic)
    assert line(output, "merged").startswith("several sources in 1 stream, told apart")
    config = tmp_path / "streamwarden.toml"
    config.write_text(output.partition("TOML file:")[2])
    output = inspect(topic, "--config", str(config))
    assert line(output, "streams").startswith("2: a/plant/x (6)")
    assert "merged" not in output


def test_tombstones_and_an_empty_topic_are_no_faults(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    assert "no record was read" in inspect(topic)
    produce(broker, topic, [Record(b"a", None)])
    assert line(inspect(topic), "tombstones") == "1 record without a value"


def test_it_reads_only_the_newest_records_that_it_is_asked_for(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    values = [json.dumps({"timestamp": 1e9 + n, "cpu": n}).encode() for n in range(50)]
    produce(broker, topic, [Record(b"a", value) for value in values])
    assert "50 offsets in the log, 7 of the newest" in inspect(topic, "--records", "7")


def test_it_joins_no_group_and_commits_nothing(
    broker: Broker, topic: str, inspect: Inspect
) -> None:
    produce(broker, topic, [Record(b"a", b'{"cpu": 1}')])
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    before = admin.list_groups()
    inspect(topic)
    after = admin.list_groups()
    admin.close()
    assert after == before


def test_a_batch_that_cant_be_read_is_named_and_passed_over(
    own_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own_broker.create_topic("damaged")
    for _ in range(3):
        produce(own_broker, "damaged", [Record(b"a", b'{"cpu": 1}')])
    own_broker.stop()
    rewrite(segment(own_broker, "damaged"), 1, flip_last_byte)
    own_broker.start()
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", own_broker.bootstrap)
    main(["inspect", "--topic", "damaged"])
    output = capsys.readouterr().out
    assert "2 of the newest records read" in output
    assert "can't be read: damaged/0 at offset 1" in output


def test_check_says_it_in_one_line(
    broker: Broker,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: object,
) -> None:
    produce(broker, topic, [Record(None, telegraf("web-1", time.time(), 1))])
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
    monkeypatch.setenv("DETECTOR_KAFKA__TOPICS", topic)
    monkeypatch.setenv("DETECTOR_RECOVERY__STORE", f"local:{tmp_path}")
    monkeypatch.setenv("DETECTOR_WEB__LISTEN", "127.0.0.1:0")
    main(["check"])
    output = capsys.readouterr().out
    (said,) = [each for each in output.splitlines() if each.startswith("topic ")]
    assert f"topic {topic}: influx; 2 streams of 2 metrics" in said
    assert "0 of 1 records would be rejected" in said


def test_a_format_that_does_not_fit_is_named_with_the_one_to_set(
    broker: Broker, topic: str, inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_KAFKA__FORMAT", "json")
    produce(broker, topic, [Record(None, telegraf("web-1", time.time(), 1))])
    output = inspect(topic)
    assert line(output, "format").startswith("influx; configured is json")
    assert "1 malformed: " in line(output, "as json")
    settings = tomllib.loads(output.partition("TOML file:")[2])
    assert settings == {"kafka": {"topics": [{"name": topic, "format": "influx"}]}}
