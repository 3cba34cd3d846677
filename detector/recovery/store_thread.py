"""The store's own thread: pages are read and written beside the loop, one job after
another.

Theory of operation. A store may be a slow disk or a broker far away; neither may keep
points from being scored. The loop hands over copies and looks at the answer when it
comes by. One thread and one queue give the order that recovery rests on: what was
handed over for writing is durable before anything that was asked for later is read. The
thread is a daemon thread, so a disk that hangs for ever can't keep the process from
ending; what it had not written is read again from Kafka.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from detector.errors import StoreError
from detector.events import Alert, Partition
from detector.recovery.codec import DamagedPage, decode, encode
from detector.recovery.restore import restore
from detector.recovery.snapshot import (
    SCHEMA,
    CheckpointData,
    Restored,
    Segment,
    to_rows,
)
from detector.recovery.store import Store
from detector.state.page_rows import PageRows

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """What became of a checkpoint.

    Attributes:
        durable: the offset up to which each partition that was written may be
            committed.
        written: the captures that were.
        failed: the captures that were not written, or not in whole.
        fault: why, or "".
    """

    durable: dict[Partition, int] = field(default_factory=dict)
    written: tuple[CheckpointData, ...] = ()
    failed: tuple[CheckpointData, ...] = ()
    fault: str = ""


class StoreWorker:
    """Runs a Store on a thread of its own. Implements Shelf."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = structlog.get_logger("store")
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def load(self, partition: Partition, bundle: str, width: int) -> Future[Restored]:
        """The partition as it is stored. The future raises StoreError."""
        return self._submit(lambda: self._load(partition, bundle, width))

    def page(self, partition: Partition, number: int) -> Future[PageRows | None]:
        """One page, None where none is whole. The future raises StoreError."""

        def read() -> PageRows | None:
            page = self._store.page(partition, number)
            return None if page is None else to_rows(page)

        return self._submit(read)

    def write(self, captures: Sequence[CheckpointData]) -> Future[CheckpointResult]:
        """Make each of them durable; the failure of one keeps none of the others back.
        The future never raises.
        """
        return self._submit(lambda: self._write(captures))

    def put(
        self, partition: Partition, name: str, alerts: Sequence[Alert]
    ) -> Future[None]:
        """Make a segment of notifications durable. The future raises StoreError."""
        return self._submit(
            lambda: self._store.put(
                partition, name, encode(Segment(SCHEMA, tuple(alerts)))
            )
        )

    def get(self, partition: Partition, name: str) -> Future[tuple[Alert, ...]]:
        """A segment's notifications; one that is gone or damaged has none, and the log
        says so. The future raises StoreError.
        """
        return self._submit(lambda: self._get(partition, name))

    def drop(self, partition: Partition, name: str) -> Future[None]:
        """The future raises StoreError: the segment is delivered again after a restart
        then.
        """
        return self._submit(lambda: self._store.drop(partition, name))

    def close(self, timeout: float) -> None:
        """End the thread once its jobs are done, and close the store; after ``timeout``
        seconds it is left behind. Idempotent.
        """
        self._jobs.put(None)
        self._thread.join(timeout)

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()

        def job() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def _load(self, partition: Partition, bundle: str, width: int) -> Restored:
        restored = restore(bundle, *self._store.load(partition), width)
        return replace(restored, segments=tuple(self._store.names(partition)))

    def _get(self, partition: Partition, name: str) -> tuple[Alert, ...]:
        data = self._store.get(partition, name)
        try:
            if data is None:
                raise DamagedPage("it is not there")
            return decode(data, Segment).alerts
        except DamagedPage as error:
            self._log.error(
                "notifications_lost",
                partition=str(partition),
                segment=name,
                cause=str(error),
            )
            return ()

    def _write(self, captures: Sequence[CheckpointData]) -> CheckpointResult:
        written: list[CheckpointData] = []
        failed: list[CheckpointData] = []
        fault = ""
        for capture in captures:
            try:
                self._store.write(capture.head, capture.pages())
            except StoreError as error:
                failed.append(capture)
                fault = str(error)
            else:
                written.append(capture)
        return CheckpointResult(
            {c.head.partition: c.head.offset for c in written},
            tuple(written),
            tuple(failed),
            fault,
        )

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._store.close()
