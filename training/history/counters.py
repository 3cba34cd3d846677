"""Counters in a history: they are fitted as the rates that the daemon will score.

A metric of the history is a counter if its name says so, or if its past shows it on
more streams than not (:mod:`detector.state.recognition`). With the whole history at
hand, all its rows become rates, and not only those after it was recognised. The rates
are computed by the daemon's own steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.data.table import as_single
from detector.events import F32, F64, I64, MetricKind
from detector.state.counter_defaults import single_metrics
from detector.state.counter_steps import step_counters
from detector.state.counters import (
    COUNTER,
    CounterRows,
    Readings,
    fresh_counters,
    opaque_counters,
)

#: stream -> event times float64 [n], rising, and values float64 [n, F], NaN missing
RawRows = Mapping[str, tuple[F64, F64]]

# A counter rises at least this often, and seldom falls. Any other metric need not be
# stepped through.
_LEAST_RISES = 16
_RISES_PER_FALL = 16


@dataclass(frozen=True, slots=True)
class Rated:
    """A history without totals.

    Attributes:
        rows: stream -> event times float64 [n], and values float32 [n, F]. Rows that
            hold nothing but first values are left out.
        counters: the metrics that are rates per second.
    """

    rows: Mapping[str, tuple[F64, F32]]
    counters: tuple[str, ...]


def as_rates(features: Sequence[str], streams: RawRows) -> Rated:
    """Rates in place of the totals of ``streams``, which have these features."""
    rated = {name: values.copy() for name, (_, values) in streams.items()}
    counters = []
    for j, feature in enumerate(features):
        columns = {
            name: _Column.of(times, values[:, j])
            for name, (times, values) in streams.items()
        }
        if not _is_counter(feature, list(columns.values())):
            continue
        counters.append(feature)
        told = fresh_counters(1)
        told["kind"] = MetricKind.COUNTER
        found, _ = _step_through(list(columns.values()), told)
        for (name, column), rates in zip(columns.items(), found, strict=True):
            rated[name][column.rows, j] = rates
    rows = {
        name: _with_values(times, values, rated[name])
        for name, (times, values) in streams.items()
    }
    return Rated(rows, tuple(counters))


@dataclass(frozen=True, slots=True)
class _Column:
    """The m values of one metric of one stream that are not missing.

    Attributes:
        rows: int64 [m], rows of the stream.
        times, values: float64 [m].
    """

    rows: I64
    times: F64
    values: F64

    @classmethod
    def of(cls, times: F64, values: F64) -> _Column:
        rows = np.flatnonzero(~np.isnan(values))
        return cls(rows, times[rows], values[rows])

    def __len__(self) -> int:
        return len(self.rows)


def _is_counter(feature: str, columns: Sequence[_Column]) -> bool:
    """Whether more streams show a counter than show a gauge."""
    row = single_metrics().row_of(feature)
    is_named = bool(row["kind"][0] == MetricKind.COUNTER)
    candidates = []
    gauges = 0
    for column in columns:
        growth = np.diff(column.values)
        rises = int(np.count_nonzero(growth > 0))
        falls = int(np.count_nonzero(growth < 0))
        if is_named or (rises >= _LEAST_RISES and falls * _RISES_PER_FALL <= rises):
            candidates.append(column)
        elif falls:
            gauges += 1
    if not candidates:
        return False
    _, rows = _step_through(candidates, row)
    kinds = rows["kind"]
    gauges += int(np.count_nonzero(kinds == MetricKind.GAUGE))
    return int(np.count_nonzero(kinds == MetricKind.COUNTER)) > gauges


def _step_through(
    columns: Sequence[_Column], first: CounterRows
) -> tuple[list[F64], CounterRows]:
    """Step all columns from ``first`` (COUNTER [1]): values or rates of each [m_i], and
    the rows in the end, COUNTER [N].

    Step t takes the t-th value of every column that has one, the longest first.
    """
    lengths = np.array([len(column) for column in columns])
    order = np.argsort(-lengths, kind="stable")
    rows = np.repeat(first, len(columns))
    found = [np.full(len(column), np.nan) for column in columns]
    for t in range(int(lengths.max(initial=0))):
        at = order[: int(np.count_nonzero(lengths > t))].tolist()
        readings = Readings(
            times=np.array([columns[i].times[t] for i in at]),
            values=np.array([columns[i].values[t] for i in at]),
            kinds=np.zeros(len(at), np.uint8),
            starts=np.full(len(at), np.nan),
        )
        chosen = opaque_counters(rows)[at].view(COUNTER)
        rates = step_counters(chosen, readings)
        opaque_counters(rows)[at] = opaque_counters(rates.rows)
        for i, value in zip(at, rates.values.tolist(), strict=True):
            found[i][t] = value
    return found, rows


def _with_values(times: F64, before: F64, after: F64) -> tuple[F64, F32]:
    """Without the rows that had a value and have none as rates."""
    is_lost = ~np.isnan(before).all(axis=1) & np.isnan(after).all(axis=1)
    values = as_single(after[~is_lost])
    finite = np.where(np.isinf(values), np.float32(np.nan), values)
    return times[~is_lost], finite
