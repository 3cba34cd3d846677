"""Partitions that come and go, and the pages they bring.

Theory of operation. An assigned partition gives no records at first. The store's thread
reads its pages, and then the log must hold the records that follow them. If
pages can't be read, the partition waits: starting without them loses state. Streams
that have to warm up do so before their partition goes on.

The source assigns and revokes partitions on a thread of its own, at any moment. It
takes the lock, so it never does so while records are processed. Every such change
raises :attr:`Partitions.generation`: records that were polled under another generation
are thrown away and read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import structlog

from detector.clock import Clock
from detector.consumer.checkpoints import Checkpoints
from detector.consumer.health import Health
from detector.consumer.starts import Start, StartFinder
from detector.consumer.warm_ups import WarmUps
from detector.errors import StoreError
from detector.events import F32, Partition, RecordBatch
from detector.pipeline.parts import Setup
from detector.pipeline.pipeline import Pipeline
from detector.ports import Committed, Source
from detector.recovery.snapshot import Restored, Stamp
from detector.recovery.state_reader import ReadingBundle, StateReader
from detector.state.page_rows import PageRows

#: Seconds after a failed read of the store until the next one.
RETRY: Final = 1.0
#: Seconds that a store may hold up a rebalance. It is below the session timeout, after
#: which other members take the partitions over.
REVOKE_TIMEOUT: Final = 15.0
_NO_STATES: Final[F32] = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Moved:
    """A page of idle streams that was written for another bundle.

    Attributes:
        rows: without states, which are only in the store.
        stamp: of the page in the store.
    """

    rows: PageRows
    stamp: Stamp


@dataclass(slots=True)
class _Restoring:
    """An assigned partition whose pages are being read.

    Attributes:
        retry_at: monotonic time to read them again after a fault, or None.
    """

    pages: Future[Restored]
    retry_at: float | None = None


def reading_bundle(setup: Setup) -> ReadingBundle:
    """What the reader of the store has to know of a bundle."""
    bundle = setup.bundle
    return ReadingBundle(bundle.digest, bundle.manifest.state_size, setup.takeover)


class Partitions:
    """What is assigned to this member. Implements Assignments.

    The lock of ``checkpoints`` guards the pipeline; the methods of Assignments,
    :meth:`start_restored` and :meth:`start_warm` take it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        states: StateReader,
        starts: StartFinder,
        warm_ups: WarmUps,
        checkpoints: Checkpoints,
        clock: Clock,
        health: Health,
    ) -> None:
        self._pipeline = pipeline
        self._states = states
        self._checkpoints = checkpoints
        self._lock = checkpoints.lock
        self._starts = starts
        self.warm_ups = warm_ups
        self._clock = clock
        self.health = health
        self._restoring: dict[Partition, _Restoring] = {}
        self.generation = 0
        self._log = structlog.get_logger("partitions")

    # -- Assignments -------------------------------------------------------------------

    def assigned(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self.generation += 1
            for partition in partitions:
                self._restoring[partition] = _Restoring(self._states.load(partition))
                self._pipeline.expect(partition)
            self._report_ready()

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, Committed]:
        with self._lock:
            self.generation += 1
            try:
                return self._checkpoints.hand_over(partitions, REVOKE_TIMEOUT)
            finally:  # they are another member's, whatever went wrong
                self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self.generation += 1
            self._forget(partitions)

    def abandon(self) -> None:
        """Let go of all of them and write nothing."""
        with self._lock:
            self._forget(self._pipeline.table.partitions())

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._restoring.pop(partition, None)
            self._pipeline.revoke(partition)
        self.warm_ups.forget(partitions)
        self._checkpoints.forget(partitions)
        self._report_ready()

    def _report_ready(self) -> None:
        owned = bool(self._pipeline.table.partitions())
        waiting = len(self._restoring) + len(self.warm_ups)
        self.health.ready = owned and not waiting
        self.health.restoring = waiting

    # -- restoring ---------------------------------------------------------------------

    def start_restored(self, source: Source) -> None:
        """Let the partitions whose pages are read give records. Raises Transient."""
        with self._lock:
            every = list(self._restoring.items())
        for partition, restoring in every:
            if restoring.retry_at is not None:
                self._retry(partition, restoring, restoring.retry_at)
            elif restoring.pages.done():
                self._finish(source, partition, restoring)

    def _retry(
        self, partition: Partition, restoring: _Restoring, retry_at: float
    ) -> None:
        if self._clock.monotonic() >= retry_at:
            restoring.pages = self._states.load(partition)
            restoring.retry_at = None

    def _finish(
        self, source: Source, partition: Partition, restoring: _Restoring
    ) -> None:
        """Raises Transient, before anything has changed."""
        try:
            restored = restoring.pages.result()
        except StoreError as error:
            self._report_unreadable(partition, error)
            restoring.retry_at = self._clock.monotonic() + RETRY
            return
        start = self._starts.find(source, partition, restored)
        with self._lock:
            if self._restoring.get(partition) is not restoring:
                return  # revoked a moment ago
            del self._restoring[partition]
            if start.warm_from < start.offset:
                self.warm_ups.begin(partition, start)
            else:
                self._begin(partition, start)
            self.health.restore_fault = ""
            self._report_ready()
        source.start(partition, start.warm_from)

    def start_warm(self, source: Source) -> None:
        """Let the partitions whose streams are warm go on at their offsets."""
        with self._lock:
            finished = self.warm_ups.take_finished()
            for partition, start in finished:
                self.generation += 1  # what was polled beyond the offset is read again
                self._begin(partition, start)
            self._report_ready()
        for partition, start in finished:
            source.seek(partition, start.offset)

    def _begin(self, partition: Partition, start: Start) -> None:
        restored = self._starts.take_up(partition, start, self._width())
        self._pipeline.backlog.now = self._clock.wall()
        self._pipeline.assign(
            partition,
            restored,
            self._clock.monotonic(),
            range(start.offset, start.log_end),
        )
        self._checkpoints.follow(partition, start.restored.written)
        self._log_started(partition, start)

    def _width(self) -> int:
        return self._pipeline.parts.setup.bundle.manifest.state_size

    def _log_started(self, partition: Partition, start: Start) -> None:
        self._log.info(
            "started",
            partition=str(partition),
            offset=start.offset,
            behind=start.log_end - start.offset,
            streams=sum(len(rows.names) for rows in start.restored.pages),
            undelivered=len(start.restored.alerts),
        )

    # -- another bundle ----------------------------------------------------------------

    def retune(self, setup: Setup) -> None:
        """The same bundle runs under other settings. The caller holds the lock."""
        self._states = self._states.another(reading_bundle(setup))
        self.warm_ups.retune(setup)

    def read_for(self, setup: Setup) -> None:
        """Restore partitions for this bundle from now on, also those that wait for
        their pages or warm up. The caller holds the lock.
        """
        self._states = self._states.another(reading_bundle(setup))
        warming = self.warm_ups.partitions()
        self.warm_ups.forget(warming)
        for partition in (*self._restoring, *warming):
            self._restoring[partition] = _Restoring(self._states.load(partition))

    def move_idle(self, setup: Setup, partition: Partition, ends: float) -> list[Moved]:
        """Write the pages of streams that are only in the store for another bundle too,
        one at a time. The caller holds the lock.

        Raises StoreError, also if it is not done by monotonic ``ends``.

        What this bundle wrote stays as it is.
        """
        reader = self._states.another(reading_bundle(setup))
        moved = []
        held = self._pipeline.table.silent.held(partition)
        for number, names in sorted(held.items()):
            rows = self._page(partition, number, self._left(ends))
            if rows is None:
                self._pipeline.pages.add_page(partition, number, None)
                continue
            is_held = np.array([name in names for name in rows.names], np.bool_)
            taken = setup.takeover.rows(rows.take(np.flatnonzero(is_held)))
            stamp = reader.move(partition, taken, self._left(ends))
            moved.append(Moved(replace(taken, states=_NO_STATES), stamp))
        return moved

    def _left(self, ends: float) -> float:
        """Seconds until monotonic ``ends``."""
        return max(0.0, ends - self._clock.monotonic())

    # -- pages of idle streams ---------------------------------------------------------

    def add_missing_pages(self, polled: Sequence[RecordBatch]) -> bool:
        """Bring back the pages of idle streams that these records belong to.

        False if the store fails: the records are to be read again. The caller holds the
        lock.
        """
        for partition, number in self._pipeline.pages.missing_pages(polled):
            try:
                rows = self._page(partition, number)
            except StoreError as error:
                self._report_unreadable(partition, error)
                return False
            self._pipeline.pages.add_page(partition, number, rows)
        if not self._restoring:
            self.health.restore_fault = ""
        return True

    def _page(
        self, partition: Partition, number: int, timeout: float | None = None
    ) -> PageRows | None:
        """A page of idle streams; None if it is gone. Raises StoreError, also after
        ``timeout`` seconds.
        """
        rows = self._states.page(partition, number, timeout)
        if rows is None:
            self._log.error(
                "page_gone",
                partition=str(partition),
                page=number,
                note="its streams start anew and are counted",
            )
        return rows

    def _report_unreadable(self, partition: Partition, error: StoreError) -> None:
        if not self.health.restore_fault:
            self._log.error(
                "restore_failed",
                partition=str(partition),
                cause=str(error),
                remedy="fix the store; the daemon keeps trying",
            )
        self.health.restore_fault = str(error)
