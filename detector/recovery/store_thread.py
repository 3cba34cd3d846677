"""The store's own thread: it reads and writes beside the loop, one job after another.

Theory of operation. A store may be a slow disk or a broker far away. Neither may keep
points from being scored, so the loop hands jobs over and looks for their results later.
One thread and one queue give the order that recovery rests on: what is handed over for
writing is durable before any later job reads.

The thread is a daemon thread, so a disk that hangs for ever does not keep the process
from ending. What it has not written is read again from Kafka.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import structlog

from detector.events import Alert, Partition
from detector.recovery.codec import DamagedPage, decode, encode
from detector.recovery.snapshot import SCHEMA, Segment
from detector.recovery.store import Store

_T = TypeVar("_T")
_Job = Callable[[], None]


class StoreWorker:
    """Runs a Store on a thread of its own. Implements SpillStore."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = structlog.get_logger("store")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run,
            name="store",
            daemon=True,
        )
        self._thread.start()

    def submit(self, job: Callable[[Store], _T]) -> Future[_T]:
        """Run ``job`` after all that was submitted before.

        The future raises what the job raises.
        """
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(job(self._store))
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def put(
        self,
        partition: Partition,
        name: str,
        alerts: Sequence[Alert],
    ) -> Future[None]:
        """Make a segment of notifications durable. The future raises StoreError."""
        segment = Segment(SCHEMA, tuple(alerts))

        def job(store: Store) -> None:
            store.put(partition, name, encode(segment))

        return self.submit(job)

    def get(self, partition: Partition, name: str) -> Future[tuple[Alert, ...]]:
        """A segment's notifications. The future raises StoreError.

        A segment that is gone or damaged has none, and the log says so.
        """

        def job(store: Store) -> tuple[Alert, ...]:
            data = store.get(partition, name)
            return self._alerts(partition, name, data)

        return self.submit(job)

    def drop(self, partition: Partition, name: str) -> Future[None]:
        """Remove a segment.

        If the future raises StoreError, its notifications are delivered again after a
        restart.
        """

        def job(store: Store) -> None:
            store.drop(partition, name)

        return self.submit(job)

    def close(self, timeout: float) -> None:
        """End the thread once its jobs are done, and close the store. Idempotent.

        A thread that still works after ``timeout`` seconds is left behind.
        """
        self._jobs.put(None)
        self._thread.join(timeout)

    def _alerts(
        self,
        partition: Partition,
        name: str,
        data: bytes | None,
    ) -> tuple[Alert, ...]:
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

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._store.close()
