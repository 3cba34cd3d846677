"""The loop: poll, process, checkpoint; and what happens between polls when partitions
come and go.

Theory of operation. The snapshot is the truth, the committed offset a hint. A
checkpoint takes copies of the dirty pages, which is all that the loop stands still for;
the keeper's thread makes them durable, pages before head, and a later turn of the loop
commits the offsets of what became durable; those that the group refuses are committed
again with the next checkpoint. One checkpoint is under way at a time. A partition that
was assigned gives no records until the keeper has read its pages and the log has been
found to still hold what they ask for.

The consumer's I/O thread may assign or revoke partitions at any moment: it takes the
loop's lock, so never in the middle of a poll's records; records that were fetched
before an assignment changed are thrown away and read again from the applied offset. The
lock is never held while the client is called, which may need that same thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass

import structlog

from detector.clock import Clock
from detector.errors import StoreError, Transient
from detector.events import Partition, RawBatch, RecordBatch
from detector.metrics import Metrics
from detector.pipeline.pipeline import Pipeline
from detector.ports import Source
from detector.recovery.restore import clamp
from detector.recovery.snapshot import CheckpointData, Restored
from detector.recovery.store_thread import CheckpointResult, StoreWorker

POLL_TIMEOUT = 0.2  # seconds: how long a stop may go unnoticed
_FIRST_POLL = 500  # records, until it is known how many points each holds
_RETRY = 1.0  # seconds after a fault of the broker or of a read from the store
# seconds that a rebalance may be held up by a store: below the session timeout, after
# which others take over unasked
_REVOKE = 15.0


@dataclass(slots=True)
class Vitals:
    """What health and readiness are read from; times are monotonic."""

    last_turn: float
    ready: bool = False
    stopping: bool = False
    store_fault: str = ""
    restore_fault: str = ""
    source_fault: str = ""


@dataclass(slots=True)
class _Restoring:
    """A partition that is assigned and whose pages are being read; ``again`` is when to
    try again after a fault.
    """

    pages: Future[Restored]
    again: float | None = None


@dataclass(frozen=True, slots=True)
class _Writing:
    """A checkpoint under way: what the keeper writes."""

    written: Future[CheckpointResult]
    began: float


class Loop:
    """Owns the pipeline's one thread. Implements Assignments."""

    def __init__(
        self,
        pipeline: Pipeline,
        keeper: StoreWorker,
        metrics: Metrics,
        clock: Clock,
        decode: Callable[[RawBatch], RecordBatch],
        bundle: str,
        width: int,
        interval: float,
        max_points: int,
        evict_after: float = float("inf"),
    ) -> None:
        self._pipeline = pipeline
        self._keeper = keeper
        self._metrics = metrics
        self._clock = clock
        self._decode = decode
        self._bundle = bundle
        self._width = width
        self._interval = interval
        self._max_points = max_points
        self._records = min(max_points, _FIRST_POLL)
        self._evict_after = evict_after
        self._lock = threading.Lock()
        self._generation = 0
        self._restoring: dict[Partition, _Restoring] = {}
        self._writing: _Writing | None = None
        self._durable: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._checkpointed = self._tried = clock.monotonic()
        self.vitals = Vitals(clock.monotonic())
        self._log = structlog.get_logger("loop")

    # -- Assignments -------------------------------------------------------------------

    def assigned(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._generation += 1
            for partition in partitions:
                self._restoring[partition] = _Restoring(self._load(partition))
            self._tell_ready()

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        with self._lock:
            self._generation += 1
            ends = self._clock.monotonic() + _REVOKE
            self._await_written(ends)
            self._write(partitions)
            self._await_written(ends)
            durable = {
                p: o
                for p in partitions
                if (o := self._durable.get(p)) is not None
                and o != self._committed.get(p)
            }
            self._forget(partitions)
            return durable

    def lost(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._generation += 1
            self._forget(partitions)

    def _load(self, partition: Partition) -> Future[Restored]:
        return self._keeper.load(partition, self._bundle, self._width)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._restoring.pop(partition, None)
            self._pipeline.revoke(partition)
            self._durable.pop(partition, None)
            self._committed.pop(partition, None)
        self._tell_ready()

    def _tell_ready(self) -> None:
        self.vitals.ready = (
            bool(self._pipeline.table.partitions()) and not self._restoring
        )

    # -- the loop ----------------------------------------------------------------------

    def run(self, source: Source, stop: threading.Event) -> None:
        """Until ``stop``. Broker faults are retried for ever, each kind logged once
        until it is over.

        An error that nobody foresaw ends it, and nothing more is written: points of the
        poll that failed may be in the states already.
        """
        try:
            while not stop.is_set():
                self.turn(source, stop)
        except BaseException:
            with self._lock:
                self._forget(self._pipeline.table.partitions())
            raise

    def turn(self, source: Source, stop: threading.Event) -> None:
        """One poll, what the keeper has done meanwhile, and a checkpoint when it is
        due.
        """
        generation = self._generation
        self.vitals.last_turn = self._clock.monotonic()
        try:
            self._begin(source)
            fetched = source.poll(self._records, POLL_TIMEOUT)
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
        polled = [self._decode(raw) for raw in fetched]
        self._pace(polled)
        if not self._process(source, polled, generation):
            stop.wait(_RETRY)
        self._checkpoint_when_due(source)

    def _pace(self, polled: Sequence[RecordBatch]) -> None:
        """Ask for so many records next that they hold about ``max_points``: where each
        metric is a stream, one may hold thousands.
        """
        records = sum(c.records for c in polled)
        points = sum(len(c.names) for c in polled)
        if records:
            self._records = max(
                1, min(self._max_points, self._max_points * records // max(1, points))
            )

    def _process(
        self, source: Source, polled: Sequence[RecordBatch], generation: int
    ) -> bool:
        """False where the store could not give what the records need: they are read
        again.
        """
        again: dict[Partition, int] = {}
        with self._lock:
            current = generation == self._generation
            supplied = current and self._supply(polled)
            if supplied:
                with self._metrics.poll_seconds.time():
                    self._pipeline.process(polled, self._clock.monotonic())
            else:
                again = {
                    c.partition: self._pipeline.checkpoints.applied.get(
                        c.partition, _first_offset(c)
                    )
                    for c in polled
                }
                again = {p: o for p, o in again.items() if self._pipeline.table.owns(p)}
        for partition, offset in again.items():
            source.seek(partition, offset)
        return supplied or not current

    def _supply(self, polled: Sequence[RecordBatch]) -> bool:
        """Bring back the pages of streams that had fallen silent; False where the store
        fails: the records are read again then.
        """
        for partition, number in self._pipeline.checkpoints.missing_pages(polled):
            try:
                rows = self._keeper.page(partition, number).result()
            except StoreError as error:
                self._say_unreadable(partition, error)
                return False
            if rows is None:
                self._log.error(
                    "page_gone",
                    partition=str(partition),
                    page=number,
                    more="its streams start anew and are counted",
                )
            self._pipeline.checkpoints.add_page(partition, number, rows)
        if not self._restoring:
            self.vitals.restore_fault = ""
        return True

    # -- partitions that come ----------------------------------------------------------

    def _begin(self, source: Source) -> None:
        """Start the partitions whose pages have been read. Raises Transient."""
        for partition, restoring in list(self._restoring.items()):
            if restoring.again is not None:
                self._load_again(partition, restoring)
            elif restoring.pages.done():
                try:
                    restored = restoring.pages.result()
                except StoreError as error:
                    self._unreadable(partition, restoring, error)
                else:
                    self._start(source, partition, restoring, restored)

    def _start(
        self,
        source: Source,
        partition: Partition,
        restoring: _Restoring,
        restored: Restored,
    ) -> None:
        """Raises Transient, before anything has changed."""
        if restored.offset is None:
            offset = source.first_offset(partition)
        else:
            restored = self._clamp_to_log(
                partition, restored, restored.offset, *source.bounds(partition)
            )
            offset = restored.offset or 0
        with self._lock:
            if self._restoring.get(partition) is not restoring:
                return  # revoked a moment ago
            del self._restoring[partition]
            self._generation += 1
            self._pipeline.assign(partition, restored, self._clock.monotonic())
            self.vitals.restore_fault = ""
            self._tell_ready()
        streams = sum(len(rows.names) for rows in restored.pages)
        self._log.info(
            "started",
            partition=str(partition),
            offset=offset,
            streams=streams,
            undelivered=len(restored.alerts),
        )
        source.start(partition, offset)

    def _clamp_to_log(
        self,
        partition: Partition,
        restored: Restored,
        applied: int,
        first: int,
        end: int,
    ) -> Restored:
        """Restored for what the log still holds: a topic that was made anew or a
        retention that was too short is said and counted.
        """
        fitted = clamp(restored, first, end)
        begins = fitted.offset or 0
        if begins < applied:
            more = "states are kept, it is read from the start"
            self._log.error(
                "topic_made_anew",
                partition=str(partition),
                applied=applied,
                log_ends=end,
                more=more,
            )
        elif begins > applied:
            self._metrics.lost_records.inc(begins - applied)
            remedy = "raise the topic's retention above the longest outage; streams go on from the states they have"
            self._log.error(
                "records_lost",
                partition=str(partition),
                applied=applied,
                log_begins=first,
                records=begins - applied,
                remedy=remedy,
            )
        return fitted

    def _unreadable(
        self, partition: Partition, restoring: _Restoring, error: StoreError
    ) -> None:
        """It gives no records until its pages can be read: to go on without them would
        forget what they hold.
        """
        self._say_unreadable(partition, error)
        restoring.again = self._clock.monotonic() + _RETRY

    def _say_unreadable(self, partition: Partition, error: StoreError) -> None:
        if not self.vitals.restore_fault:
            self._log.error(
                "restore_failed",
                partition=str(partition),
                cause=str(error),
                remedy="mend the store; it is tried again",
            )
        self.vitals.restore_fault = str(error)

    def _load_again(self, partition: Partition, restoring: _Restoring) -> None:
        if restoring.again is not None and self._clock.monotonic() >= restoring.again:
            restoring.pages = self._load(partition)
            restoring.again = None

    # -- checkpoints -------------------------------------------------------------------

    def _checkpoint_when_due(self, source: Source) -> None:
        with self._lock:
            if self._writing is not None and self._writing.written.done():
                self._settle(self._writing.written.result())
            if (
                self._writing is None
                and self._clock.monotonic() - self._tried >= self._interval
            ):
                self._commit_again(source.refused())
                self._write(self._pipeline.table.partitions())
        self._commit(source)

    def checkpoint(self, source: Source, deadline: float) -> None:
        """A last one: all that is owned, durable and committed, within ``deadline``
        seconds.
        """
        self.vitals.stopping = True
        ends = self._clock.monotonic() + deadline
        with self._lock:
            self._await_written(ends)
            self._write(self._pipeline.table.partitions())
            self._await_written(ends)
            self._commit_again(source.refused())
        self._commit(source, max(0.5, ends - self._clock.monotonic()))

    def _write(self, partitions: Sequence[Partition]) -> None:
        """Hand over what changed. The pages of a checkpoint that hangs are not taken
        over by another one.
        """
        if self._writing is not None:
            return
        self._tried = self._clock.monotonic()
        with self._metrics.checkpoint_seconds.time():
            before = self._tried - self._evict_after
            captures = [
                c
                for p in partitions
                if (c := self._pipeline.checkpoints.capture(p, before)) is not None
                and self._has_changes(c)
            ]
        self._writing = _Writing(self._keeper.write(captures), self._tried)

    def _has_changes(self, capture: CheckpointData) -> bool:
        return (
            bool(capture.rows or capture.idle)
            or self._durable.get(capture.head.partition) != capture.head.offset
        )

    def _await_written(self, ends: float) -> None:
        if self._writing is not None:
            try:
                self._settle(
                    self._writing.written.result(
                        max(0.0, ends - self._clock.monotonic())
                    )
                )
            except NotInTime:
                self._log.error(
                    "checkpoint_hangs",
                    remedy="what it would have written is read again from Kafka",
                )

    def _settle(self, written: CheckpointResult) -> None:
        assert self._writing is not None
        began = self._writing.began
        self._writing = None
        for capture in written.written:
            self._pipeline.checkpoints.captured(capture)
        for capture in written.failed:
            self._pipeline.checkpoints.uncaptured(capture)
        self._metrics.checkpoints.labels("written").inc(len(written.durable))
        self._metrics.checkpoints.labels("failed").inc(len(written.failed))
        self._durable.update(
            (p, o) for p, o in written.durable.items() if self._pipeline.table.owns(p)
        )
        if written.fault and not self.vitals.store_fault:
            self._log.error(
                "checkpoint_failed",
                cause=written.fault,
                remedy="free or mount the store; scoring goes on, nothing is committed",
            )
        elif self.vitals.store_fault and not written.fault:
            self._log.info("checkpoint_works_again")
        self.vitals.store_fault = written.fault
        if not written.fault:
            self._checkpointed = began

    def _commit_again(self, refused: Mapping[Partition, int]) -> None:
        """Offsets of before a rebalance, or of a broker that was away: no later one may
        come to a partition that falls silent.
        """
        for partition, offset in refused.items():
            if self._committed.get(partition) == offset:
                del self._committed[partition]

    def _commit(self, source: Source, wait: float = 0.0) -> None:
        self._report(source)
        with self._lock:
            offsets = {
                p: o for p, o in self._durable.items() if self._committed.get(p) != o
            }
            self._committed.update(offsets)
        if offsets:
            try:
                source.commit(offsets, wait)
            except Transient as error:
                self._log.warning(
                    "commit_failed",
                    cause=str(error),
                    more="it is a hint only: the snapshot says where reading starts",
                )

    def _report(self, source: Source) -> None:
        lags = [
            source.lag(p, o)
            for p, o in dict(self._pipeline.checkpoints.applied).items()
        ]
        self._metrics.lag.set(sum(lag for lag in lags if lag is not None))

    def checkpoint_age(self) -> float:
        """Seconds since all that is owned was last durable."""
        return self._clock.monotonic() - self._checkpointed


def _first_offset(columns: RecordBatch) -> int:
    """Of the first record of a poll, whether it can be scored or not."""
    firsts = [*columns.offsets[:1].tolist(), *(r.offset for r in columns.rejected[:1])]
    return min(firsts, default=columns.next_offset)
