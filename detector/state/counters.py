"""Counters: from the totals that producers send to rates per second.

Theory of operation. A counter's value says how long its process has run, and its growth
says what the process does. So each value of a counter becomes a rate, in float64: what
it grew by since the value before, divided by the seconds between them. A delta is what
came since the last report, and is divided by its interval.

- The *first* value gives no rate.
- A *restart* that the producer states, by a later start time, gives the rate since
  then. If that is less than half the interval, there is none: a short time tells no
  rate.
- A *wrap* is a fall that makes the usual growth once 2^32 or 2^64 is added.
- Any other *fall* is a reset that nobody states. It gives no rate, nor does a value
  that another process counted, which an earlier start time tells.

So no rate is negative, and a reset or a wrap never gives a rate that stands out.

What a metric is, in this order: what the format or a setting says; what its name says
(:mod:`detector.state.counter_names`); what its own past shows
(:mod:`detector.state.recognition`). A metric that only its name or its past tells is
taken for a gauge again once it has fallen a little, three times within a short while.

Everything here follows from a stream's own points in their order. Streams may be
stepped one by one or together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.events import F64, I64, U8, MetricKind

_Flags = npt.NDArray[np.bool_]

#: What is kept of one metric of one stream. Pages hold these bytes: a change of the
#: layout is a change of the schema (:data:`detector.recovery.snapshot.SCHEMA`).
COUNTER = np.dtype(
    [
        ("value", "<f8"),  # the last one; NaN: none yet
        ("time", "<f8"),  # event time of it, epoch seconds
        ("start", "<f8"),  # when it began, if its producer says so; else NaN
        ("run_value", "<f8"),  # the value that the present run of rises began with
        ("run_time", "<f8"),  # event time of it
        ("rate", "<f4"),  # the last rate per second; NaN: none
        ("rate_before", "<f4"),  # the rate before it in the run; NaN: none
        ("near", "<f4"),  # sum of squared differences of neighbouring rates
        ("far", "<f4"),  # the same of rates two points apart
        ("points", "<u4"),  # of the run, its first one aside
        ("rises", "<u4"),  # points of the run at which the value was higher
        ("kind", "u1"),  # detector.events.MetricKind in force; UNKNOWN: a gauge so far
        ("source", "u1"),  # what tells the kind, see below
        ("hinted", "u1"),  # 1: its name may be that of a counter
        ("began_low", "u1"),  # 1: the run began at a fall to nearly nothing
        ("slips", "u1"),  # falls that no reset explains, since the last long rise
        ("unused", "V3"),  # rows are of a multiple of 8 bytes
    ]
)

#: What tells a metric's kind.
NOTHING, NAME, PAST, PRODUCER = range(4)

CounterRows = npt.NDArray[np.void]

_OPAQUE = np.dtype(("V", COUNTER.itemsize))
_MODULI = (2.0**32, 2.0**64)

# A wrap is one that makes at most this much of the last rate. By judgement: a counter
# seldom grows so much faster at once, and if it does, one rate is missing.
_WRAP_RATES = 4.0

# Seconds, and share of the interval, by which a start time may move without a restart:
# some producers compute it from an uptime, rounded.
_START_MOVES = 1.0
_START_SHARE = 0.5

# Least share of the interval that a rate since a restart rests on.
_LEAST_SINCE = 0.5

# A fall that leaves more than this share of the value is no restart from zero.
_SLIP_SHARE = 0.5
# Slips that undo what a name or the past says, and the rises that forgive them.
_MAX_SLIPS = 3
_RISES_BETWEEN = 64

_COUNTER, _DELTA, _GAUGE, _UNKNOWN = (
    np.uint8(kind)
    for kind in (
        MetricKind.COUNTER,
        MetricKind.DELTA,
        MetricKind.GAUGE,
        MetricKind.UNKNOWN,
    )
)


@dataclass(frozen=True, slots=True)
class Readings:
    """One value of each of N metrics.

    Attributes:
        times: float64 [N], event times in epoch seconds, after the last of each.
        values: float64 [N], none is NaN.
        kinds: uint8 [N], the MetricKind that the producer states.
        starts: float64 [N], epoch seconds at which a counter or a delta's interval
            began; NaN if unknown.
    """

    times: F64
    values: F64
    kinds: U8
    starts: F64

    def at(self, places: I64) -> Readings:
        """Copies of some of them."""
        return Readings(
            times=self.times[places],
            values=self.values[places],
            kinds=self.kinds[places],
            starts=self.starts[places],
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """What became of N readings.

    Attributes:
        rows: COUNTER [N], to store.
        values: float64 [N]: the rate of counters and deltas, NaN if there is none; of
            others the value itself.
        is_rate: bool [N], of counters and deltas.
        is_first: bool [N], counters whose first value gives no rate.
        is_reset: bool [N], counters that began again, whether or not a rate is known.
        is_changed: bool [N], what was a value before is a rate now, or the other way.
    """

    rows: CounterRows
    values: F64
    is_rate: _Flags
    is_first: _Flags
    is_reset: _Flags
    is_changed: _Flags


def opaque_counters(rows: CounterRows) -> npt.NDArray[np.void]:
    """The same memory as rows of bytes, which numpy copies far faster."""
    return rows.view(_OPAQUE)


def fresh_counters(shape: int | tuple[int, int]) -> CounterRows:
    """Rows of metrics without a value; of unknown kind."""
    rows = np.zeros(shape, COUNTER)
    for unknown in ("value", "start", "run_value", "rate", "rate_before"):
        rows[unknown] = np.nan
    rows["time"] = -np.inf
    rows["run_time"] = -np.inf
    return rows


def no_counters(streams: int = 0) -> CounterRows:
    """COUNTER [streams, 0]: nothing is kept of their metrics."""
    return np.empty((streams, 0), COUNTER)


@dataclass(frozen=True, slots=True)
class Change:
    """How N values differ from those before, whatever their kind.

    Attributes:
        seconds: float64 [N], since the value before; infinite at the first. NaN where
            a corrected clock is not past it: there is no rate.
        growth: float64 [N], NaN at the first.
        has_past: bool [N], it is not the first.
        is_fall: bool [N].
    """

    seconds: F64
    growth: F64
    has_past: _Flags
    is_fall: _Flags

    @classmethod
    def of(cls, rows: CounterRows, readings: Readings) -> Change:
        growth = readings.values - rows["value"]
        seconds = readings.times - rows["time"]
        return cls(
            seconds=np.where(seconds > 0, seconds, np.nan),
            growth=growth,
            has_past=~np.isnan(growth),
            is_fall=growth < 0,
        )

    def at(self, places: I64) -> Change:
        """Copies of some of them."""
        return Change(
            seconds=self.seconds[places],
            growth=self.growth[places],
            has_past=self.has_past[places],
            is_fall=self.is_fall[places],
        )


@dataclass(frozen=True, slots=True)
class CounterRates:
    """What N values are if they are those of counters.

    Attributes:
        rates: float64 [N], NaN if there is none.
        is_reset: bool [N], the counter began again.
        is_slip: bool [N], a fall that is no restart from zero, nor a wrap.
    """

    rates: F64
    is_reset: _Flags
    is_slip: _Flags


def counter_rates(
    rows: CounterRows, readings: Readings, change: Change
) -> CounterRates:
    """The rates of N counters; ``rows`` [N] are before these readings."""
    seconds = change.seconds
    rates = change.growth / seconds
    room = np.fmax(_START_MOVES, _START_SHARE * seconds)
    moved = readings.starts - rows["start"]
    is_restart = change.has_past & (
        (moved > room) | (np.isnan(moved) & (readings.starts > rows["time"]))
    )
    is_between = readings.starts >= rows["time"] - room
    since = readings.times - readings.starts
    tells = is_restart & is_between & (since >= _LEAST_SINCE * seconds)
    with np.errstate(divide="ignore", invalid="ignore"):
        since_restart = readings.values / since
    is_foreign = moved < -room
    is_plain_fall = change.is_fall & ~is_restart & ~is_foreign
    wrapped = _wrapped(rows, change)
    is_wrap = is_plain_fall & ~np.isnan(wrapped)
    rates = np.where(is_wrap, wrapped, rates)
    is_unstated = is_plain_fall & ~is_wrap
    rates[is_restart | is_foreign | is_unstated] = np.nan
    rates[tells] = since_restart[tells]
    kept = readings.values > _SLIP_SHARE * rows["value"]
    return CounterRates(
        rates=rates,
        is_reset=is_restart | is_foreign | is_unstated,
        is_slip=is_unstated & kept,
    )


def _wrapped(rows: CounterRows, change: Change) -> F64:
    """The rates of N falls that are wraps, NaN of others."""
    found = np.full(len(rows), np.nan)
    highest = _WRAP_RATES * rows["rate"].astype(np.float64)
    for modulus in _MODULI[::-1]:
        rate = (change.growth + modulus) / change.seconds
        is_within = (rows["value"] <= modulus) & (rate >= 0) & (rate <= highest)
        found = np.where(is_within, rate, found)
    return found


def delta_rates(readings: Readings, change: Change) -> F64:
    """float64 [N]: deltas by the seconds of their interval; NaN if nothing tells it."""
    stated = readings.times - readings.starts
    interval = np.where(stated > 0, stated, change.seconds)
    rates: F64 = np.where(np.isfinite(interval), readings.values / interval, np.nan)
    return rates


def kinds_in_force(rows: CounterRows, readings: Readings) -> U8:
    """uint8 [N]: what the producer states now, else what is known already."""
    kinds: U8 = np.where(readings.kinds == _UNKNOWN, rows["kind"], readings.kinds)
    return kinds


def are_rates(kinds: U8) -> _Flags:
    """bool [N]: whether metrics of these kinds are scored as a rate."""
    return np.asarray((kinds == _COUNTER) | (kinds == _DELTA))


def are_undone(rows: CounterRows, kinds: U8, counted: CounterRates) -> _Flags:
    """bool [N]: counters that their falls prove to be gauges. Counts in ``rows``."""
    is_told = (rows["source"] == NAME) | (rows["source"] == PAST)
    is_guess = is_told & (kinds == _COUNTER)
    is_slip = is_guess & counted.is_slip
    has_risen = rows["rises"] >= _RISES_BETWEEN
    before = np.where(has_risen, 0, rows["slips"])
    slips = np.minimum(before + is_slip, _MAX_SLIPS)
    rows["slips"] = np.where(is_guess, slips, rows["slips"])
    rows["rises"] = np.where(is_slip, 0, rows["rises"])
    return np.asarray(is_guess & (slips >= _MAX_SLIPS))
