"""Copies out the pages that a checkpoint must make durable, and puts restored ones in.

State, decisions, undelivered notifications and the applied offset leave together or not
at all: they are one fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detector.errors import ResetCause
from detector.events import Partition, RecordBatch
from detector.metrics import Metrics
from detector.notify.outbox import Outbox
from detector.recovery.note import MOST, NOBODY_WAITS, Told, ToldIncident
from detector.recovery.snapshot import (
    SCHEMA,
    CheckpointData,
    Head,
    PageCopy,
    Restored,
    Stamp,
)
from detector.state.page_rows import PageRows, empty_rows
from detector.state.table import StreamTable


class PageCopier:
    """Copies pages out of the table and the outbox, and puts restored ones in.

    It belongs to the pipeline's thread.

    ``digest`` and ``features`` are the bundle's; ``writer`` is a number that no other
    process writes pages under. ``applied`` has, for each partition that was read from,
    the offset up to which its records are in the table.
    """

    def __init__(
        self,
        table: StreamTable,
        outbox: Outbox,
        metrics: Metrics,
        digest: str,
        features: tuple[str, ...],
        writer: int,
    ) -> None:
        self._table = table
        self._outbox = outbox
        self._metrics = metrics
        self._digest = digest
        self._features = features
        self._writer = writer
        self.applied: dict[Partition, int] = {}
        self._stamps: dict[Partition, dict[int, Stamp]] = {}

    def assign(self, partition: Partition, restored: Restored) -> None:
        """Take over a partition as it was restored."""
        offset = restored.offset or 0
        self._table.assign(partition, restored.pages, offset, restored.cold)
        # a page without a stamp is written at the next checkpoint
        self._stamps[partition] = dict(restored.stamps)
        if restored.offset is not None:
            self.applied[partition] = restored.offset
        self._outbox.restore(
            partition, restored.alerts, restored.open, restored.segments
        )
        self.report()

    def revoke(self, partition: Partition) -> None:
        """Let go of a partition. Undelivered notifications are in its pages for the
        next owner, or raised again from its records.
        """
        self._table.revoke(partition)
        self._outbox.forget(partition)
        self.applied.pop(partition, None)
        self._stamps.pop(partition, None)
        self.report()

    def rows(self, partition: Partition) -> tuple[PageRows, ...]:
        """Copies of all rows in memory, in order of their pages' numbers. Pages without
        rows in memory are empty.
        """
        offset = self.applied.get(partition, 0)
        table = self._table
        copies = []
        in_memory = dict(table.pages(partition))
        for number in range(table.page_count(partition)):
            if number in in_memory:
                applied = int(table.page_applied[in_memory[number]])
                rows = table.copy_page(partition, number, max(offset, applied))
            else:
                rows = empty_rows(number, offset, table.states.shape[1])
            copies.append(rows)
        return tuple(copies)

    def as_restored(self, partition: Partition) -> Restored:
        """What a restart would start from, but for alerts and pages in the store."""
        return Restored(self.rows(partition), (), self.applied.get(partition))

    def with_alerts(self, partition: Partition, restored: Restored) -> Restored:
        """The same with the alerts and open incidents of its pages."""
        outbox = self._outbox
        keys = [(partition, page.number) for page in restored.pages]
        alerts = [(key[1], alert) for key in keys for alert in outbox.waiting(key)]
        opened = [(key[1], found) for key in keys for found in outbox.opened(key)]
        return replace(restored, alerts=tuple(alerts), open=tuple(opened))

    def touch_all(self) -> None:
        """Write all pages in memory again at the next checkpoint.

        Those of idle streams are in the store alone, and stay as they are there.
        """
        for partition, stamps in self._stamps.items():
            for number, _ in self._table.pages(partition):
                stamps.pop(number, None)

    def advance(self, partition: Partition, next_offset: int) -> None:
        """All records before ``next_offset`` are applied."""
        self.applied[partition] = next_offset
        self._table.silent.clear_pages(partition)

    def report(self) -> None:
        """Set the gauges of the table."""
        self._metrics.streams.set(self._table.streams)
        self._metrics.held.set(len(self._table.pasts.holding))
        self._metrics.newcomers.set(len(self._table.newcomers))
        self._metrics.evicted.set(self._table.silent.evicted)

    # -- checkpoints -------------------------------------------------------------------

    def capture(
        self, partition: Partition, idle_before: float = -np.inf
    ) -> CheckpointData | None:
        """Copies of the pages that changed since the last capture, and the head; None
        if nothing was read yet.

        Streams that nothing was applied to since monotonic ``idle_before`` are gathered
        into pages of their own. Pages whose streams have all expired are written empty.
        """
        offset = self.applied.get(partition)
        if offset is None:
            return None
        silent = self._table.silent
        emptied = silent.expire(partition, idle_before, offset)
        self._metrics.forgotten.labels("expired").inc(len(silent.expired))
        silent.expired.clear()
        changed = self._captured_pages(partition, offset)
        idle = (*emptied, *silent.idle(partition, idle_before, offset))
        stamps = self._stamps[partition]
        stamps.update({rows.number: Stamp(offset, self._writer) for rows in idle})
        head = Head(
            schema=SCHEMA,
            bundle=self._digest,
            partition=partition,
            offset=offset,
            stamps=dict(stamps),
            cold=tuple(sorted(self._table.silent.cold(partition))),
            features=self._features,
        )
        return CheckpointData(head, changed, idle, self._told(partition))

    def _told(self, partition: Partition) -> Told:
        """The open incidents, the gravest first."""
        slots = self._table.slots_firing(partition)
        if not len(slots):
            return NOBODY_WAITS
        severities = self._table.decisions["severity"][slots]
        by_gravity = np.argsort(-severities.astype(np.int64), kind="stable")
        listed = slots[by_gravity[:MOST]].tolist()
        incidents = [self._told_incident(slot) for slot in listed]
        return Told(tuple(incidents), len(slots) - len(listed))

    def _told_incident(self, slot: int) -> ToldIncident:
        row = self._table.decisions[slot]
        name = self._table.names[slot]
        return ToldIncident(name, float(row["onset"]), int(row["severity"]))

    def _captured_pages(
        self, partition: Partition, offset: int
    ) -> tuple[PageCopy, ...]:
        """Pages whose rows or notifications changed, or that were never written."""
        table = self._table
        settled = self._outbox.take_changed_pages(partition)
        stamps = self._stamps[partition]
        captured: list[PageCopy] = []
        for number, page in table.pages(partition):
            is_dirty = bool(table.page_dirty[page])
            if not (is_dirty or number in settled or number not in stamps):
                continue
            table.page_dirty[page] = False
            # a restored page may be ahead of its partition
            applied = max(offset, int(table.page_applied[page]))
            key = (partition, number)
            rows = table.copy_page(partition, number, applied)
            alerts = self._outbox.waiting(key)
            captured.append(PageCopy(rows, alerts, self._outbox.opened(key)))
            stamps[number] = Stamp(applied, self._writer)
        return tuple(captured)

    def captured(self, capture: CheckpointData) -> None:
        """The capture is durable: idle streams leave memory. Its partition has been
        owned ever since.
        """
        partition = capture.head.partition
        for rows in capture.idle:
            self._table.silent.evict(partition, rows)
        self.report()

    def uncaptured(self, capture: CheckpointData) -> None:
        """The capture was not made durable: its pages are still dirty. Its partition
        has been owned ever since.
        """
        partition = capture.head.partition
        pages = dict(self._table.pages(partition))
        for copy in capture.changed:
            self._table.page_dirty[pages[copy.rows.number]] = True
        for rows in capture.idle:
            self._stamps[partition].pop(rows.number, None)
            self._table.silent.keep(partition, rows)

    # -- pages of streams that fell silent ---------------------------------------------

    def missing_pages(
        self, polled: Sequence[RecordBatch]
    ) -> list[tuple[Partition, int]]:
        """Pages in the store that hold streams of these records: each must be added
        before the records are processed.
        """
        missing = []
        for batch in polled:
            if self._table.owns(batch.partition):
                numbers = self._table.silent.missing_pages(batch.partition, batch.names)
                missing += [(batch.partition, number) for number in sorted(numbers)]
        return missing

    def add_page(
        self, partition: Partition, number: int, rows: PageRows | None
    ) -> None:
        """Supply a missing page; None if it is gone: its streams start anew, and are
        counted.
        """
        if rows is None:
            lost = self._table.silent.drop_page(partition, number)
            self._metrics.state_resets.labels(ResetCause.PAGE_GONE.value).inc(lost)
        else:
            self._table.silent.add_page(partition, rows)
