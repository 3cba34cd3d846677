"""Which metrics of unknown kind are counters: what their own past shows.

Theory of operation. To take a gauge for a counter is worse than the opposite: an outage
of a gauge would be a reset, and a leak a constant rate. So a metric is a counter only
if nothing that gauges do explains its past.

- It is a *gauge* for good at its first negative value, and at its first fall, unless
  that leaves nearly nothing of a long rise.
- It must rise at nearly every point, 64 times at least. Noise makes a gauge fall long
  before, unless its trend is steep.
- Its rates must look like the noise of events, and not like a trend with a little noise
  on top. The squared differences of rates tell: of rates two points apart they are as
  large as of neighbours, if each rate is news of its own. They are two thirds of that
  for a steep trend with noise, and four times that for a smooth curve. (This is the
  ratio of von Neumann 1941, at two distances.) Constant rates are welcome too.
- And it must have begun at nearly nothing, as a process does, or have risen for longer
  than half a day: a daily rhythm, such as a morning's temperature, can't.
- Or its level is so large that float32 can't hold its growth. As a gauge it would be a
  flatline, so nothing is lost.

A name that counters often have, such as ``requests.count``, makes 16 rises enough.

The limits are by judgement: docs/experiments/counters.md has what they reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64
from detector.state.counters import Change, CounterRows, Readings
from detector.timestamps import HOUR

_Flags = npt.NDArray[np.bool_]

# Rises after which a metric may be a counter, and again after as many; with a hint in
# its name.
_RISES = 64
_HINTED_RISES = 16

# Least share of the points that are rises.
_LEAST_RISING = 0.75

# A run began at nearly nothing if its first value is at most this many mean growths.
_LOW_STEPS = 4.0

# A fall is a reset after at least this many rises, if it leaves at most this share.
_RISES_BEFORE_RESET = 16
_LOW_SHARE = 0.25

# Seconds: longer than the half of a day in which a daily rhythm rises.
_LONG_RISE = 14 * HOUR

# A value of this many mean growths leaves float32, of 24 bits, sixteen steps each.
_HUGE_STEPS = 2.0**20

# Ratio of squared differences two points apart to those of neighbours: 1 is noise of
# events, 2/3 a steep trend with noise, 4 a smooth curve.
_LEAST_RATIO = 0.83
_MOST_RATIO = 2.0

# Relative difference of rates under which they are constant, but for rounding.
_CONSTANT = 1e-6


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What N readings tell of their metrics, bool [N] each; most often neither."""

    is_counter: _Flags
    is_gauge: _Flags


def recognise(rows: CounterRows, readings: Readings, change: Change) -> Verdicts:
    """Follow the runs of N metrics of unknown kind, in ``rows`` [N], in place."""
    values = readings.values
    mean_growth = _mean_growth(rows)
    is_low = values <= np.minimum(_LOW_SHARE * rows["value"], _LOW_STEPS * mean_growth)
    is_reset = change.is_fall & is_low & (rows["rises"] >= _RISES_BEFORE_RESET)
    is_gauge = (values < 0) | (change.is_fall & ~is_reset)
    is_idle = (change.growth == 0) & (rows["rises"] == 0)
    begins = ~change.has_past | is_reset | is_idle
    goes_on = ~begins & ~is_gauge
    _begin(rows, readings, begins, is_reset)
    _go_on(rows, change, goes_on)
    is_due = goes_on & (change.growth > 0) & _is_due(rows)
    is_counter = np.zeros(len(rows), np.bool_)
    if is_due.any():
        due = np.flatnonzero(is_due)
        is_counter[due] = _are_counters(rows[due], values[due], readings.times[due])
    return Verdicts(is_counter, is_gauge)


def _mean_growth(rows: CounterRows) -> F64:
    """float64 [N], of a point of the run; NaN before the first value."""
    growth = rows["value"] - rows["run_value"]
    mean: F64 = growth / np.maximum(rows["points"], 1)
    return mean


def _begin(
    rows: CounterRows, readings: Readings, begins: _Flags, is_reset: _Flags
) -> None:
    rows["run_value"] = np.where(begins, readings.values, rows["run_value"])
    rows["run_time"] = np.where(begins, readings.times, rows["run_time"])
    for count in ("points", "rises", "near", "far"):
        rows[count][begins] = 0
    rows["rate"][begins] = np.nan
    rows["rate_before"][begins] = np.nan
    rows["began_low"] |= is_reset


def _go_on(rows: CounterRows, change: Change, goes_on: _Flags) -> None:
    rates = change.growth / change.seconds
    rows["points"] += goes_on
    rows["rises"] += goes_on & (change.growth > 0)
    rows["near"] += _squared(rates, rows["rate"], goes_on)
    rows["far"] += _squared(rates, rows["rate_before"], goes_on)
    rows["rate_before"] = np.where(goes_on, rows["rate"], rows["rate_before"])
    rows["rate"] = np.where(goes_on, rates, rows["rate"])


def _squared(rates: F64, others: F32, counts: _Flags) -> F64:
    """Squared differences, float64 [N]; 0 where there is no other, or it is not to
    count.
    """
    differences = rates - others
    is_known = counts & ~np.isnan(differences)
    return np.where(is_known, differences**2, 0.0)


def _is_due(rows: CounterRows) -> _Flags:
    every = np.where(rows["hinted"] > 0, _HINTED_RISES, _RISES)
    return np.asarray((rows["rises"] > 0) & (rows["rises"] % every == 0))


def _are_counters(rows: CounterRows, values: F64, times: F64) -> _Flags:
    """bool [N], of rows that have risen often enough."""
    rose = values - rows["run_value"]
    mean_growth = rose / rows["points"]
    rises_steadily = rows["rises"] >= _LEAST_RISING * rows["points"]
    began_low = rows["run_value"] <= _LOW_STEPS * mean_growth
    seconds = times - rows["run_time"]
    can_be_no_rhythm = (rows["began_low"] > 0) | began_low | (seconds >= _LONG_RISE)
    is_huge = values >= _HUGE_STEPS * mean_growth
    is_plain = can_be_no_rhythm & _are_like_events(rows, rose / seconds)
    is_hinted = rows["hinted"] > 0
    return np.asarray(rises_steadily & (is_hinted | is_huge | is_plain))


def _are_like_events(rows: CounterRows, mean_rate: F64) -> _Flags:
    """bool [N]: each rate is news of its own, or all are equal."""
    near = rows["near"].astype(np.float64)
    far = rows["far"].astype(np.float64)
    is_noise = (far >= _LEAST_RATIO * near) & (far <= _MOST_RATIO * near) & (near > 0)
    is_constant = near <= rows["points"] * (_CONSTANT * mean_rate) ** 2
    return np.asarray(is_noise | is_constant)
