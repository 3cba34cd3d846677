"""Progress of the commands: a bar on a terminal, little or nothing elsewhere."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_LINES = 10  # of a fit's progress in a log


class RowProgress:
    """Progress over rows: a bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (
                TextColumn("rows"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = self._stack.enter_context(Progress(*columns, console=console))
            self._task = self._bar.add_task("rows", total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)


class FitProgress:
    """Progress of a fit: a bar on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        console = Console()
        if console.is_terminal:
            columns = (
                TextColumn("fit"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
            )
            self._bar = self._stack.enter_context(Progress(*columns, console=console))
            self._task = self._bar.add_task("fit", total=None, loss="")
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def __call__(
        self,
        step: int,
        steps: int,
        loss: float,
        validation: float,
    ) -> None:
        text = f"loss {loss:.4f}"
        if not math.isnan(validation):  # as it is before the first validation
            text += f", validation {validation:.4f}"
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=step,
                total=steps,
                loss=text,
            )
        elif step % max(1, steps // _LINES) == 0:
            print(f"step {step:,} of {steps:,}: {text}", flush=True)
