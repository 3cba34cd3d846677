"""How the daemon ends: parts by name, the last one first, under one deadline."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Final

import structlog

from detector.clock import Clock
from detector.errors import DetectorError

_LEAST: Final = 0.1  # seconds for each part, also after the deadline


class Deadline:
    """Seconds for all parts of a stop together; they run from the first question."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends: float | None = None

    def remaining(self, share: float = 1.0) -> float:
        """Seconds for one part: its share of the whole, and at most what is left."""
        now = self._clock.monotonic()
        if self._ends is None:
            self._ends = now + self._seconds
        return max(_LEAST, min(share * self._seconds, self._ends - now))


class Cleanups:
    """What is to be closed; the context's end closes it, the last one first.

    A full disk or an absent broker is logged and holds nothing up: what has no
    checkpoint is read again at the next start. Any other error is a fault of ours. It
    ends the command with its trace once the other parts are closed.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._log = structlog.get_logger("daemon")

    def __enter__(self) -> Cleanups:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, name: str, cleanup: Callable[[], None]) -> None:
        self._stack.callback(self.run, name, cleanup)

    def run(self, name: str, cleanup: Callable[[], None]) -> None:
        """Run one now."""
        try:
            cleanup()
        except (DetectorError, OSError) as error:
            cause = f"{type(error).__name__}: {error}"
            self._log.error("cleanup_failed", part=name, cause=cause)
