"""The one place that puts the loop together, for the daemon, benchmarks and tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from detector.clock import Clock
from detector.consumer.boundary import Boundary
from detector.consumer.checkpoints import Checkpoints, CheckpointSchedule
from detector.consumer.health import Health
from detector.consumer.loop import Loop
from detector.consumer.partitions import Partitions, reading_bundle
from detector.consumer.poller import Decode, Poller
from detector.consumer.starts import WARM_UP_RECORDS, StartFinder
from detector.consumer.warm_ups import WarmUps
from detector.metrics import Metrics
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.shadow import Beside
from detector.recovery.state_reader import KEEP, StateReader
from detector.recovery.store_thread import StoreWorker


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop takes from the settings.

    Attributes:
        max_points: polled at once, about.
        schedule: of checkpoints.
        keep: seconds that states of other bundles and versions are kept.
        warm_up: records of each partition that are read again, at most, so that its
            streams warm up.
    """

    max_points: int
    schedule: CheckpointSchedule
    keep: float = KEEP
    warm_up: int = WARM_UP_RECORDS


def build_loop(
    pipeline: Pipeline,
    decode: Decode,
    worker: StoreWorker,
    metrics: Metrics,
    clock: Clock,
    settings: LoopSettings,
    beside: Beside | None = None,
) -> Loop:
    """A loop without partitions. ``beside`` is one of the pipeline's observers."""
    lock = threading.Lock()
    health = Health(clock.monotonic())
    checkpoints = Checkpoints(
        pipeline,
        worker,
        lock,
        metrics,
        clock,
        health,
        settings.schedule,
    )
    reading = reading_bundle(pipeline.parts.setup)
    partitions = Partitions(
        pipeline,
        StateReader(worker, reading, settings.keep, clock),
        StartFinder(metrics, settings.warm_up),
        WarmUps(pipeline, metrics, clock),
        checkpoints,
        clock,
        health,
    )
    poller = Poller(decode, settings.max_points)
    beside = beside or Beside(metrics, clock)
    boundary = Boundary(pipeline, poller, partitions, checkpoints, lock, beside, clock)
    return Loop(pipeline, poller, partitions, checkpoints, boundary, metrics, clock)
