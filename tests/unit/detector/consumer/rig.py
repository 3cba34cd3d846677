"""A loop on a scripted source, a store in memory and a clock that tests move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from detector.alerting.policy import AlertTuning
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.pipeline.observer import Observers
from detector.pipeline.shadow import Beside
from detector.ports import Committed
from detector.recovery.store_thread import StoreWorker
from tests.fakes import (
    FakeClock,
    MemoryStore,
    PipelineRecorder,
    fake_bundle,
    raw_points,
)

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
#: Seconds.
INTERVAL = 10.0
EVICT_AFTER = 60.0
#: Points at once.
MAX_POINTS = 500

Started = list[tuple[Partition, int]]


class ScriptedSource:
    """Polls what a test scripted. Implements Source."""

    def __init__(self, *polls: Sequence[RawBatch] | Exception) -> None:
        self.polls = list(polls)
        self.commits: list[dict[Partition, int]] = []
        self.seeks: Started = []
        self.holds: list[tuple[Partition, int, str]] = []
        self.started: Started = []
        self.log = (0, 1000)
        self.group_offset: int | None = None
        self.note = ""
        self.during_poll: Callable[[], None] | None = None
        self.polled: list[int] = []
        self.refusals: dict[Partition, int] = {}
        self.lags: dict[Partition, int] = {P: 98, Q: 7}
        self.held = ""

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        self.polled.append(max_records)
        action = self.during_poll
        self.during_poll = None
        if action is not None:
            action()
        polled = self.polls.pop(0) if self.polls else []
        if isinstance(polled, Exception):
            raise polled
        return polled

    def bounds(self, partition: Partition) -> tuple[int, int]:
        return self.log

    def first_offset(self, partition: Partition) -> int:
        return max(self.log[0], self.group_offset or 0)

    def committed(self, partition: Partition) -> Committed | None:
        if self.group_offset is None:
            return None
        return Committed(self.group_offset, self.note)

    def start(self, partition: Partition, offset: int) -> None:
        self.started.append((partition, offset))

    def seek(self, partition: Partition, offset: int) -> None:
        self.seeks.append((partition, offset))

    def hold(
        self, partition: Partition, offset: int, cause: str, seconds: float
    ) -> None:
        self.holds.append((partition, offset, cause))

    def commit(self, offsets: Mapping[Partition, Committed], wait: float = 0.0) -> None:
        self.commits.append({p: committed.offset for p, committed in offsets.items()})

    def refused(self) -> Mapping[Partition, int]:
        refused = self.refusals
        self.refusals = {}
        return refused

    def lag(self, partition: Partition, offset: int) -> int | None:
        return self.lags.get(partition)

    def fault(self) -> str:
        return self.held

    def close(self, timeout: float) -> None:
        """Nothing to close."""


class Rig:
    """The loop and all that surrounds it."""

    def __init__(
        self,
        path: Path,
        decode: Callable[[RawBatch], RecordBatch] | None = None,
        bundle: Bundle | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        """``bundle`` and ``store``: of a loop that was killed before."""
        self.bundle = bundle or fake_bundle(path)
        self.metrics = Metrics()
        self.store = store or MemoryStore()
        self.clock = FakeClock()
        self.alerts = PipelineRecorder()
        self.beside = Beside(self.metrics, self.clock)
        self.pipeline = build_pipeline(
            self.bundle,
            OnnxEngine(self.bundle),
            AlertTuning(),
            metrics=self.metrics,
            observer=Observers(self.alerts, self.beside),
        )
        self.worker = StoreWorker(self.store)
        self.loop = build_loop(
            self.pipeline,
            decode
            or feature_decoder(FORMATS["json"], self.bundle.feature_names).decode,
            self.worker,
            self.metrics,
            self.clock,
            LoopSettings(MAX_POINTS, CheckpointSchedule(INTERVAL, EVICT_AFTER)),
            self.beside,
        )
        self.partitions = self.loop.partitions
        self.health = self.loop.health
        self.stop = threading.Event()

    def assign(
        self,
        *partitions: Partition,
        log: tuple[int, int] = (0, 1000),
        group_offset: int | None = None,
    ) -> Started:
        """Assign partitions and let them start; where they start."""
        self.partitions.assigned(partitions)
        source = ScriptedSource()
        source.log = log
        source.group_offset = group_offset
        self.wait()
        self.turn(source)
        return source.started

    def wait(self) -> None:
        """Until the store's thread has done all its jobs."""
        self.worker.submit(lambda store: None).result(timeout=10)

    def turn(self, source: ScriptedSource) -> None:
        self.loop.turn(source, self.stop)

    def checkpoint(self, source: ScriptedSource) -> None:
        """Let one become due, with the turn that commits it."""
        self.clock.now += INTERVAL + 1
        self.turn(source)
        self.wait()
        self.turn(source)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def close(self) -> None:
        self.worker.close(timeout=5)


def poll(first: int = 0, partition: Partition = P) -> list[RawBatch]:
    """One point of each of two streams, in records from offset ``first`` on."""
    times = [60.0 + first, 60.0 + first]
    values = [[1, 1], [2, 2]]
    return [raw_points(["a", "b"], times, values, first=first, partition=partition)]
