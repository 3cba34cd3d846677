"""The one path from records to alerts: ``run`` and ``replay`` differ in what they feed
and in who observes, and in nothing else.

Theory of operation. :meth:`Pipeline.process` takes a poll, resolves streams to rows of
the table, and leaves out what those rows have already seen (after a restart). The rest
goes through the graph in waves: wave k holds the k-th point of every stream. Nothing
here loops over points in Python; only a transition becomes an :class:`Alert`. It goes
into the outbox, under its stream's page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detector.alerting.thresholds import Bools
from detector.errors import RejectReason, ResetCause
from detector.events import (
    ENDS,
    I64,
    Alert,
    Partition,
    Reason,
    RecordBatch,
    RejectedRecord,
)
from detector.metrics import Metrics
from detector.notify.outbox import Outbox
from detector.pipeline.backlog_gate import BacklogGate
from detector.pipeline.observer import Observer, ScoredBatch
from detector.pipeline.order_stage import Ordered, OrderStage, Run
from detector.pipeline.parts import BundleParts, PartsMaker, Setup
from detector.pipeline.scoring import BATCH, Points
from detector.recovery.snapshot import Restored
from detector.state.partition_pages import CROWDED, NO_SLOT
from detector.state.row_memory import PAGE_BITS, Slots
from detector.state.waves import waves

_STATUS = {
    Reason.FIRED: "firing",
    Reason.ESCALATED: "escalated",
    Reason.RETURNED: "returned",
    **dict.fromkeys(ENDS, "resolved"),
}
#: Names that are looked up at once in a crowded table: a point is cheaper than that.
_LEAST_LOOKED_UP = 32
_FULL = "the table holds its maximum of streams (DETECTOR_MODEL__MAX_STREAMS)"


class Pipeline:
    """State of the assigned partitions and the path through it. One thread at a time.

    :func:`detector.pipeline.build.build_pipeline` makes one.
    """

    def __init__(
        self,
        setup: Setup,
        maker: PartsMaker,
        outbox: Outbox,
        metrics: Metrics,
        observer: Observer,
    ) -> None:
        self.backlog = BacklogGate()
        self._maker = maker
        self._outbox = outbox
        self._metrics = metrics
        self._observer = observer
        self._use(maker.make(setup))

    def _use(self, parts: BundleParts) -> None:
        self.parts = parts
        self.table = parts.table
        self.alerts = parts.alerts
        self.pages = parts.pages
        self._scorer = parts.scorer
        self._order = OrderStage(parts.table)

    # -- another setup, between two polls ----------------------------------------------

    def retune(self, setup: Setup) -> None:
        """Go on with the same bundle under other settings."""
        self._use(self._maker.retuned(self.parts, setup))

    def replace(
        self, setup: Setup, carried: Mapping[Partition, Restored], now: float
    ) -> BundleParts:
        """Go on with another bundle, in the states that it takes over, at monotonic
        ``now``. Gives the parts of before, which nothing changes any more.

        Notifications stay where they are: pages keep their numbers.
        """
        before = self.parts
        after = self._maker.make(setup)
        after.table.now = now
        for partition, restored in carried.items():
            after.pages.assign(partition, restored)
        self._use(after)
        self._report_replaced(carried)
        return before

    def adopt(self, parts: BundleParts) -> None:
        """Go on with the streams of another pipeline, which gives them up."""
        self._use(self._maker.around(parts))

    def take_back(self, before: BundleParts) -> None:
        """Undo :meth:`replace`. All pages are written again: the store may hold some of
        the other bundle.
        """
        self._use(before)
        self.pages.touch_all()
        owned = self.table.partitions()
        self._report_replaced({p: self.pages.as_restored(p) for p in owned})

    def _report_replaced(self, carried: Mapping[Partition, Restored]) -> None:
        self._metrics.firing.set(self.table.firing())
        self.pages.report()
        for partition, restored in carried.items():
            self._observer.assigned(
                partition, self.pages.with_alerts(partition, restored)
            )

    # -- partitions --------------------------------------------------------------------

    def expect(self, partition: Partition) -> None:
        """It is ours and its states are being restored: its backlog is not read yet."""
        self._outbox.begin_backlog(partition)

    def assign(
        self,
        partition: Partition,
        restored: Restored,
        now: float = 0.0,
        backlog: range = range(0),
    ) -> None:
        """Take over a partition as it was restored, at monotonic ``now``.

        ``backlog`` has the offsets that its log holds and that are not applied yet.
        """
        self.table.now = now
        self.pages.assign(partition, restored)
        self._metrics.firing.set(self.table.firing())
        self._observer.assigned(partition, restored)
        for alert in restored.ended:
            self._count(alert)
            self._observer.alerted(alert)
        self._outbox.begin_backlog(partition)
        if not self.backlog.begin(partition, backlog.start, backlog.stop):
            self._outbox.end_backlog(partition)

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition; nothing if it is not owned."""
        self.pages.revoke(partition)
        self.backlog.forget(partition)
        self._metrics.firing.set(self.table.firing())
        self._observer.revoked(partition)

    def process(self, polled: Sequence[RecordBatch], now: float = 0.0) -> None:
        """Score every record of a poll, at monotonic ``now``.

        Records of a partition that is not owned are left to their owner.
        """
        self.table.now = now
        owned = [batch for batch in polled if self.table.owns(batch.partition)]
        for batch in owned:
            self._process_partition(batch)
        for batch in owned:
            self.pages.advance(batch.partition, batch.next_offset)
            if self.backlog.is_read(batch.partition, batch.next_offset):
                self._outbox.end_backlog(batch.partition)
        if owned:
            self.pages.report()

    def finish(self) -> None:
        """The end of all logs: settle the points that wait for their stream's next."""
        for partition in self.table.partitions():
            ordered = self._order.flush(partition)
            for record in ordered.rejected:
                self._reject(record)
            for run in ordered.runs:
                self._score(run)

    def _process_partition(self, batch: RecordBatch) -> None:
        self.backlog.note(batch)
        self._metrics.records.inc(batch.records)
        self._metrics.unknown_fields.inc(batch.unknown_fields)
        self._metrics.tombstones.inc(batch.tombstones)
        self._metrics.without_points.inc(batch.without_points)
        for (metric, reason), count in batch.missing.items():
            self._metrics.missing_values.labels(reason.value).inc(count)
            self._observer.missing(batch.partition, metric, reason)
        for record in batch.rejected:
            self._reject(record)
        first = 0
        count = len(batch.names)
        while first < len(batch.names):
            before = first
            first = self._process_rows(batch, before, count)
            # names behind one without room are looked up again: look at few of them
            is_cut = first < min(before + count, len(batch.names))
            count = max(_LEAST_LOOKED_UP, (first - before) if is_cut else 2 * count)

    def _process_rows(self, batch: RecordBatch, first: int, most: int) -> int:
        """The rows from ``first`` on, at most so many, that have room, or room for that
        one.

        Gives where the others begin. Those before may make newcomers known, so that
        there is room without more ado.
        """
        names = batch.names[first : first + most]
        slots = self.table.slots(batch.partition, names)
        self._report_split()
        crowded = np.flatnonzero(slots == CROWDED)
        count = int(crowded[0]) if len(crowded) else len(slots)
        rows = np.arange(first, first + count)
        for wave in self._waves(batch, rows, slots[:count]):
            self._score_wave(batch, *wave)
        if len(crowded) and not count:
            forgotten = self.table.newcomers.make_room(batch.partition)
            self._metrics.forgotten.labels("newcomer").inc(forgotten)
        return first + count

    def _waves(
        self, batch: RecordBatch, records: I64, slots: Slots
    ) -> Iterator[tuple[I64, Slots]]:
        """Indices of the records of each wave, and their rows of the table."""
        unseen = self._unseen(batch, records, slots)
        records = records[unseen]
        slots = slots[unseen]
        for wave in waves(slots):
            yield records[wave], slots[wave]

    def _report_split(self) -> None:
        if self.table.split:
            self._metrics.split_streams.inc(len(self.table.split))
            self._observer.split(*self.table.split[0])
            self.table.split.clear()

    # -- what is scored ----------------------------------------------------------------

    def _unseen(self, batch: RecordBatch, records: I64, slots: Slots) -> Bools:
        """bool [n], the records to apply: those with a row, which a restored page does
        not hold yet.
        """
        without_row = slots == NO_SLOT
        for i in records[without_row].tolist():
            self._drop(batch, i, RejectReason.CAPACITY, _FULL)
        pages = np.where(without_row, 0, slots) >> PAGE_BITS
        is_applied = batch.offsets[records] < self.table.page_applied[pages]
        seen = is_applied & ~without_row
        if seen.any():
            self._metrics.skipped.inc(int(seen.sum()))
        to_apply: Bools = ~(without_row | seen)
        return to_apply

    def _score_wave(self, batch: RecordBatch, records: I64, rows: Slots) -> None:
        """One point of each of these records' streams, in the order of their times."""
        self._apply(batch, self._order.order(batch, records, rows))

    def _apply(self, batch: RecordBatch, ordered: Ordered) -> None:
        for record in ordered.rejected:
            self._reject(record)
        for i, reason in ordered.dropped:
            detail = f"timestamp {batch.times[i]:.17g} is not after its stream's last"
            self._drop(batch, i, reason, detail)
        for run in ordered.runs:
            self._score(run)

    def _score(self, run: Run) -> None:
        batch = run.batch
        records = run.records
        rows = run.slots
        times = batch.times[records]
        self.table.begin_expired(batch.partition, rows, times)
        self.table.newcomers.admit(batch.partition, rows)
        last = self.table.times[rows]
        self._order.note(run)
        if batch.labels is not None:
            labels = [batch.labels[i] for i in records.tolist()]
            self.table.set_labels(rows, labels)
        values = self._scorer.counters.convert(batch, records, rows)
        points = Points(
            partition=batch.partition,
            offsets=batch.offsets[records],
            slots=rows,
            times=times,
            last=last,
            x=values.x,
            is_rate=values.is_rate,
            is_changed=values.is_changed,
        )
        if values.is_scored is not None and not values.is_scored.all():
            self._scorer.pass_over(points.at(~values.is_scored))
            points = points.at(values.is_scored)
        for start in range(0, len(points.slots), BATCH):
            batch_of_graph = points.at(slice(start, start + BATCH))
            self._publish(self._scorer.score(batch_of_graph), batch)

    # -- what comes of it --------------------------------------------------------------

    def _publish(self, scored: ScoredBatch, batch: RecordBatch) -> None:
        """Count what was scored of a batch, and raise its alerts."""
        self._metrics.scored.inc(len(scored.slots))
        if scored.restarted:
            self._metrics.state_resets.labels(ResetCause.NOT_FINITE.value).inc(
                scored.restarted
            )
        self._observer.scored(scored)
        for i in scored.transitions.tolist():
            slot = int(scored.slots[i])
            tags = self.table.labels[slot]
            alert = self.alerts.compose(self.table.names[slot], scored, i, tags)
            page = self.table.page_of(scored.partition, slot)
            offset = int(scored.offsets[i])
            is_old = self.backlog.is_old(batch, offset, alert.at)
            self._raise(alert, page, is_old)

    def _raise(self, alert: Alert, page: int, is_old: bool) -> None:
        self._count(alert)
        if is_old:
            self._metrics.backlog_alerts.inc()
        if alert.reason is Reason.FIRED:
            self._metrics.firing.inc()
        elif alert.reason in ENDS:
            self._metrics.firing.dec()
        self._observer.alerted(alert)
        self._outbox.put((alert.partition, page), alert, is_old)

    def _count(self, alert: Alert) -> None:
        reason = alert.reason
        self._metrics.decisions.labels(reason.label).inc()
        self._metrics.alerts.labels(_STATUS[reason], alert.severity.label).inc()

    def _drop(
        self, batch: RecordBatch, i: int, reason: RejectReason, detail: str
    ) -> None:
        self._reject(batch.rejected_point(i, reason, detail))

    def _reject(self, record: RejectedRecord) -> None:
        self._metrics.rejected.labels(record.reason.value).inc()
        self._observer.rejected(record)
