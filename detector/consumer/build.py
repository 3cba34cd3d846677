"""The one place that puts the loop together, for the daemon, benchmarks and tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from detector.clock import Clock
from detector.consumer.boundary import Boundary
from detector.consumer.checkpoints import Checkpoints, CheckpointSchedule
from detector.consumer.health import Health
from detector.consumer.loop import Loop
from detector.consumer.partitions import Partitions
from detector.consumer.poller import Decode, Poller
from detector.consumer.starts import StartFinder
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.shadow import Beside
from detector.recovery.store_thread import StateReader, StoreWorker
from detector.recovery.takeover import Takeover


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop takes from the settings.

    Attributes:
        max_points: polled at once, about.
        schedule: of checkpoints.
    """

    max_points: int
    schedule: CheckpointSchedule


def build_loop(
    bundle: Bundle,
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
    partitions = Partitions(
        pipeline,
        StateReader(
            worker,
            bundle.digest,
            bundle.manifest.state_size,
            Takeover(bundle.feature_names, pipeline.table.initial_states),
        ),
        StartFinder(metrics),
        checkpoints,
        lock,
        clock,
        health,
    )
    poller = Poller(decode, settings.max_points)
    boundary = Boundary(
        pipeline,
        poller,
        partitions,
        checkpoints,
        lock,
        beside or Beside(metrics, clock),
        clock,
    )
    return Loop(
        pipeline,
        poller,
        partitions,
        checkpoints,
        boundary,
        metrics,
        clock,
    )
