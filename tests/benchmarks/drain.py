"""The daemon's loop over a filled topic against what the client alone can do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker
from detector.alerting.policy import AlertTuning
from detector.clock import SystemClock
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.events import RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.sources.kafka_python import KafkaSource
from detector.ingest.sources.kafka_records import raw_batch
from detector.kafka.settings import KafkaSettings
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.store_local import LocalStore
from detector.recovery.store_thread import StoreWorker
from tests.benchmarks.bundles import SIZES, Size, bundle
from tests.benchmarks.rounds import Row, medians

STREAMS = 1024
PARTITIONS = 4
MAX_RECORDS = 8192  # of a poll
INTERVAL = 10.0  # seconds between checkpoints
RECORDS = {1: 200_000, 8: 200_000, 38: 60_000}  # by features
BARS = {1: 0.7, 8: 0.6, 38: 0.0}

Decode = Callable[[RawBatch], RecordBatch]


def drain(rounds: int) -> list[Row]:
    """The daemon's own loop over a filled topic against a bare poll loop, and against
    poll and decode.
    """
    with TemporaryDirectory() as folder, Broker() as broker:
        return [_measured(broker, Path(folder), size, rounds) for size in SIZES]


def _measured(broker: Broker, folder: Path, size: Size, rounds: int) -> Row:
    topic = f"metrics-{size.features}"
    records = RECORDS[size.features]
    broker.create_topic(topic, PARTITIONS)
    _fill(broker.bootstrap, topic, size, records)
    made = bundle(size)
    decode = feature_decoder(FORMATS["json"], size.names).decode
    turns = count()
    polled, decoded, drained = medians(
        rounds,
        lambda: _poll(broker.bootstrap, topic, records, None),
        lambda: _poll(broker.bootstrap, topic, records, decode),
        lambda: _drain(
            broker.bootstrap, topic, made, folder / f"{topic}-{next(turns)}"
        ),
    )
    return {
        "size": size.label,
        "poll/s": polled,
        "poll+decode/s": decoded,
        "daemon/s": drained,
        "ratio": drained / polled,
        "of decode": drained / decoded,
        "bar": BARS[size.features],
    }


def _fill(bootstrap: str, topic: str, size: Size, records: int) -> None:
    """Point after point of every stream."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=1 << 18
    )
    rng = np.random.default_rng(0)
    for i in range(records):
        tick, stream = divmod(i, STREAMS)
        producer.send(
            topic,
            json.dumps(_fields(size, tick, rng)).encode(),
            key=f"host-{stream}".encode(),
            partition=stream % PARTITIONS,
        )
    producer.flush()
    producer.close()


def _fields(size: Size, tick: int, rng: np.random.Generator) -> Mapping[str, float]:
    values = rng.normal(size=size.features).round(4).tolist()
    time_of_tick = 1_700_000_000 + 60 * tick
    return {"timestamp": time_of_tick, **dict(zip(size.names, values, strict=True))}


def _poll(bootstrap: str, topic: str, records: int, decode: Decode | None) -> float:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    consumer.seek_to_beginning()
    seen = 0
    began = 0.0
    while seen < records:
        polled = consumer.poll(timeout_ms=1000, max_records=MAX_RECORDS)
        began = began or time.perf_counter()  # the first fetch pays for the connection
        for tp, of_partition in polled.items():
            seen += len(of_partition)
            if decode is not None:
                end = of_partition[-1].offset + 1
                decode(raw_batch(tp, of_partition, end))
    found = seen / (time.perf_counter() - began)
    consumer.close()
    return found


def _drain(bootstrap: str, topic: str, made: Bundle, folder: Path) -> float:
    """Records a second from the first poll that scored on, of all in the topic."""
    records = RECORDS[len(made.feature_names)]
    metrics = Metrics()
    worker = StoreWorker(LocalStore(folder))
    scorer = build_pipeline(made, OnnxEngine(made), AlertTuning(), metrics=metrics)
    loop = build_loop(
        scorer,
        feature_decoder(FORMATS["json"], made.feature_names).decode,
        worker,
        metrics,
        SystemClock(),
        LoopSettings(MAX_RECORDS, CheckpointSchedule(INTERVAL)),
    )
    settings = KafkaSettings(
        bootstrap_servers=(bootstrap,), topics=(topic,), group_id=folder.name
    )
    source = KafkaSource(settings, loop.partitions)

    def scored() -> float:
        return metrics.registry.get_sample_value("detector_scored_total") or 0.0

    stop = Event()
    while not scored():
        loop.turn(source, stop)
    first = scored()
    began = time.perf_counter()
    while scored() < records:
        loop.turn(source, stop)
    found = (records - first) / (time.perf_counter() - began)
    source.close(timeout=5)
    worker.close(timeout=30)
    return found
