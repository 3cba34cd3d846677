"""A pipeline over the fake bundle, and engines that misbehave or record."""

from __future__ import annotations

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.alerting.rules import NO_RULES, Rules
from detector.consumer.checkpoints import make_durable
from detector.events import (
    F32,
    Partition,
)
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine, StepOutput
from detector.model.onnx_engine import OnnxEngine
from detector.notify.outbox import Outbox
from detector.notify.routes import Routing
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.recovery.store import load_last
from detector.state.limits import TableLimits
from tests.fakes import MemoryStore, PipelineRecorder, columns

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
NEW = Restored((), (), None)


class Stage:
    """A pipeline with partition P assigned, and what it shows."""

    def __init__(
        self,
        bundle: Bundle,
        max_streams: int = 1000,
        engine: Engine | None = None,
        cooldown: float = 0,
        probe_engine: Engine | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        self.bundle = bundle
        self.outbox = Outbox(Routing(["hook"]))
        self.metrics = Metrics()
        self.recorder = PipelineRecorder()
        self.pipeline = build_pipeline(
            bundle,
            engine or OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=cooldown, min_gap=0, rules=rules),
            observer=self.recorder,
            outbox=self.outbox,
            metrics=self.metrics,
            limits=TableLimits(max_streams),
            probe_engine=probe_engine,
        )
        self.pipeline.assign(P, NEW)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def feed(self, values: list[float], stream: str = "a", first: int = 0) -> None:
        """One record a tick, one feature of the fake's two."""
        ticks = [60.0 * (first + i + 1) for i in range(len(values))]
        rows = [[value, 0] for value in values]
        self.pipeline.process(
            [columns([stream] * len(values), ticks, rows, first=first)]
        )

    def store(self) -> MemoryStore:
        store = MemoryStore()
        capture = self.pipeline.pages.capture(P)
        assert capture is not None
        make_durable(store, capture)
        return store

    def restored_from(self, store: MemoryStore) -> Stage:
        again = Stage(self.bundle)
        again.pipeline.assign(
            P,
            restore(
                self.bundle.digest,
                *load_last(store, P),
                self.bundle.manifest.state_size,
            ),
        )
        return again


class BreakingEngine:
    """A graph whose score is NaN for an observation of 666. Implements Engine."""

    def __init__(self, bundle: Bundle) -> None:
        self._runtime = OnnxEngine(bundle)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        step = self._runtime.step(x, clock, state)
        broken = (x == 666).any(axis=1)
        score = step.score.copy()
        after = step.next_state.copy()
        score[broken] = np.nan
        after[broken] = np.nan
        return StepOutput(score, step.expected, step.contribution, after)


class RecordingEngine:
    """Keeps the clock inputs that the graph was given. Implements Engine."""

    def __init__(self, bundle: Bundle) -> None:
        self._runtime = OnnxEngine(bundle)
        self.clocks: list[list[float]] = []

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        self.clocks += clock.tolist()
        return self._runtime.step(x, clock, state)


class RestlessEngine:
    """A graph that scores three things of the first feature: jumps, how long it is
    unchanged, and a long run of changes.

    It expects one more than the last value. Implements Engine.
    """

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        last, run = state.T
        unchanged = np.maximum(run, 0) + 1
        changed = np.minimum(run, 0) - 1
        run = np.where(x[:, 0] == last, unchanged, changed).astype(np.float32)
        score = np.abs(x[:, 0] - last) + np.maximum(run, 0) + 10 * (run < -8)
        share = np.tile(np.array([1, 0], np.float32), (len(x), 1))
        return StepOutput(
            score,
            np.stack([last + 1, x[:, 1]], axis=1),
            share,
            np.stack([x[:, 0], run], axis=1),
        )
