"""A batch of points through the graph: gather, step, decide, scatter.

Nothing here loops over points in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import Decisions, decide
from detector.alerting.policy import AlertPolicy
from detector.alerting.resolution import record_and_judge
from detector.events import (
    F32,
    F64,
    I64,
    TRANSITIONS,
    AnomalyKind,
    Partition,
    Reason,
)
from detector.model.engine import Engine, StepOutput, clock_input
from detector.model.local_time import Zones
from detector.pipeline.causes import CauseClassifier, StepInput
from detector.pipeline.observer import ScoredBatch
from detector.state.row_memory import PAGE_BITS
from detector.state.table import StreamTable

# Rows of one run of the graph: with more the working set leaves the cache, and nothing
# is gained (make benchmark).
BATCH = 2048
_IS_TRANSITION = np.isin(np.arange(len(Reason)), TRANSITIONS)


@dataclass(frozen=True, slots=True)
class Points:
    """One point of each of B streams, B <= :data:`BATCH`.

    Attributes:
        offsets: int64 [B], of the records that they came from.
        slots: int64 [B], rows of the stream table.
        times: float64 [B], event times in epoch seconds.
        last: float64 [B], time of each stream's previous point; -inf if it had none.
        x: float32 [B, F], observed values, NaN where missing.
    """

    partition: Partition
    offsets: I64
    slots: I64
    times: F64
    last: F64
    x: F32


class BatchScorer:
    """Steps streams of a table. One thread at a time.

    ``zones`` are those whose local time the streams follow; ``tick_interval``, in
    seconds, is the bundle's.
    """

    def __init__(
        self,
        table: StreamTable,
        engine: Engine,
        policy: AlertPolicy,
        zones: Zones,
        tick_interval: float,
        causes: CauseClassifier,
    ) -> None:
        self._table = table
        self._engine = engine
        self._policy = policy
        self._zones = zones
        self._tick_interval = tick_interval
        self._causes = causes
        self._gathered: F32 = np.empty((BATCH, table.states.shape[1]), np.float32)

    def score(self, points: Points) -> ScoredBatch:
        """Apply these points to their streams."""
        since = self._seconds_since(points)
        given = self._gather(points, since)
        step = self._engine.step(given.x, given.clock, given.states)
        broken = ~np.isfinite(step.score)
        scores = np.where(broken, 0, step.score) if broken.any() else step.score
        before = self._table.decisions.take(points.slots)
        decisions = decide(before, points.times, since, scores, self._policy)
        transitions, kinds = self._judge(given, step, decisions)
        self._scatter(points, step, decisions, broken)
        return ScoredBatch(
            partition=points.partition,
            offsets=points.offsets,
            slots=points.slots,
            names=self._table.names,
            times=points.times,
            x=points.x,
            step=step,
            before=before,
            decisions=decisions,
            transitions=transitions,
            kinds=kinds,
            restarted=int(broken.sum()),
        )

    def _seconds_since(self, points: Points) -> F64:
        """Since each stream's previous point; the tick interval at its first."""
        begun = np.isfinite(points.last)
        if not begun.all():
            self._table.begin(points.slots[~begun], points.times[~begun])
        return np.where(begun, points.times - points.last, self._tick_interval)

    def _gather(self, points: Points, since: F64) -> StepInput:
        """The graph's inputs. ``states`` is a buffer that the next batch overwrites."""
        local = points.times
        if not self._zones.only_utc:
            zones = self._table.zones.take(points.slots)
            local = self._zones.local_times(points.times, zones)
        states = self._table.states.take(
            points.slots,
            axis=0,
            out=self._gathered[: len(points.slots)],
            mode="clip",  # unlike "raise" it writes straight into the buffer
        )
        return StepInput(points.x, clock_input(since, local), states)

    def _judge(
        self, given: StepInput, step: StepOutput, decisions: Decisions
    ) -> tuple[I64, Mapping[int, AnomalyKind]]:
        """Indices that raise an alert once recoveries are judged, and the causes."""
        changed = np.flatnonzero(_IS_TRANSITION[decisions.reason])
        if not len(changed):
            return changed, {}
        fired = changed[decisions.reason[changed] == Reason.FIRED]
        kinds = self._causes.classify(given, step, fired)
        record_and_judge(
            decisions, changed, kinds, given.x, step.expected, step.contribution
        )
        return changed[_IS_TRANSITION[decisions.reason[changed]]], kinds

    def _scatter(
        self,
        points: Points,
        step: StepOutput,
        decisions: Decisions,
        broken: npt.NDArray[np.bool_],
    ) -> None:
        table = self._table
        slots = points.slots
        table.states[slots] = step.next_state
        table.store_decisions(slots, decisions.rows)
        table.times[slots] = points.times
        table.touched[slots] = table.now
        table.page_dirty[slots >> PAGE_BITS] = True
        if broken.any():
            table.restart(slots[broken])
