"""What recovery costs: the pause of a checkpoint, a restore from either store,
checkpoints while draining, two members against one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.harness.broker import Broker
from detector.clock import SystemClock
from detector.consumer.checkpoints import make_all_durable
from detector.consumer.partitions import reading_bundle
from detector.events import Partition
from detector.kafka.settings import KafkaSettings
from detector.model.bundle import Bundle
from detector.pipeline.pipeline import Pipeline
from detector.recovery.snapshot import Restored
from detector.recovery.state_reader import ReadingBundle, StateReader
from detector.recovery.store import Store
from detector.recovery.store_kafka import KafkaStore
from detector.recovery.store_local import LocalStore
from detector.recovery.store_thread import StoreWorker
from tests.benchmarks.bundles import SIZES, P, bundle, pipeline, poll, poll_of
from tests.benchmarks.rounds import Row

STREAMS = 100_000
PARTITIONS = 4


def recovery(rounds: int) -> list[Row]:
    """100,000 dirty streams in 4 partitions: the loop's pause, the write beside it, and
    a restore by the same bundle and by another one, in seconds.
    """
    rows: list[Row] = []
    with TemporaryDirectory() as folder, Broker() as broker:
        broker.create_topic(P.topic, PARTITIONS)
        stores: dict[str, tuple[Callable[[], Store], float]] = {
            "local": (lambda: LocalStore(Path(folder) / "state"), 10.0),
            "kafka": (
                lambda: KafkaStore(
                    KafkaSettings(bootstrap_servers=(broker.bootstrap,)),
                    "state",
                    SystemClock(),
                ),
                30.0,
            ),
        }
        for name, (opened, bar) in stores.items():
            rows.append(
                {
                    "store": name,
                    **_measured(opened, rounds),
                    "bar of the pause": 0.2,
                    "bar of the restore": bar,
                }
            )
    return rows


def _measured(opened: Callable[[], Store], rounds: int) -> dict[str, float]:
    made = bundle(SIZES[0])
    scorer = pipeline(made, PARTITIONS)
    worker = StoreWorker(opened())
    pauses = []
    writes = []
    for tick in range(rounds):
        _touch(scorer, tick)
        began = time.perf_counter()
        captures = [
            c
            for c in map(scorer.pages.capture, scorer.table.partitions())
            if c is not None
        ]
        pauses.append(time.perf_counter() - began)
        written = worker.submit(partial(make_all_durable, captures)).result()
        writes.append(time.perf_counter() - began)
        assert not written.fault, written.fault
    worker.close(timeout=60)
    ours = reading_bundle(scorer.parts.setup)
    return {
        "pause, best": min(pauses),
        "pause, worst": max(pauses),
        "write": sorted(writes)[len(writes) // 2],
        "restore": _restored(opened, made, ours),
        "take over": _restored(opened, made, replace(ours, digest="another")),
    }


def _restored(
    opened: Callable[[], Store], made: Bundle, reading: ReadingBundle
) -> float:
    """Seconds until all streams are in the table of a new process."""
    again = StoreWorker(opened())
    fresh = pipeline(made, 0)
    began = time.perf_counter()
    reader = StateReader(again, reading)
    partitions = [Partition(P.topic, number) for number in range(PARTITIONS)]
    futures = {partition: reader.load(partition) for partition in partitions}
    for partition, future in futures.items():
        fresh.assign(partition, future.result())
    seconds = time.perf_counter() - began
    again.close(timeout=10)
    assert fresh.table.streams == STREAMS, fresh.table.streams
    return seconds


def _touch(scorer: Pipeline, tick: int) -> None:
    """One point of every stream."""
    whole = poll(SIZES[0], STREAMS // PARTITIONS, tick)
    for number in range(PARTITIONS):
        partition = Partition(P.topic, number)
        if not scorer.table.owns(partition):
            scorer.assign(partition, Restored((), (), 0))
        names = [b"host-%d-%d" % (i, number) for i in range(len(whole.names))]
        scorer.process([poll_of(names, whole.values, tick, partition)])
