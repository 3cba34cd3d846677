"""Checkpoints: what the pipeline holds becomes durable, and offsets are committed.

The order is what recovery rests on:

1. copy the dirty pages: the loop stands still for nothing else;
2. write the copied pages durably, on the store's thread;
3. write the head durably, which vouches for the pages;
4. commit the head's offset to the group.

A crash between 2 and 3 leaves pages that are newer than their head: each skips what it
has seen. A crash between 3 and 4 leaves an old committed offset, which is a hint: the
head says where reading starts. Each later step happens only if the one before it
succeeded.

One checkpoint is under way at a time. A later turn of the loop finds that it is done
and commits. An offset that the group refuses is committed again with the next
checkpoint.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import structlog

from detector.clock import Clock
from detector.consumer.health import Health
from detector.errors import StoreError, Transient
from detector.events import Partition
from detector.metrics import Metrics
from detector.pipeline.pipeline import Pipeline
from detector.ports import Committed, Source
from detector.recovery.note import to_note
from detector.recovery.snapshot import CheckpointData
from detector.recovery.store import Store
from detector.recovery.store_thread import StoreWorker

_LEAST_WAIT = 0.5  # seconds for the last commit, whatever is left of the deadline


@dataclass(frozen=True, slots=True)
class CheckpointSchedule:
    """When to write, in seconds.

    Attributes:
        interval: between checkpoints.
        evict_after: a stream without a point for this long leaves memory.
    """

    interval: float
    evict_after: float = float("inf")


@dataclass(slots=True)
class CheckpointResult:
    """What became of the copies of one checkpoint.

    Attributes:
        fault: why the failed ones were not written, or "".
    """

    written: list[CheckpointData] = field(default_factory=list)
    failed: list[CheckpointData] = field(default_factory=list)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A checkpoint that the store's thread writes.

    Attributes:
        began: monotonic seconds.
        forgotten: partitions that were given up since. If one comes back, it is read
            from the store, and its copies are of rows that are not there any more.
    """

    result: Future[CheckpointResult]
    began: float
    forgotten: set[Partition] = field(default_factory=set)

    def still_ours(self, copies: Sequence[CheckpointData]) -> list[CheckpointData]:
        return [data for data in copies if data.head.partition not in self.forgotten]


def make_durable(store: Store, data: CheckpointData) -> None:
    """Steps 2 and 3 for one partition. Raises StoreError."""
    store.write_pages(data.head.partition, data.pages())  # step 2
    store.write_head(data.head)  # step 3


def make_all_durable(
    copies: Sequence[CheckpointData], store: Store
) -> CheckpointResult:
    """Steps 2 and 3; a partition that fails does not hold the others back."""
    result = CheckpointResult()
    for data in copies:
        try:
            make_durable(store, data)
        except StoreError as error:
            result.failed.append(data)
            result.fault = str(error)
        else:
            result.written.append(data)
    return result


class Checkpoints:
    """Steps 1 to 4 for the partitions that the pipeline owns.

    ``lock`` guards the pipeline. :meth:`turn` and :meth:`finish` take it; whoever calls
    another method holds it. It is never held during a call of the source that waits,
    because such a call may need the thread that assigns partitions.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        worker: StoreWorker,
        lock: threading.Lock,
        metrics: Metrics,
        clock: Clock,
        health: Health,
        schedule: CheckpointSchedule,
    ) -> None:
        self._pipeline = pipeline
        self._worker = worker
        self.lock = lock
        self._metrics = metrics
        self._clock = clock
        self._health = health
        self.schedule = schedule
        self._under_way: _UnderWay | None = None
        self._durable: dict[Partition, Committed] = {}
        self._written: dict[Partition, float] = {}
        self._committed: dict[Partition, Committed] = {}
        self._tried = clock.monotonic()
        self._succeeded = clock.monotonic()
        self._log = structlog.get_logger("checkpoint")

    # -- when --------------------------------------------------------------------------

    def turn(self, source: Source) -> None:
        """Settle a checkpoint that is done, begin one that is due, commit."""
        with self.lock:
            if self._under_way is not None and self._under_way.result.done():
                self._settle(self._under_way)
            if self._under_way is None and self._is_due():
                self._retry_refused(source.refused())
                self._begin(self._pipeline.table.partitions())
        self._commit(source)

    def finish(self, source: Source, timeout: float) -> None:
        """The last one: all that is owned, durable and committed.

        Returns after ``timeout`` seconds at the latest, plus the wait for the commit.
        """
        ends = self._clock.monotonic() + timeout
        with self.lock:
            self._await_settled(ends)
            self._begin(self._pipeline.table.partitions())
            self._await_settled(ends)
            self._retry_refused(source.refused())
        self._commit(source, max(_LEAST_WAIT, ends - self._clock.monotonic()))

    def hand_over(
        self, partitions: Sequence[Partition], timeout: float
    ) -> Mapping[Partition, Committed]:
        """Write partitions that are about to be another member's.

        Returns what became durable and is to be committed.
        """
        ends = self._clock.monotonic() + timeout
        self._await_settled(ends)
        self._begin(partitions)
        self._await_settled(ends)
        uncommitted = self._uncommitted()
        return {p: uncommitted[p] for p in partitions if p in uncommitted}

    def settle(self, ends: float) -> None:
        """Wait for the checkpoint under way until monotonic ``ends``.

        Raises StoreError if it takes longer.
        """
        self._await_settled(ends)
        if self._under_way is not None:
            raise StoreError("the store hangs: a checkpoint is still being written")

    def disown(self) -> None:
        """The copies under way are of rows that are not there any more."""
        if self._under_way is not None:
            self._under_way.forgotten.update(self._pipeline.table.partitions())

    def write_all(self, ends: float) -> None:
        """Steps 1 to 3 for all that is owned, now. Raises StoreError, also if it is not
        done by monotonic ``ends``.
        """
        self.settle(ends)
        self._begin(self._pipeline.table.partitions())
        self.settle(ends)
        if self._health.store_fault:
            raise StoreError(self._health.store_fault)

    def follow(self, partition: Partition, written: float) -> None:
        """Heads of the partition are written after one of this wall-clock time.

        Which edition was written last is told by these times, on any machine.
        """
        self._written[partition] = written

    def forget(self, partitions: Sequence[Partition]) -> None:
        """They are not ours any more: commit nothing for them."""
        for partition in partitions:
            self._durable.pop(partition, None)
            self._committed.pop(partition, None)
        if self._under_way is not None:
            self._under_way.forgotten.update(partitions)

    def age(self) -> float:
        """Seconds since all that was owned then became durable."""
        return self._clock.monotonic() - self._succeeded

    def _is_due(self) -> bool:
        return self._clock.monotonic() - self._tried >= self.schedule.interval

    # -- steps 1 to 3 ------------------------------------------------------------------

    def _begin(self, partitions: Sequence[Partition]) -> None:
        """Step 1, and hand the copies over for steps 2 and 3.

        Does nothing while a checkpoint is still being written.
        """
        if self._under_way is not None:
            return
        self._tried = self._clock.monotonic()
        with self._metrics.checkpoint_seconds.time():
            copies = self._copy(partitions)  # step 1
        result = self._worker.submit(partial(make_all_durable, copies))  # 2 and 3
        self._under_way = _UnderWay(result, self._tried)

    def _copy(self, partitions: Sequence[Partition]) -> list[CheckpointData]:
        """Of each partition that changed since its last checkpoint."""
        idle_before = self._tried - self.schedule.evict_after
        copies = []
        for partition in partitions:
            data = self._pipeline.pages.capture(partition, idle_before)
            if data is not None and self._has_changes(data):
                copies.append(self._dated(data))
        return copies

    def _dated(self, data: CheckpointData) -> CheckpointData:
        partition = data.head.partition
        latest = self._written.get(partition, 0.0)
        written = max(self._clock.wall(), math.nextafter(latest, math.inf))
        self._written[partition] = written
        head = msgspec.structs.replace(data.head, written=written)
        return replace(data, head=head)

    def _has_changes(self, data: CheckpointData) -> bool:
        durable = self._durable.get(data.head.partition)
        moved = durable is None or data.head.offset != durable.offset
        return bool(data.changed or data.idle or moved)

    def _await_settled(self, ends: float) -> None:
        """Until the checkpoint under way is settled, or monotonic ``ends``."""
        if self._under_way is None:
            return
        try:
            self._under_way.result.result(max(0.0, ends - self._clock.monotonic()))
        except NotInTime:
            self._log.error(
                "checkpoint_hangs",
                note="the records since the last one are read again from Kafka",
            )
        else:
            self._settle(self._under_way)

    def _settle(self, done: _UnderWay) -> None:
        self._under_way = None
        result = done.result.result()
        for data in done.still_ours(result.written):
            self._pipeline.pages.captured(data)
            note = to_note(data.told)
            self._durable[data.head.partition] = Committed(data.head.offset, note)
        for data in done.still_ours(result.failed):
            self._pipeline.pages.uncaptured(data)
        self._metrics.checkpoints.labels("written").inc(len(result.written))
        self._metrics.checkpoints.labels("failed").inc(len(result.failed))
        self._report(result.fault)
        if not result.fault:
            self._succeeded = done.began

    def _report(self, fault: str) -> None:
        """Log a fault of the store when it begins and when it is over."""
        if fault and not self._health.store_fault:
            remedy = "free or mount the store; scoring goes on, nothing is committed"
            self._log.error("checkpoint_failed", cause=fault, remedy=remedy)
        if self._health.store_fault and not fault:
            self._log.info("checkpoint_works_again")
        self._health.store_fault = fault

    # -- step 4 ------------------------------------------------------------------------

    def _uncommitted(self) -> dict[Partition, Committed]:
        return {
            partition: durable
            for partition, durable in self._durable.items()
            if durable != self._committed.get(partition)
        }

    def _commit(self, source: Source, wait: float = 0.0) -> None:
        """Step 4, for all that became durable since the last time."""
        with self.lock:
            offsets = self._uncommitted()
            self._committed.update(offsets)
        if not offsets:
            return
        try:
            source.commit(offsets, wait)
        except Transient as error:
            self._log.warning(
                "commit_failed",
                cause=str(error),
                note="only a hint: the head says where reading starts",
            )

    def _retry_refused(self, refused: Mapping[Partition, int]) -> None:
        """Commit these once more with the next checkpoint.

        The group refuses offsets during a rebalance. If the partition falls silent, no
        later offset comes.
        """
        for partition, offset in refused.items():
            committed = self._committed.get(partition)
            if committed is not None and committed.offset == offset:
                del self._committed[partition]
