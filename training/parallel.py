"""One piece of work for each core: a share to a process, results in the order of the
shares, and progress while they run.

Processes are spawned, not forked: a fork of a process with threads (onnxruntime, torch)
may hang. A share and its result are pickled on their way, so both are plain data. A
share that fails ends all of them, and so does a process that dies (killed for memory,
for example). Progress goes through a manager's process: a queue between two processes
has a lock, which one that is killed might never release.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from queue import Queue
from threading import Event
from typing import TypeVar

from detector.errors import DetectorError
from training.errors import TrainingError

#: Receives how much was done since its last call.
ReportProgress = Callable[[int], None]
_Share = TypeVar("_Share")
_Result = TypeVar("_Result")

# Seconds between two looks at the progress.
_INTERVAL = 0.1


class _StoppedError(Exception):
    """Ends a share that nobody waits for any more."""


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_cores(
    work: Callable[[_Share, ReportProgress], _Result],
    shares: Sequence[_Share],
    report_progress: ReportProgress,
) -> list[_Result]:
    """``work(share, report_progress)`` for every share, each in a process of its own.

    A single share stays in this process. ``work`` is a function of a module. Raises
    what ``work`` raises if that is a DetectorError, else TrainingError, also for a
    process that dies.
    """
    if len(shares) == 1:
        return [work(shares[0], report_progress)]
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(len(shares), context, _ignore_interrupts) as pool,
    ):
        progress: Queue[int] = manager.Queue()
        stop = manager.Event()
        futures = [
            pool.submit(
                _run_share,
                work,
                share,
                progress,
                stop,
            )
            for share in shares
        ]
        try:
            _await_all(futures, progress, report_progress)
        finally:
            stop.set()
        return [future.result() for future in futures]


def _ignore_interrupts() -> None:
    """The parent, which is interrupted too, stops the shares itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_share(
    work: Callable[[_Share, ReportProgress], _Result],
    share: _Share,
    progress: Queue[int],
    stop: Event,
) -> _Result:
    """In a process of its own."""

    def report_progress(count: int) -> None:
        if stop.is_set():
            raise _StoppedError
        progress.put(count)

    return work(share, report_progress)


def _await_all(
    futures: Sequence[Future[_Result]],
    progress: Queue[int],
    report_progress: ReportProgress,
) -> None:
    """Until all are done, or one has failed. Raises as :func:`on_cores` does."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, _INTERVAL, FIRST_EXCEPTION)
        while not progress.empty():
            report_progress(progress.get())
        for future in done:
            _refuse_failure(future)


def _refuse_failure(future: Future[_Result]) -> None:
    error = future.exception()
    if error is None:
        return
    if isinstance(error, DetectorError):
        raise error
    if isinstance(error, BrokenProcessPool):
        raise TrainingError(
            "a worker process died (out of memory?): give it less data at once"
        ) from None
    traceback.print_exception(error)
    raise TrainingError(f"a worker failed: {type(error).__name__}: {error}") from error
