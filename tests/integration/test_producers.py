"""Programs as people run them write to a real topic, and the daemon scores it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from kafka import KafkaConsumer
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from deploy.harness import producers
from deploy.harness.broker import Broker
from deploy.harness.debian import ProgramNotAvailable
from deploy.harness.schema_registry import SchemaRegistryServer
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from tests.fakes import raw_batch
from tests.integration.conftest import Start
from tests.integration.stage import (
    DaemonProcess,
    Record,
    WebhookReceiver,
    eventually,
    produce,
)

SAMPLES = 20
RECORD = {
    "type": "record",
    "name": "Metric",
    "fields": [
        {"name": "stream", "type": "string"},
        {"name": "timestamp", "type": "double"},
        {"name": "load", "type": "double"},
    ],
}


@pytest.fixture
def daemon_of(start: Start, receiver: WebhookReceiver) -> Any:
    """Starts a daemon with the built-in bundle and a format."""
    receiver.start()

    def started(format_: str, **settings: str) -> DaemonProcess:
        return start(MODEL__BUNDLE="", KAFKA__FORMAT=format_, **settings)

    return started


@pytest.fixture
def registry() -> Iterator[SchemaRegistryServer]:
    with SchemaRegistryServer() as running:
        yield running


def streams_of(broker: Broker, topic: str, format_: str) -> set[str]:
    """The streams of the records that the topic holds now."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    try:
        values = [record.value for record in consumer]
    finally:
        consumer.close()
    batch = metric_decoder(FORMATS[format_]).decode(raw_batch(values))
    assert not batch.rejected
    return {str(name) for name in batch.names}


@pytest.mark.parametrize("form", ["JSON", "Command"])
def test_collectd(
    broker: Broker, topic: str, daemon_of: Any, tmp_path: Path, form: str
) -> None:
    daemon = daemon_of("auto")
    try:
        collectd = producers.collectd(tmp_path, broker.bootstrap, topic, form)
    except ProgramNotAvailable as missing:
        pytest.skip(str(missing))
    with collectd:
        daemon.await_value("detector_scored_total", SAMPLES)
        collectd.check_alive()
    assert daemon.value("detector_rejected_total") == 0
    found = streams_of(broker, topic, "collectd")
    assert {"web-1/load/load/shortterm", "web-1/memory/memory-free/value"} <= found


def test_rsyslog(broker: Broker, topic: str, daemon_of: Any, tmp_path: Path) -> None:
    daemon = daemon_of("auto")
    file = tmp_path / "metrics.log"
    lines = [f"web-1.cpu.idle {i} {1_700_000_000 + i}\n" for i in range(SAMPLES)]
    file.write_text("".join(lines))
    try:
        rsyslog = producers.rsyslog(tmp_path, broker.bootstrap, topic, file)
    except ProgramNotAvailable as missing:
        pytest.skip(str(missing))
    with rsyslog:
        daemon.await_value("detector_scored_total", SAMPLES)
    assert daemon.value("detector_rejected_total") == 0
    assert streams_of(broker, topic, "graphite") == {"web-1.cpu/idle"}


def test_kcat(broker: Broker, topic: str, daemon_of: Any) -> None:
    daemon = daemon_of("auto")
    records = (
        {"timestamp": 1_700_000_000 + i, "load": i, "free": 2 * i}
        for i in range(SAMPLES)
    )
    lines = "".join(f"web-1|{json.dumps(record)}\n" for record in records)
    try:
        producers.kcat(broker.bootstrap, topic, lines.encode(), "-K", "|")
    except ProgramNotAvailable as missing:
        pytest.skip(str(missing))
    daemon.await_value("detector_scored_total", 2 * SAMPLES)
    assert daemon.value("detector_rejected_total") == 0
    assert daemon.value("detector_streams") == 2


def test_opentelemetrys_sdk(broker: Broker, topic: str, daemon_of: Any) -> None:
    daemon = daemon_of("auto")
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "api", "host.name": "web-1"})
    provider = MeterProvider([reader], resource=resource)
    meter = provider.get_meter("test")
    requests = meter.create_counter("requests")
    latency = meter.create_histogram("latency")
    exports = []
    for i in range(SAMPLES):
        requests.add(1 + i, {"route": "/"})
        latency.record(0.1 * i)
        collected = reader.get_metrics_data()
        assert collected is not None
        exports.append(encode_metrics(collected).SerializeToString())
    provider.shutdown()
    produce(broker, topic, [Record(None, export) for export in exports])
    # what needs the point before is scored from the second point on
    daemon.await_value("detector_scored_total", 5 * (SAMPLES - 1))
    assert daemon.value("detector_rejected_total") == 0
    assert streams_of(broker, topic, "otlp") == {
        "web-1/api{route=/}/requests",
        "web-1/api/latency.count",
        "web-1/api/latency.mean",
        "web-1/api/latency.p50",
        "web-1/api/latency.p95",
    }


def test_avro_waits_for_its_registry_loses_nothing_and_stalls_no_other(
    broker: Broker, topic: str, daemon_of: Any, registry: SchemaRegistryServer
) -> None:
    other = f"{topic}-plain"
    broker.create_topic(other)
    with SchemaRegistryClient({"url": registry.url}) as client:
        serialize = AvroSerializer(client, json.dumps(RECORD))
        context = SerializationContext(topic, MessageField.VALUE)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for i in range(SAMPLES):
            record = {"stream": "s", "timestamp": 1.7e9 + i, "load": float(i)}
            producer.produce(topic, serialize(record, context))
            producer.produce(other, json.dumps(record))
        producer.flush()
    registry.failing = 503
    table = json.dumps({"url": registry.url})
    topics = f"{topic},{other}"
    daemon = daemon_of("auto", KAFKA__SCHEMA_REGISTRY=table, KAFKA__TOPICS=topics)
    daemon.await_value("detector_scored_total", SAMPLES)
    eventually(lambda: "partition_waits" in daemon.log_text(), "the log says why")
    assert daemon.value("detector_held_partitions") == 1
    assert daemon.value("detector_decoding_waits_total") > 0
    assert "schema registry" in daemon.get("/-/healthy")[1]
    assert daemon.value("detector_scored_total") == SAMPLES
    registry.failing = None
    daemon.await_value("detector_scored_total", 2 * SAMPLES)
    assert daemon.value("detector_records_total") == 2 * SAMPLES
    assert daemon.value("detector_rejected_total") == 0
