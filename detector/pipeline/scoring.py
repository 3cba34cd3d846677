"""A batch of points through the graph: gather, step, decide, scatter.

Nothing here loops over points in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import Decisions
from detector.alerting.policy import AlertPolicy
from detector.alerting.unfinished import end_unfinished
from detector.events import (
    F32,
    F64,
    I64,
    Partition,
    Phase,
)
from detector.model.engine import Engine, StepOutput, clock_input
from detector.model.local_time import Zones
from detector.pipeline.causes import StepInput
from detector.pipeline.counter_stage import CounterStage
from detector.pipeline.judge import IncidentJudge, ScoredPoints
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import fresh_decisions
from detector.state.row_memory import PAGE_BITS
from detector.state.table import StreamTable

# Rows of one run of the graph: with more the working set leaves the cache, and nothing
# is gained (make benchmark).
BATCH = 2048
# Seconds between two points that have one time: the graph's own least interval.
_SHORTEST = 1e-3


@dataclass(frozen=True, slots=True)
class Points:
    """One point of each of B streams; :data:`BATCH` of them are scored at once.

    Attributes:
        offsets: int64 [B], of the records that they came from.
        slots: int64 [B], rows of the stream table.
        times: float64 [B], event times in epoch seconds.
        last: float64 [B], time of each stream's previous point; -inf if it had none.
        x: float32 [B, F], observed values, NaN where missing.
        is_rate: bool [B, F], those that are rates per second; None: none is.
        is_changed: bool [B], the stream is scored in other units from here on; None:
            none is.
    """

    partition: Partition
    offsets: I64
    slots: I64
    times: F64
    last: F64
    x: F32
    is_rate: npt.NDArray[np.bool_] | None = None
    is_changed: npt.NDArray[np.bool_] | None = None

    def at(self, chosen: npt.NDArray[np.bool_] | slice) -> Points:
        """Some of them."""
        return Points(
            partition=self.partition,
            offsets=self.offsets[chosen],
            slots=self.slots[chosen],
            times=self.times[chosen],
            last=self.last[chosen],
            x=self.x[chosen],
            is_rate=None if self.is_rate is None else self.is_rate[chosen],
            is_changed=None if self.is_changed is None else self.is_changed[chosen],
        )


class BatchScorer:
    """Steps streams of a table. One thread at a time.

    ``zones`` are those whose local time the streams follow; ``tick_interval``, in
    seconds, is the bundle's. ``counters`` turns what records hold into what is scored.
    """

    def __init__(
        self,
        table: StreamTable,
        engine: Engine,
        policy: AlertPolicy,
        zones: Zones,
        tick_interval: float,
        judge: IncidentJudge,
        counters: CounterStage,
    ) -> None:
        self._table = table
        self._engine = engine
        self._policy = policy
        self._zones = zones
        self._tick_interval = tick_interval
        self._judge = judge
        self.counters = counters
        self._gathered: F32 = np.empty((BATCH, table.states.shape[1]), np.float32)

    def score(self, points: Points) -> ScoredBatch:
        """Apply these points to their streams."""
        since = self._seconds_since(points)
        changed = self._begin_anew(points)
        given = self._gather(points, since)
        step = self._engine.step(given.x, given.clock, given.states)
        broken = ~np.isfinite(step.score)
        scores = np.where(broken, 0, step.score) if broken.any() else step.score
        before = self._table.decisions.take(points.slots)
        scored = ScoredPoints(before, points.times, since, scores)
        decisions = scored.decide(self._policy)
        if len(changed):
            end_unfinished(decisions, before, points.times, changed)
        transitions, kinds = self._judge.judge(
            points.slots, given, step, scored, decisions
        )
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
            is_rate=points.is_rate,
        )

    def _begin_anew(self, points: Points) -> I64:
        """Forget what streams were in other units; gives their points.

        What is known of an open incident stays until its end is told.
        """
        if points.is_changed is None:
            return np.empty(0, np.int64)
        changed = np.flatnonzero(points.is_changed)
        if len(changed):
            table = self._table
            slots = points.slots[changed]
            table.restart(slots)
            closed = slots[table.decisions["phase"][slots] != Phase.FIRING]
            fresh = fresh_decisions(len(closed))
            fresh["last_digest"] = table.decisions["last_digest"][closed]
            table.store_decisions(closed, fresh)
        return changed

    def pass_over(self, points: Points) -> None:
        """Streams have points that leave nothing to score."""
        self._seconds_since(points)
        table = self._table
        slots = points.slots
        table.times[slots] = points.times
        table.touched[slots] = table.now
        table.page_dirty[slots >> PAGE_BITS] = True

    def _seconds_since(self, points: Points) -> F64:
        """Since each stream's previous point; the tick interval at its first.

        Streams with their first point begin here.
        """
        since = np.maximum(points.times - points.last, _SHORTEST)
        begun = np.isfinite(points.last)
        if not begun.all():
            self._table.begin(points.slots[~begun], points.times[~begun])
        return np.where(begun, since, self._tick_interval)

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
