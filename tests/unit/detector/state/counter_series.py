"""Stepping one metric through a series that a test writes down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from detector.events import F64, MetricKind
from detector.state.counter_steps import step_counters
from detector.state.counters import CounterRows, Readings, fresh_counters

START = 1_700_000_000.0


@dataclass(frozen=True)
class Stepped:
    """What came of n readings of one metric."""

    values: F64
    kinds: list[int]
    is_rate: list[bool]
    is_reset: list[bool]
    changes: list[int]
    row: CounterRows


def stepped(
    values: ArrayLike,
    tick: float = 60.0,
    kind: MetricKind = MetricKind.UNKNOWN,
    starts: ArrayLike | None = None,
    times: ArrayLike | None = None,
    row: CounterRows | None = None,
) -> Stepped:
    """``starts`` and ``times`` are in seconds since :data:`START`."""
    given: F64 = np.asarray(values, np.float64)
    count = len(given)
    evenly = np.arange(count) * tick
    when: F64 = np.asarray(evenly if times is None else times, np.float64)
    unknown = np.full(count, np.nan)
    began: F64 = np.asarray(unknown if starts is None else starts, np.float64)
    rows = fresh_counters(1) if row is None else row
    found: list[float] = []
    kinds: list[int] = []
    is_rate: list[bool] = []
    is_reset: list[bool] = []
    changes: list[int] = []
    for i in range(count):
        readings = Readings(
            times=START + when[i : i + 1],
            values=given[i : i + 1],
            kinds=np.array([kind], np.uint8),
            starts=START + began[i : i + 1],
        )
        rates = step_counters(rows, readings)
        rows = rates.rows
        found.append(float(rates.values[0]))
        kinds.append(int(rows["kind"][0]))
        is_rate.append(bool(rates.is_rate[0]))
        is_reset.append(bool(rates.is_reset[0]))
        if rates.is_changed[0]:
            changes.append(i)
    return Stepped(np.array(found), kinds, is_rate, is_reset, changes, rows)
