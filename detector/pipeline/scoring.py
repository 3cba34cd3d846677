"""A batch of points through the graph: gather, step, decide, scatter.

Nothing here loops over points in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import Decisions, decide
from detector.alerting.deviations import are_negligible
from detector.alerting.policy import AlertPolicy
from detector.alerting.resolution import Values, follow_values, record_and_judge
from detector.alerting.unfinished import end_unfinished
from detector.alerting.young_losses import go_on_as_losses
from detector.events import (
    F32,
    F64,
    I64,
    TRANSITIONS,
    AnomalyKind,
    Partition,
    Phase,
    Reason,
)
from detector.model.engine import Engine, StepOutput, clock_input
from detector.model.local_time import Zones
from detector.pipeline.causes import CauseClassifier, StepInput
from detector.pipeline.counter_stage import CounterStage
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import DecisionState, fresh_decisions
from detector.state.row_memory import PAGE_BITS
from detector.state.table import StreamTable

# Rows of one run of the graph: with more the working set leaves the cache, and nothing
# is gained (make benchmark).
BATCH = 2048
# Seconds between two points that have one time: the graph's own least interval.
_SHORTEST = 1e-3
_IS_TRANSITION = np.isin(np.arange(len(Reason)), TRANSITIONS)
_IS_IN_DOUBT = np.isin(np.arange(len(Reason)), (Reason.RECOVERED, Reason.RETURNED))
_IS_BEGINNING = np.isin(np.arange(len(Reason)), (Reason.FIRED, Reason.RETURNED))


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


@dataclass(frozen=True, slots=True)
class _Scored:
    """What is decided about, for each of B streams.

    Attributes:
        before: DECISION [B], the state before the point.
        times: float64 [B], event times in epoch seconds.
        since: float64 [B], seconds since the previous point.
        scores: float32 [B].
    """

    before: DecisionState
    times: F64
    since: F64
    scores: F32

    def decide(self, policy: AlertPolicy) -> Decisions:
        return decide(self.before, self.times, self.since, self.scores, policy)

    def decide_negligible(self, points: I64, policy: AlertPolicy) -> Decisions:
        """The same for some of them, which may not begin an incident."""
        negligible = np.ones(len(points), np.bool_)
        return decide(*self._of(points), policy, negligible)

    def decide_lost(self, points: I64, policy: AlertPolicy) -> Decisions:
        """The same for some of them, whose incident may not recover."""
        lost = np.ones(len(points), np.bool_)
        return decide(*self._of(points), policy, lost=lost)

    def _of(self, points: I64) -> tuple[DecisionState, F64, F64, F32]:
        return (
            self.before[points],
            self.times[points],
            self.since[points],
            self.scores[points],
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
        causes: CauseClassifier,
        counters: CounterStage,
    ) -> None:
        self._table = table
        self._engine = engine
        self._policy = policy
        self._zones = zones
        self._tick_interval = tick_interval
        self._causes = causes
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
        scored = _Scored(before, points.times, since, scores)
        decisions = scored.decide(self._policy)
        if len(changed):
            end_unfinished(decisions, before, points.times, changed)
        transitions, kinds = self._judge(given, step, scored, decisions)
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

    def _judge(
        self,
        given: StepInput,
        step: StepOutput,
        scored: _Scored,
        decisions: Decisions,
    ) -> tuple[I64, Mapping[int, AnomalyKind]]:
        """Let the values speak: indices that raise an alert in the end, and causes."""
        values = Values(given.x, step.expected, step.contribution)
        self._keep_losses(given.x, scored, decisions)
        follow_values(decisions, scored.scores, values, self._policy)
        changed = np.flatnonzero(_IS_TRANSITION[decisions.reason])
        if not len(changed):
            return changed, {}
        began = changed[_IS_BEGINNING[decisions.reason[changed]]]
        kinds = self._causes.classify(given, step, decisions.threshold, began)
        self._drop_negligible(began, kinds, values, scored, decisions)
        record_and_judge(
            decisions,
            scored.before,
            scored.times,
            changed,
            kinds,
            values,
        )
        return changed[_IS_TRANSITION[decisions.reason[changed]]], kinds

    def _keep_losses(self, x: F32, scored: _Scored, decisions: Decisions) -> None:
        """Decide again about incidents that would recover or return: those that are
        losses of young streams, and go on, do neither.
        """
        points = np.flatnonzero(_IS_IN_DOUBT[decisions.reason])
        if not len(points):
            return
        rows = scored.before[points]
        goes_on = go_on_as_losses(rows, scored.times[points], x[points])
        kept = points[goes_on]
        if len(kept):
            _replace(decisions, kept, scored.decide_lost(kept, self._policy))

    def _drop_negligible(
        self,
        began: I64,
        kinds: Mapping[int, AnomalyKind],
        values: Values,
        scored: _Scored,
        decisions: Decisions,
    ) -> None:
        """Decide again about incidents of values that hardly deviate: none begins.

        A flatline hardly deviates, and is one for another reason.
        """
        of_value = [kinds.get(i) is not AnomalyKind.FLATLINE for i in began.tolist()]
        candidates = began[of_value]
        if not len(candidates):
            return
        chosen = values.at(candidates)
        is_negligible = are_negligible(
            chosen.x,
            chosen.expected,
            chosen.contribution,
            self._policy.min_relative_deviation,
        )
        dropped = candidates[is_negligible]
        if len(dropped):
            again = scored.decide_negligible(dropped, self._policy)
            _replace(decisions, dropped, again)

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


def _replace(decisions: Decisions, points: I64, again: Decisions) -> None:
    """Take the decisions about these points from ``again``, in place."""
    decisions.phase[points] = again.phase
    decisions.reason[points] = again.reason
    decisions.rows[points] = again.rows
