"""The counter rows of all streams in memory: one for each row of the table and metric.

They are small beside the state of a stream, but for a network of many metrics. There
they are kept from the first counter on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.events import F64, I64, MetricKind
from detector.state.counter_defaults import CounterDefaults
from detector.state.counters import COUNTER, CounterRows, opaque_counters


class CounterColumn:
    """A column of the table's memory.

    Attributes:
        rows: COUNTER [rows, F], of each row's metrics; [rows, 0] until there is a
            counter among them.
        is_tracked: bool [rows], a metric of the row is not known to be a gauge.
    """

    def __init__(self, defaults: CounterDefaults) -> None:
        self._defaults = defaults
        width = defaults.features if defaults.is_needed else 0
        self.rows: CounterRows = np.empty((0, width), COUNTER)
        self.is_tracked: npt.NDArray[np.bool_] = np.empty(0, np.bool_)

    @property
    def is_kept(self) -> bool:
        return bool(self.rows.shape[1])

    def grow(self, rows: int) -> None:
        """Add free rows."""
        added = np.zeros((rows, self.rows.shape[1]), COUNTER)
        self.rows = np.concatenate([self.rows, added])
        self.is_tracked = np.concatenate([self.is_tracked, np.zeros(rows, np.bool_)])

    def widen(self, names: Sequence[str]) -> None:
        """Keep rows from here on; ``names`` are those of all rows' streams."""
        if not self.is_kept:
            self.rows = self._defaults.rows(names)
            self.is_tracked = _are_tracked(self.rows)

    def put(self, slot: int, name: str) -> None:
        """The row of a new stream."""
        if self.is_kept:
            row = self._defaults.row_of(name)
            opaque_counters(self.rows)[slot] = opaque_counters(row)
            self.is_tracked[slot] = True

    def put_stored(self, slot: int, row: CounterRows, names: Sequence[str]) -> None:
        """A stored row, COUNTER [F]."""
        self.widen(names)
        self.store(np.array([slot]), row[None])

    def fill(self, into: slice, stored: CounterRows, names: Sequence[str]) -> None:
        """A stored page, COUNTER [n, F], or [n, 0] of one that kept none."""
        if stored.size:
            self.widen(names)
            self.rows[into] = stored
        elif self.is_kept:
            self.rows[into] = self._defaults.rows(names[into])
        self.is_tracked[into] = _are_tracked(self.rows[into])

    def move(self, source: int, target: int) -> None:
        """Copy a row over another one."""
        rows = opaque_counters(self.rows)
        rows[target] = rows[source]
        self.is_tracked[target] = self.is_tracked[source]

    def at(self, slots: I64) -> CounterRows:
        """Copies of these rows, COUNTER [n, F]."""
        return opaque_counters(self.rows)[slots].view(COUNTER)

    def store(self, slots: I64, rows: CounterRows) -> None:
        """``rows[slots] = rows``, COUNTER [n, F]."""
        opaque_counters(self.rows)[slots] = opaque_counters(rows)
        self.is_tracked[slots] = _are_tracked(rows)

    def turn_back(self, slot: int, time: float) -> None:
        """The clock of a row's stream was ahead: its runs began by event ``time``.

        The time of the last value stays, so that the next one gives no rate.
        """
        began = self.rows["run_time"]
        began[slot] = np.minimum(began[slot], time)

    def pass_idle(self, slots: I64, values: F64, times: F64) -> npt.NDArray[np.bool_]:
        """bool [n]: single metrics that have not changed since their first value.

        Most of them are constants. Their time is all that
        :func:`~detector.state.counter_steps.step_counters` would change, and it is
        noted here at a tenth of the cost. ``values`` and ``times`` are [n].
        """
        rows = self.rows[:, 0]
        is_same = rows["value"][slots] == values
        is_open = rows["kind"][slots] == MetricKind.UNKNOWN
        is_idle = is_same & is_open & (rows["rises"][slots] == 0)
        idle = slots[is_idle]
        rows["time"][idle] = times[is_idle]
        rows["run_time"][idle] = times[is_idle]
        return np.asarray(is_idle)


def _are_tracked(rows: CounterRows) -> npt.NDArray[np.bool_]:
    """bool [n], of COUNTER [n, F]."""
    is_other = rows["kind"] != MetricKind.GAUGE
    return np.asarray(is_other.any(axis=1))
