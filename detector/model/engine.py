"""One step of the model, as the pipeline asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detector.events import F32, F64
from detector.timestamps import DAY

_WEEKDAYS = 7.0
_DAY_0 = 3.0  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What the graph gives for one wave of B streams with F features.

    Attributes:
        score: float32 [B], smoothed reconstruction error, >= 0.
        expected: float32 [B, F], the reconstruction, in each metric's own unit.
        contribution: float32 [B, F], share of each feature in this point's error; 0 if
            it is missing.
        next_state: float32 [B, S].
    """

    score: F32
    expected: F32
    contribution: F32
    next_state: F32


def clock_input(seconds_since: F64, local: F64) -> F32:
    """The graph's ``clock``, float32 [B, 3].

    The columns are seconds since the previous point, second of the day, and day of the
    week (0 Monday). ``local`` [B] are event times in the streams' own zones
    (:meth:`detector.model.local_time.Zones.local_times`).
    """
    clock = np.empty((len(local), 3), np.float32)
    # floor and not the remainder, which takes numpy several times as long
    days = np.floor(local / DAY)
    weekdays = days + _DAY_0
    weeks = np.floor(weekdays / _WEEKDAYS)
    clock[:, 0] = seconds_since
    clock[:, 1] = local - DAY * days
    clock[:, 2] = weekdays - _WEEKDAYS * weeks
    return clock


class Engine(Protocol):
    """Runs one step of the graph for a batch of streams."""

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        """``x`` [B, F], ``clock`` [B, 3], ``state`` [B, S], contiguous.

        NaN in ``x`` is a missing value.
        """
        ...
