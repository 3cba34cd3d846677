"""The one path from columns to alerts: ``run`` and ``replay`` differ in what they put
in and nowhere else.

Theory of operation. :meth:`Pipeline.process` takes a poll's columns, resolves streams
to rows of the table, leaves out what those rows have already seen (after a restart),
and steps the rest in waves: gather, one run of the graph, decide, scatter. Nothing here
loops over points in Python; what changes phase becomes an :class:`Alert` in the outbox,
which belongs to its stream's page.

:meth:`Pipeline.capture` copies out what a checkpoint must make durable. State,
decisions, undelivered notifications and the applied offset leave together or not at
all.

A value that is as usual may be told of because it never changes, or because of how it
moved of late. The graph's outputs don't say so, but it can be asked again about the
metric that contributed most: where the score falls by a scale if it had moved by the
least that float32 can tell, it is odd that it stands still; where it falls by less than
a tenth of one if it were what was expected, its course is. That is two more runs for
points that begin an incident, and for no others: once a metric has jumped, the jump
back is as odd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from detector.alerting.decide import Decisions, decide
from detector.alerting.policy import AlertPolicy
from detector.alerting.resolution import record_and_judge
from detector.alerting.thresholds import (
    budget_of_effective,
    offset_for_tick,
    penalty_for_short_history,
)
from detector.errors import RejectReason
from detector.events import (
    ENDS,
    F32,
    F64,
    TRANSITIONS,
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Partition,
    Reason,
    RecordBatch,
    RejectedRecord,
    Severity,
)
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine, StepOutput, clock_input
from detector.model.local_time import UTC, Zones
from detector.notify.outbox import Outbox
from detector.pipeline.sink import ScoreSink
from detector.ports import DeadLetters
from detector.recovery.snapshot import SCHEMA, CheckpointData, Head, Restored, Stamp
from detector.state.decisions import KNOWN_STEPS
from detector.state.initial_state import InitialStates
from detector.state.page_rows import PageRows
from detector.state.table import NO_SLOT, PAGE_BITS, Slots, StreamTable
from detector.state.waves import waves

# rows a run: beyond this the working set leaves the cache and nothing is gained
BATCH = 2048
TOP_FEATURES = 5
# seconds: a stream that training has not seen is known once it has been watched for a
# day
RHYTHM = 86_400.0


class Pipeline:
    """State of the assigned partitions and the path through it. One thread at a time.

    ``writer`` is a number that no other process writes pages under; ``zones`` are those
    whose wall clocks the streams follow; ``asked_again`` runs the graph for what alerts
    say and nothing else; without it they say nothing of what is odd beside values.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        rules: AlertPolicy,
        outbox: Outbox,
        metrics: Metrics,
        dead: DeadLetters,
        max_streams: int,
        on_rejected: Callable[[RejectedRecord], None] = lambda rejected: None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
        on_split: Callable[
            [str, Partition, Partition], None
        ] = lambda stream, one, other: None,
        sink: ScoreSink | None = None,
        writer: int = 0,
        zones: Zones = UTC,
        probe_engine: Engine | None = None,
    ) -> None:
        self._bundle = bundle
        self._engine = engine
        self.rules = rules
        self._zones = zones
        self._asked_again = probe_engine
        self._outbox = outbox
        self._metrics = metrics
        self._dead = dead
        self._sink = sink
        self._on_rejected = on_rejected
        self._on_alert = on_alert
        self._on_split = on_split
        self._writer = writer
        self.table = StreamTable(
            _seed(bundle, rules.initial_penalty), max_streams, zones.zone_of
        )
        self._gathered: F32 = np.empty((BATCH, bundle.manifest.state_size), np.float32)
        self.applied: dict[Partition, int] = {}
        self._stamps: dict[Partition, dict[int, Stamp]] = {}

    # -- partitions --------------------------------------------------------------------

    def assign(
        self, partition: Partition, restored: Restored, now: float = 0.0
    ) -> None:
        """Take over a partition as it was restored, at monotonic ``now``."""
        self.table.now = now
        self.table.assign(
            partition, restored.pages, restored.offset or 0, restored.cold
        )
        # a page without one is written at the next checkpoint
        self._stamps[partition] = dict(restored.stamps)
        if restored.offset is not None:
            self.applied[partition] = restored.offset
        self._outbox.restore(
            partition, restored.alerts, restored.open, restored.segments
        )
        self._metrics.firing.set(self.table.firing())
        self._gauges()

    def revoke(self, partition: Partition) -> None:
        """Let go of it; what it still had to say is in its pages for the next owner, or
        raised again from its records.
        """
        self.table.revoke(partition)
        self._outbox.forget(partition)
        self.applied.pop(partition, None)
        self._stamps.pop(partition, None)
        self._metrics.firing.set(self.table.firing())
        self._gauges()

    def capture(
        self, partition: Partition, idle_before: float = -np.inf
    ) -> CheckpointData | None:
        """Copies of the pages that changed since the last capture, and the head; None
        if nothing was read yet.

        Streams that nothing was applied to since monotonic ``idle_before`` are gathered
        into pages of their own.
        """
        offset = self.applied.get(partition)
        if offset is None:
            return None
        changed = self._outbox.take_changed_pages(partition)
        stamps = self._stamps[partition]
        captured = []
        for number, page in self.table.pages(partition):
            if self.table.page_dirty[page] or number in changed or number not in stamps:
                self.table.page_dirty[page] = False
                rows = self.table.copy_page(
                    partition, number, max(offset, int(self.table.page_applied[page]))
                )
                captured.append(
                    (
                        rows,
                        self._outbox.waiting((partition, number)),
                        self._outbox.opened((partition, number)),
                    )
                )
                stamps[number] = Stamp(rows.offset, self._writer)
        idle = tuple(self.table.idle(partition, idle_before, offset))
        stamps.update({rows.number: Stamp(offset, self._writer) for rows in idle})
        cold = tuple(sorted(self.table.cold(partition)))
        return CheckpointData(
            Head(SCHEMA, self._bundle.digest, partition, offset, dict(stamps), cold),
            tuple(captured),
            idle,
        )

    def captured(self, capture: CheckpointData) -> None:
        """The capture is durable: idle streams leave memory."""
        if self.table.owns(capture.head.partition):
            for rows in capture.idle:
                self.table.evict(capture.head.partition, rows)
            self._gauges()

    def uncaptured(self, capture: CheckpointData) -> None:
        """The capture was not made durable: its pages are dirty still."""
        partition = capture.head.partition
        if self.table.owns(partition):
            pages = dict(self.table.pages(partition))
            for rows, _, _ in capture.rows:
                self.table.page_dirty[pages[rows.number]] = True
            for rows in capture.idle:
                self._stamps[partition].pop(rows.number, None)
                self.table.keep(partition, rows)

    def missing_pages(
        self, polled: Sequence[RecordBatch]
    ) -> list[tuple[Partition, int]]:
        """Pages in the store that must be supplied before these records are processed:
        they hold streams that had fallen silent.
        """
        owned = [c for c in polled if self.table.owns(c.partition)]
        return [
            (c.partition, number)
            for c in owned
            for number in sorted(self.table.missing_pages(c.partition, c.names))
        ]

    def add_page(
        self, partition: Partition, number: int, rows: PageRows | None
    ) -> None:
        """A page that was wanted; None where it is gone: its streams start anew, and
        are counted.
        """
        if rows is None:
            self._metrics.state_resets.inc(self.table.drop_page(partition, number))
        else:
            self.table.add_page(partition, rows)

    # -- the path ----------------------------------------------------------------------

    def process(self, polled: Sequence[RecordBatch], now: float = 0.0) -> None:
        """Score every record of a poll, at monotonic ``now``. Columns of a partition
        that is not owned are left alone: their owner reads them.
        """
        self.table.now = now
        polled = [c for c in polled if self.table.owns(c.partition)]
        for columns in polled:
            self._process_partition(columns)
        for columns in polled:
            self.applied[columns.partition] = columns.next_offset
            self.table.clear_pages(columns.partition)
        if polled:
            self._gauges()

    def _process_partition(self, columns: RecordBatch) -> None:
        count = len(columns.names)
        self._metrics.records.inc(columns.records)
        self._metrics.unknown_fields.inc(columns.unknown_fields)
        for rejected in columns.rejected:
            self._reject(rejected)
        if not count:
            return
        slots = self.table.slots(columns.partition, columns.names)
        self._report_split()
        fresh = self._unseen(columns, slots)
        for wave in waves(slots[fresh]):
            self._wave(columns, slots, fresh[wave])

    def _report_split(self) -> None:
        if self.table.split:
            self._metrics.split_streams.inc(len(self.table.split))
            self._on_split(*self.table.split[0])
            self.table.split.clear()

    def _unseen(self, columns: RecordBatch, slots: Slots) -> Slots:
        """Indices of the records to apply: not those that a restored page holds
        already, nor those without a row.
        """
        full = slots == NO_SLOT
        if full.any():
            for i in np.flatnonzero(full).tolist():
                self._drop(
                    columns,
                    i,
                    RejectReason.CAPACITY,
                    "the table holds its maximum of streams (DETECTOR_MODEL__MAX_STREAMS)",
                )
        pages = np.where(full, 0, slots) >> PAGE_BITS
        seen = (columns.offsets < self.table.page_applied[pages]) & ~full
        if seen.any():
            self._metrics.skipped.inc(int(seen.sum()))
        return np.flatnonzero(~(full | seen))

    def _wave(self, columns: RecordBatch, slots: Slots, records: Slots) -> None:
        """One point of each of these records' streams; late ones are left out."""
        rows = slots[records]
        times = columns.times[records]
        last = self.table.times[rows]
        late = times <= last
        if late.any():
            for i, repeated in zip(
                records[late].tolist(), (times == last)[late].tolist(), strict=True
            ):
                reason = RejectReason.DUPLICATE if repeated else RejectReason.LATE
                self._drop(
                    columns,
                    i,
                    reason,
                    f"timestamp {columns.times[i]:.17g} of a stream that is already there or further",
                )
            records = records[~late]
            rows = rows[~late]
            times = times[~late]
            last = last[~late]
        for start in range(0, len(records), BATCH):
            part = slice(start, start + BATCH)
            self._batch(columns, records[part], rows[part], times[part], last[part])

    def _batch(
        self, columns: RecordBatch, records: Slots, rows: Slots, times: F64, last: F64
    ) -> None:
        """Gather, step, decide, scatter."""
        table = self.table
        begun = np.isfinite(last)
        if not begun.all():
            table.begin(rows[~begun], times[~begun])
        since = np.where(begun, times - last, self._bundle.manifest.tick_interval)
        x = columns.values.take(records, axis=0)
        wall = (
            times
            if self._zones.only_utc
            else self._zones.local_times(times, table.zones.take(rows))
        )
        # unlike "raise" it writes straight into it
        states = table.states.take(
            rows, axis=0, out=self._gathered[: len(rows)], mode="clip"
        )
        clock = clock_input(since, wall)
        step = self._engine.step(x, clock, states)
        broken = ~np.isfinite(step.score)
        before = table.decisions.take(rows)
        decided = decide(
            before,
            times,
            since,
            np.where(broken, 0, step.score) if broken.any() else step.score,
            self.rules,
        )
        changed = np.flatnonzero(_IS_TRANSITION[decided.reason])
        odd: dict[int, AnomalyKind] = {}
        if len(changed):
            odd = self._classify_cause(
                x, clock, states, step, changed[decided.reason[changed] == Reason.FIRED]
            )
            record_and_judge(decided, changed, odd, x, step.expected, step.contribution)
            changed = changed[_IS_TRANSITION[decided.reason[changed]]]
        table.states[rows] = step.next_state
        table.store_decisions(rows, decided.rows)
        table.times[rows] = times
        table.touched[rows] = table.now
        table.page_dirty[rows >> PAGE_BITS] = True
        if broken.any():
            self._metrics.state_resets.inc(int(broken.sum()))
            table.restart(rows[broken])
        self._metrics.scored.inc(len(rows))
        for i in changed.tolist():
            self._transition(
                columns.partition,
                int(rows[i]),
                before[i],
                decided,
                times[i],
                i,
                x,
                step,
                odd.get(i, AnomalyKind.VALUE),
            )
        if self._sink is not None:
            self._sink.wave(
                columns.partition, columns.offsets[records], x, step, decided
            )

    # -- what changes ------------------------------------------------------------------

    def _transition(
        self,
        partition: Partition,
        slot: int,
        before: np.void,
        decided: Decisions,
        at: float,
        i: int,
        x: F32,
        step: StepOutput,
        odd: AnomalyKind,
    ) -> None:
        reason = Reason(decided.reason[i])
        after = decided.rows[i]
        resolved = reason in ENDS
        severity = Severity(int((before if resolved else after)["severity"]))
        name = self.table.names[slot]
        above = self.rules.critical_above if severity is Severity.CRITICAL else 0.0
        alert = Alert(
            partition=partition,
            stream=name,
            severity=severity,
            reason=reason,
            starts_at=float(after["onset"]),
            ends_at=float(at) if resolved else None,
            at=float(at),
            score=float(step.score[i]),
            threshold=float(decided.threshold[i]) + above,
            confidence=1.0
            if after["steps"] >= KNOWN_STEPS
            else min(1.0, float(after["observed_seconds"]) / RHYTHM),
            per_week=self.incident_rate(float(step.score[i]), after),
            deviations=self.deviations(
                name, x[i], step.expected[i], step.contribution[i], odd
            ),
        )
        self._metrics.decisions.labels(reason.label).inc()
        self._metrics.alerts.labels(_STATUS[reason], severity.label).inc()
        self._metrics.firing.inc(1 if reason is Reason.FIRED else -1 if resolved else 0)
        self._on_alert(alert)
        self._outbox.put((partition, self.table.page_of(partition, slot)), alert)

    def incident_rate(self, score: float, row: np.void) -> float:
        """How often in a week incidents come, once lifts have settled, of a stream with
        this decision row and a level at such a score.
        """
        faster = offset_for_tick(
            np.array([row["tick"]], np.float64), self.rules.tick, self.rules.score_scale
        )
        return budget_of_effective(
            self._bundle.manifest.tail.rate(
                score - float(row["stream_offset"]) - float(faster[0])
            )
        )

    def _classify_cause(
        self, x: F32, clock: F32, states: F32, step: StepOutput, points: Slots
    ) -> dict[int, AnomalyKind]:
        """What is odd of the metric that contributed most, of those of these points
        where it is not the value, see above.
        """
        if self._asked_again is None or not len(points):
            return {}
        most = np.arange(len(points)), step.contribution[points].argmax(axis=1)
        moved = x[points]
        usual = x[points]
        moved[most] = np.nextafter(moved[most], np.float32(np.inf))
        usual[most] = step.expected[points][most]
        fall = [
            step.score[points]
            - self._asked_again.step(asked, clock[points], states[points]).score
            for asked in (usual, moved)
        ]
        found = dict.fromkeys(
            points[fall[0] < 0.1 * self.rules.score_scale].tolist(), AnomalyKind.TREND
        )
        return found | dict.fromkeys(
            points[fall[1] >= self.rules.score_scale].tolist(), AnomalyKind.FLATLINE
        )

    def deviations(
        self,
        stream: str,
        observed: F32,
        expected: F32,
        contribution: F32,
        odd: AnomalyKind = AnomalyKind.VALUE,
    ) -> tuple[FeatureDeviation, ...]:
        """The features that contributed most, largest first; ``odd``: what is odd of
        the first of them.
        """
        features = self._bundle.features_of(stream)
        order = np.argsort(-contribution, kind="stable")[:TOP_FEATURES].tolist()
        found = zip(order, [odd, *([AnomalyKind.VALUE] * len(order))], strict=False)
        return tuple(
            FeatureDeviation(
                features[j].name,
                features[j].unit,
                float(observed[j]),
                float(expected[j]),
                float(contribution[j]),
                what,
            )
            for j, what in found
            if not np.isnan(observed[j])
        )

    def _drop(
        self, columns: RecordBatch, i: int, reason: RejectReason, detail: str
    ) -> None:
        name = columns.names[i]
        key = name if isinstance(name, bytes) else name.encode()
        self._reject(
            RejectedRecord(
                columns.partition, int(columns.offsets[i]), reason, detail, key
            )
        )

    def _reject(self, rejected: RejectedRecord) -> None:
        self._metrics.rejected.labels(rejected.reason.value).inc()
        self._dead.record(rejected)
        self._on_rejected(rejected)

    def _gauges(self) -> None:
        self._metrics.streams.set(self.table.streams)
        self._metrics.evicted.set(self.table.evicted)


_IS_TRANSITION = np.isin(np.arange(len(Reason)), TRANSITIONS)
_STATUS = {
    Reason.FIRED: "firing",
    Reason.ESCALATED: "escalated",
    Reason.RECOVERED: "resolved",
    Reason.ACCEPTED: "resolved",
}


def _seed(bundle: Bundle, lift: float) -> InitialStates:
    """``lift``: what the level of a stream that training has not seen is lifted by at
    first.
    """
    known = len(bundle.trained)
    again = (
        bundle.began + bundle.seen / 2 if len(bundle.began) else np.full(known, -np.inf)
    )
    return InitialStates(
        bundle.initial,
        bundle.rows,
        bundle.trained,
        penalty_for_short_history(bundle.seen, known, lift),
        bundle.first,
        again,
    )
