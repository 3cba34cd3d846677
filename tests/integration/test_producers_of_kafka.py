"""What Kafka's own producers leave in a log: transactions, tombstones, codecs."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.java_clients import console_produce, transactional_perf
from tests.integration.stage import (
    DaemonProcess,
    Record,
    await_all_committed,
    dead_letters,
    eventually,
    produce,
)

START = 1_700_000_000


def point(at: int, value: float = 1.0, stream: str = "a") -> bytes:
    fields = {"timestamp": START + at, "stream": stream, "cpu": value, "mem": 1}
    return json.dumps(fields).encode()


def await_no_lag(daemon: DaemonProcess, records: int) -> None:
    daemon.await_value("detector_records_total", records)
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")


def write_and_end(
    broker: Broker, topic: str, values: list[bytes], commit: bool
) -> None:
    """One transaction."""
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap, transactional_id=uuid.uuid4().hex
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for value in values:
            producer.send(topic, value, key=b"a")
        producer.flush(timeout=30)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    finally:
        producer.close()


def test_aborted_records_are_never_seen_and_leave_no_lag(
    broker: Broker, topic: str, start: Start
) -> None:
    write_and_end(broker, topic, [point(0), point(1)], commit=True)
    write_and_end(broker, topic, [point(2, 1e6), b"not a record"], commit=False)
    daemon = start()
    await_no_lag(daemon, 2)
    assert daemon.value("detector_scored_total") == 2
    assert daemon.value("detector_rejected_total") == 0
    await_all_committed(broker, topic, daemon.settings["KAFKA__GROUP_ID"], 1)
    write_and_end(broker, topic, [point(3)], commit=False)
    await_all_committed(broker, topic, daemon.settings["KAFKA__GROUP_ID"], 1)
    assert daemon.value("detector_records_total") == 2


def test_a_setting_reads_aborted_records_too(
    broker: Broker, topic: str, start: Start
) -> None:
    write_and_end(broker, topic, [point(0)], commit=True)
    write_and_end(broker, topic, [point(1)], commit=False)
    await_no_lag(start(KAFKA__ISOLATION_LEVEL="read_uncommitted"), 2)


def test_a_partition_read_past_an_open_transaction_is_not_taken_for_a_new_one(
    broker: Broker, topic: str, start: Start
) -> None:
    produce(broker, topic, [Record(b"a", point(0))])
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap, transactional_id=uuid.uuid4().hex
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, point(1), key=b"a").get(timeout=30)
    before = start(KAFKA__ISOLATION_LEVEL="read_uncommitted")
    await_no_lag(before, 2)
    before.stop()
    after = start()
    after.await_ready()
    producer.commit_transaction()
    producer.close()
    produce(broker, topic, [Record(b"a", point(2))])
    await_no_lag(after, 1)
    assert after.value("detector_records_total") == 1
    assert "topic_recreated" not in after.log_text()


def test_transactions_of_the_java_client_are_read_to_the_end(
    broker: Broker, topic: str, start: Start, tmp_path: Path
) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(point(0) + b"\n")
    transactional_perf(broker, topic, 40, payload)
    daemon = start()
    await_no_lag(daemon, 40)
    await_all_committed(broker, topic, daemon.settings["KAFKA__GROUP_ID"], 1)
    assert daemon.value("detector_scored_total") == 1
    assert daemon.value("detector_rejected_total", reason="duplicate") == 39


def test_tombstones_and_gaps_of_a_compacted_topic_are_no_faults(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    topic = f"compacted-{uuid.uuid4().hex[:12]}"
    broker.create_topic(
        topic,
        config={
            "cleanup.policy": "compact",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "600000",
        },
    )
    for at in range(20):
        produce(broker, topic, [Record(b"a", point(at))])
    produce(broker, topic, [Record(b"b", None), Record(b"c", None)])
    eventually(lambda: _first_record(broker, topic) > 0, "it is compacted", 60)
    daemon = start(KAFKA__TOPICS=topic, KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap)
    daemon.await_value("detector_tombstones_total", 2)
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")
    assert daemon.value("detector_rejected_total") == 0
    assert daemon.value("detector_records_total") < 22
    assert daemon.value("detector_lost_records_total") == 0
    assert not dead_letters(tmp_path / "a")


def _first_record(broker: Broker, topic: str) -> int:
    """Rolls the segment, which compaction waits for, and looks for the first record."""
    produce(broker, topic, [Record(b"roll", point(0, stream="roll"))])
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    tp = TopicPartition(topic, 0)
    consumer.assign([tp])
    consumer.seek(tp, 0)
    found = consumer.poll(timeout_ms=5000, max_records=1)
    consumer.close()
    return int(found[tp][0].offset) if found else 0


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_of_the_java_client_is_read(
    broker: Broker, topic: str, start: Start, codec: str
) -> None:
    lines = [f"a|{point(at).decode()}" for at in range(200)]
    console_produce(broker, topic, "\n".join(lines), codec=codec)
    daemon = start()
    await_no_lag(daemon, 200)
    assert daemon.value("detector_scored_total") == 200
