"""The only module that reads clocks.

Event time comes from records. The clocks are for durations and for the wall-clock part
of a notification.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as an argument, so that tests can move it."""

    def wall(self) -> float:
        """Epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never falls."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
