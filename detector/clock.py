"""The only module that reads clocks. Event time is data; this is for durations and for
the wall-clock part of a notification.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as an argument: ``wall`` in epoch seconds, ``monotonic`` in seconds from an
    arbitrary start.
    """

    def wall(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
