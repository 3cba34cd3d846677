"""The loop: poll, process, checkpoint; and what happens between polls when partitions come and go.

Theory of operation. The snapshot is the truth, the committed offset a hint. A checkpoint writes the dirty pages and the head, waits until
they are durable, and only then commits the offset. The consumer's I/O thread may assign or revoke partitions at any moment: it
takes the loop's lock, so never in the middle of a poll's records; records that were fetched before an assignment changed are thrown
away and read again from the applied offset. The lock is never held while the client is called, which may need that same thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from detector.clock import Clock
from detector.errors import StoreError, Transient
from detector.events import Columns, Partition
from detector.metrics import Metrics
from detector.pipeline import Capture, Pipeline
from detector.ports import Source, Store
from detector.recovery.snapshot import restore

POLL_TIMEOUT = 0.2  # seconds: how long a stop may go unnoticed
_RETRY = 1.0  # seconds after a broker fault


@dataclass(slots=True)
class Vitals:
    """What health and readiness are read from; times are monotonic."""

    beat: float
    ready: bool = False
    stopping: bool = False
    store_fault: str = ""
    source_fault: str = ""


class Loop:
    """Owns the pipeline's one thread. Implements Assignments."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        bundle: str,
        width: int,
        interval: float,
        max_records: int,
    ) -> None:
        self._pipeline, self._store, self._metrics, self._clock = pipeline, store, metrics, clock
        self._bundle, self._width, self._interval, self._max_records = bundle, width, interval, max_records
        self._lock = threading.Lock()
        self._generation = 0
        self._durable: dict[Partition, int] = {}
        self._unreadable: StoreError | None = None
        self._checkpointed = self._tried = clock.monotonic()
        self.vitals = Vitals(clock.monotonic())
        self._log = structlog.get_logger("loop")

    # -- Assignments -----------------------------------------------------------------------------------------------------

    def assigned(self, partitions: Sequence[Partition]) -> Mapping[Partition, int | None]:
        with self._lock:
            self._generation += 1
            start = {p: self._restore(p) for p in partitions}
            self.vitals.ready = True
            return start

    def revoked(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._generation += 1
            for partition in partitions:
                self._write(self._pipeline.capture(partition))
            self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._generation += 1
            self._forget(partitions)

    def _restore(self, partition: Partition) -> int | None:
        try:
            restored = restore(self._bundle, *self._store.load(partition), self._width)
        except StoreError as error:
            self._log.error("restore_failed", partition=str(partition), cause=str(error))
            self._unreadable = error
            raise
        self._pipeline.assign(partition, restored)
        streams = sum(len(rows.names) for rows in restored.pages)
        if restored.offset is not None:
            self._log.info("restored", partition=str(partition), streams=streams, offset=restored.offset, undelivered=len(restored.alerts))
        return restored.offset

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._pipeline.revoke(partition)
            self._durable.pop(partition, None)

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self, source: Source, stop: threading.Event) -> None:
        """Until ``stop``; then a last checkpoint. Broker faults are retried for ever, each kind logged once until it is over.

        Raises StoreError when what was assigned can't be restored: the client would read on and nobody would score it, so the daemon ends and
        the group gives the partition to a member, perhaps this one started again, that can.
        """
        while not stop.is_set():
            self.turn(source, stop)
            if self._unreadable is not None:
                self.checkpoint(source)
                raise self._unreadable
        self.vitals.stopping = True
        self.checkpoint(source)

    def turn(self, source: Source, stop: threading.Event) -> None:
        """One poll, and a checkpoint when it is due."""
        generation = self._generation
        self.vitals.beat = self._clock.monotonic()
        try:
            polled = source.poll(self._max_records, POLL_TIMEOUT)
        except Transient as error:
            self._metrics.source_errors.inc()
            if not self.vitals.source_fault:
                self._log.warning("broker_fault", cause=str(error))
            self.vitals.source_fault = str(error)
            stop.wait(_RETRY)
            return
        if self.vitals.source_fault:
            self._log.info("broker_back")
            self.vitals.source_fault = ""
        again: dict[Partition, int] = {}
        with self._lock:
            if generation == self._generation:
                with self._metrics.poll_seconds.time():
                    self._pipeline.process(polled)
            else:
                again = {c.partition: self._pipeline.applied.get(c.partition, _first_offset(c)) for c in polled}
                again = {p: o for p, o in again.items() if self._pipeline.table.owns(p)}
        for partition, offset in again.items():
            source.seek(partition, offset)
        if self._clock.monotonic() - self._tried >= self._interval:
            self.checkpoint(source)

    def checkpoint(self, source: Source) -> None:
        """Dirty pages, then heads, then the offsets; a store that fails leaves the pages dirty and the offsets uncommitted."""
        with self._lock, self._metrics.checkpoint_seconds.time():
            captures = [self._pipeline.capture(p) for p in self._pipeline.table.partitions()]
            written = False not in [self._write(c) for c in captures]
            offsets = dict(self._durable)
        self._tried = self._clock.monotonic()
        if written:
            self._checkpointed = self._tried
        self._report(source)
        if offsets:
            try:
                source.commit(offsets)
            except Transient as error:
                self._log.warning("commit_failed", cause=str(error))

    def _write(self, capture: Capture | None) -> bool:
        if capture is None or (not capture.pages and self._durable.get(capture.head.partition) == capture.head.offset):
            return True
        try:
            self._store.write(capture.head, capture.pages)
        except StoreError as error:
            self._pipeline.uncaptured(capture)
            self._metrics.checkpoints.labels("failed").inc()
            if not self.vitals.store_fault:
                self._log.error("checkpoint_failed", cause=str(error), remedy="free or mount the store; scoring goes on, nothing is committed")
            self.vitals.store_fault = str(error)
            return False
        if self.vitals.store_fault:
            self._log.info("checkpoint_works_again")
            self.vitals.store_fault = ""
        self._metrics.checkpoints.labels("written").inc()
        self._durable[capture.head.partition] = capture.head.offset
        return True

    def _report(self, source: Source) -> None:
        lags = [source.lag(p, o) for p, o in dict(self._pipeline.applied).items()]
        self._metrics.lag.set(sum(lag for lag in lags if lag is not None))

    def checkpoint_age(self) -> float:
        """Seconds since all that is owned was last durable."""
        return self._clock.monotonic() - self._checkpointed


def _first_offset(columns: Columns) -> int:
    """Of the first record of a poll, whether it can be scored or not."""
    firsts = [*columns.offsets[:1].tolist(), *(r.offset for r in columns.rejected[:1])]
    return min(firsts, default=columns.next_offset)
