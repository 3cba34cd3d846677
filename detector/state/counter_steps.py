"""One reading of each of N metrics: their kinds, their rates, and what is kept.

``fit`` and the daemon both come here, so history and live data are treated alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.events import MetricKind
from detector.state.counters import COUNTER as ROW
from detector.state.counters import (
    NAME,
    PAST,
    PRODUCER,
    Change,
    CounterRates,
    CounterRows,
    Rates,
    Readings,
    are_rates,
    are_undone,
    counter_rates,
    delta_rates,
    kinds_in_force,
    opaque_counters,
)
from detector.state.recognition import recognise

_UNKNOWN = np.uint8(MetricKind.UNKNOWN)
_GAUGE = np.uint8(MetricKind.GAUGE)
_COUNTER = np.uint8(MetricKind.COUNTER)
_DELTA = np.uint8(MetricKind.DELTA)


def step_counters(rows: CounterRows, readings: Readings) -> Rates:
    """Rates of N metrics. Pure: ``rows`` (COUNTER [N]) are before the readings."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _step(rows, readings)


def _step(rows: CounterRows, readings: Readings) -> Rates:
    after = opaque_counters(rows).copy().view(ROW)
    change = Change.of(rows, readings)
    counted = counter_rates(rows, readings, change)
    _decide(after, readings, change, counted)
    kinds = after["kind"]
    values = np.where(kinds == _COUNTER, counted.rates, readings.values)
    is_delta = kinds == _DELTA
    if is_delta.any():
        values = np.where(is_delta, delta_rates(readings, change), values)
    _keep(after, readings, change)
    is_rate = are_rates(kinds)
    # what only its name tells was scored as a gauge by a version that knew no counters
    is_named = ~change.has_past & (after["source"] == NAME)
    return Rates(
        rows=after,
        values=values,
        is_rate=is_rate,
        is_first=is_rate & ~change.has_past & np.isnan(values),
        is_reset=(kinds == _COUNTER) & counted.is_reset,
        is_changed=(is_rate != are_rates(rows["kind"])) | is_named,
    )


def _decide(
    after: CounterRows,
    readings: Readings,
    change: Change,
    counted: CounterRates,
) -> None:
    """Set the kinds that are in force from these readings on."""
    kinds = kinds_in_force(after, readings)
    is_told = readings.kinds != _UNKNOWN
    after["source"] = np.where(is_told, PRODUCER, after["source"])
    after["kind"] = kinds
    _count_rises(after, change, kinds == _COUNTER, counted)
    proven = are_undone(after, kinds, counted)
    after["kind"][proven] = _GAUGE
    unknown = np.flatnonzero(kinds == _UNKNOWN)
    if not len(unknown):
        return
    followed = opaque_counters(after)[unknown].view(ROW)
    verdicts = recognise(followed, readings.at(unknown), change.at(unknown))
    followed["kind"][verdicts.is_gauge] = _GAUGE
    followed["kind"][verdicts.is_counter] = _COUNTER
    followed["source"][verdicts.is_counter | verdicts.is_gauge] = PAST
    opaque_counters(after)[unknown] = opaque_counters(followed)


def _count_rises(
    after: CounterRows,
    change: Change,
    is_counter: npt.NDArray[np.bool_],
    counted: CounterRates,
) -> None:
    """Rises, and the last rate, of counters."""
    after["rises"] += is_counter & (change.growth > 0)
    is_known = is_counter & ~np.isnan(counted.rates)
    after["rate"] = np.where(is_known, counted.rates, after["rate"])


def _keep(after: CounterRows, readings: Readings, change: Change) -> None:
    after["value"] = readings.values
    after["time"] = readings.times
    is_stated = ~np.isnan(readings.starts)
    after["start"] = np.where(is_stated, readings.starts, after["start"])
