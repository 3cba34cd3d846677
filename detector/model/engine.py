"""engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detector.events import F32, F64
from detector.timestamps import DAY


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What the graph said of one wave of B streams.

    Attributes:
        score: float32 [B], smoothed reconstruction error, >= 0.
        expected: float32 [B, F], the reconstruction in the metric's own unit.
        contribution: float32 [B, F], share of each feature in this step's error, 0
            where missing.
        next_state: float32 [B, S].
    """

    score: F32
    expected: F32
    contribution: F32
    next_state: F32


def clock_input(seconds_since: F64, wall: F64) -> F32:
    """The graph's ``clock`` [B, 3]: seconds since the previous point, second of the
    day, day of the week (0 Monday).

    ``wall`` are the event times as the streams' own clocks show them
    (:meth:`detector.model.local_time.Zones.wall`), in UTC the event times themselves.
    """
    clock = np.empty((len(wall), 3), np.float32)
    clock[:, 0] = seconds_since
    days = np.floor(wall / DAY)  # numpy's remainder takes several times as long
    clock[:, 1] = wall - DAY * days
    # 1970-01-01 was a Thursday
    clock[:, 2] = days + 3.0 - 7.0 * np.floor((days + 3.0) / 7.0)
    return clock


class Engine(Protocol):
    """One step of the graph for a batch of streams."""

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput: ...
