"""The loop of the daemon: poll, process, checkpoint, and again.

:mod:`detector.consumer.partitions` says which partitions are read and from where,
:mod:`detector.consumer.checkpoints` makes durable what the pipeline holds.

Theory of operation. The store's head is the truth, the group's committed offset a hint.
Records that were polled before an assignment changed are thrown away and read again
from the applied offset. The loop's lock is never held during a call of the source that
waits, because such a call may need the thread that assigns partitions.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Final

import structlog

from detector.clock import Clock
from detector.consumer.boundary import Boundary
from detector.consumer.checkpoints import Checkpoints
from detector.consumer.partitions import Partitions
from detector.consumer.poller import Poller
from detector.consumer.recovery_watch import RecoveryWatch
from detector.errors import Transient
from detector.events import Partition, RecordBatch
from detector.metrics import Metrics
from detector.pipeline.pipeline import Pipeline
from detector.ports import Source

#: Seconds after a fault of the broker or of the store until the next try.
RETRY: Final = 1.0


class Loop:
    """Runs the pipeline on one thread.

    :func:`detector.consumer.build.build_loop` makes one with its parts.

    Attributes:
        partitions: tells the loop which partitions come and go.
        boundary: changes what is in force, between two polls.
        health: what the loop says of its health.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        poller: Poller,
        partitions: Partitions,
        checkpoints: Checkpoints,
        boundary: Boundary,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._pipeline = pipeline
        self._poller = poller
        self.partitions = partitions
        self.checkpoints = checkpoints
        self.boundary = boundary
        self._lock = boundary.lock
        self._metrics = metrics
        self._clock = clock
        self.health = partitions.health
        self._recovery = RecoveryWatch(metrics, clock)
        self._log = structlog.get_logger("loop")

    def run(self, source: Source, stop: threading.Event) -> None:
        """Turn after turn until ``stop`` is set.

        Faults of the broker are retried for ever. Any other error ends the loop, and
        nothing more is written: the states may hold a part of the poll that failed.
        """
        try:
            while not stop.is_set():
                self.turn(source, stop)
        except BaseException:
            self.partitions.abandon()
            raise

    def turn(self, source: Source, stop: threading.Event) -> None:
        """One poll, and a checkpoint if one is due."""
        self.health.last_turn = self._clock.monotonic()
        self._recovery.turn(self.health, math.nan)  # there is a source
        self.boundary.turn()
        try:
            self.partitions.start_restored(source)
            generation = self.partitions.generation
            polled = self._poller.poll(source)
        except Transient as error:
            self._report_fault(error)
            stop.wait(RETRY)
            return
        self._report_back()
        self.health.held_fault = source.fault()
        if not self._process(source, polled, generation):
            stop.wait(RETRY)
        self.partitions.start_warm(source)
        lag = self._report_lag(source)
        self._recovery.turn(self.health, lag)
        self.checkpoints.turn(source)

    def finish(self, source: Source, timeout: float) -> None:
        """Write and commit a last checkpoint, within about ``timeout`` seconds."""
        self.health.stopping = True
        self.checkpoints.finish(source, timeout)
        self._report_lag(source)

    # -- processing --------------------------------------------------------------------

    def _process(
        self, source: Source, polled: Sequence[RecordBatch], generation: int
    ) -> bool:
        """False if the store did not give pages that the records need.

        The records are read again then, and also if an assignment changed since they
        were polled.
        """
        again: dict[Partition, int] = {}
        with self._lock:
            is_current = generation == self.partitions.generation
            has_pages = is_current and self.partitions.add_missing_pages(polled)
            if has_pages:
                self._score(polled)
            else:
                again = self._unapplied(polled)
        for partition, offset in again.items():
            source.seek(partition, offset)
        return has_pages or not is_current

    def _score(self, polled: Sequence[RecordBatch]) -> None:
        began = self._clock.monotonic()
        self._pipeline.backlog.now = self._clock.wall()
        with self._metrics.poll_seconds.time():
            live = self.partitions.warm_ups.process(polled)
            self._pipeline.process(live, began)
        seconds = self._clock.monotonic() - began
        idle_before = began - self.checkpoints.schedule.evict_after
        self.boundary.beside.follow(live, began, seconds, idle_before)

    def _unapplied(self, polled: Sequence[RecordBatch]) -> dict[Partition, int]:
        """The offset to read each owned partition from, so that nothing is skipped."""
        applied = self._pipeline.pages.applied
        owned = {
            batch.partition: applied.get(batch.partition, _first_offset(batch))
            for batch in polled
            if self._pipeline.table.owns(batch.partition)
        }
        return owned | self.partitions.warm_ups.positions(polled)

    # -- reports -----------------------------------------------------------------------

    def _report_fault(self, error: Transient) -> None:
        """Log the fault when it begins, count every try."""
        self._metrics.source_errors.inc()
        if not self.health.source_fault:
            self._log.warning("broker_fault", cause=str(error))
        self.health.source_fault = str(error)

    def _report_back(self) -> None:
        if self.health.source_fault:
            self._log.info("broker_back")
            self.health.source_fault = ""

    def _report_lag(self, source: Source) -> float:
        """The sum over partitions whose lag is known; NaN if there is none."""
        applied = dict(self._pipeline.pages.applied)
        found = [source.lag(partition, offset) for partition, offset in applied.items()]
        known = [lag for lag in found if lag is not None]
        lag = float(sum(known)) if known else math.nan
        self._metrics.lag.set(lag)
        return lag


def _first_offset(batch: RecordBatch) -> int:
    """Of the batch's first record, whether it was rejected or not."""
    scored = batch.offsets[:1].tolist()
    rejected = [record.offset for record in batch.rejected[:1]]
    return min([*scored, *rejected], default=batch.next_offset)
