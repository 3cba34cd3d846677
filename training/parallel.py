"""One piece of work for each core: a share to a process, results in the order of the
shares, and progress while they run.

Processes are spawned, not forked: a fork of a process with threads (onnxruntime, torch)
may hang. A share and its result go through a pipe, so both are plain data. A worker
that fails says why and ends the whole; one that vanishes (killed for memory, say) is an
error as well.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, TypeVar

from detector.errors import DetectorError
from training.errors import TrainingError

ReportProgress = Callable[[int], None]
_Share = TypeVar("_Share")
_Result = TypeVar("_Result")


def cores() -> int:
    """How many this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


def on_cores(
    work: Callable[[_Share, ReportProgress], _Result],
    shares: Sequence[_Share],
    tell: ReportProgress,
) -> list[_Result]:
    """``work(share, tell)`` for every share, each in a process of its own; a single
    share stays in this one.

    ``work`` is a function of a module; ``tell`` is told how much was done since it was
    last told. Raises what ``work`` raises if that is a DetectorError, else
    TrainingError.
    """
    if len(shares) == 1:
        return [work(shares[0], tell)]
    context = multiprocessing.get_context("spawn")
    processes = []
    pipes = []
    try:
        for share in shares:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_worker, args=(work, share, theirs), daemon=True
            )
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        return _gathered(pipes, tell)
    finally:
        for process in processes:
            process.terminate()
            process.join()
        for pipe in pipes:
            pipe.close()


def _gathered(pipes: list[Connection[Any, Any]], tell: ReportProgress) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(pipes):
        for pipe in wait([p for i, p in enumerate(pipes) if i not in results]):
            number = pipes.index(pipe)  # type: ignore[arg-type]
            try:
                kind, content = pipes[number].recv()
            except EOFError:
                raise TrainingError(
                    "a worker process vanished (out of memory?): give it less data at once"
                ) from None
            if kind == "done":
                tell(content)
            elif kind == "failed":
                raise content
            else:
                results[number] = content
    return [results[i] for i in range(len(pipes))]


def _worker(
    work: Callable[[Any, ReportProgress], Any], share: Any, pipe: Connection[Any, Any]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    with ExitStack() as leaving:
        leaving.callback(pipe.close)
        leaving.push(partial(_named, pipe))
        try:
            pipe.send(("result", work(share, lambda count: pipe.send(("done", count)))))
        except DetectorError as error:
            pipe.send(("failed", error))


def _named(
    pipe: Connection[Any, Any],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    """Tell the parent, which sees the pipe alone, what this process ends of; it ends of
    it, and shows its trace, all the same.
    """
    if error is not None:
        pipe.send(
            (
                "failed",
                TrainingError(f"a worker failed: {type(error).__name__}: {error}"),
            )
        )
