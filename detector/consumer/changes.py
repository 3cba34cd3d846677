"""What a reload hands to the loop: it waits for the moment between two polls.

Theory of operation. A change is made and checked beside the loop, by whoever wants it.
What is left is a value, and a job that puts it in force. The loop runs the job on its
own thread, between two polls. So no record is read under one configuration and scored
under another, and nothing in the pipeline needs a lock for it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


class Changes:
    """Jobs for the loop. Any thread submits, the loop runs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, job: Callable[[], _T]) -> Future[_T]:
        """Run ``job`` between two polls. The future raises what the job raises.

        A future that is cancelled before that moment withdraws the job.
        """
        future: Future[_T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def run(self) -> None:
        """Run what was submitted so far. The loop calls it between two polls."""
        for _ in range(self._jobs.qsize()):
            self._jobs.get()()
