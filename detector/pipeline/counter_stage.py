"""Before a wave is scored: counters and deltas become rates per second.

It costs a look at one flag for each point, unless a stream has a metric that is no
gauge, or may be none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from detector.distributions import Totals
from detector.events import F32, F64, I64, U8, MetricKind, RecordBatch
from detector.metrics import CounterEvent, Metrics
from detector.state.counter_steps import step_counters
from detector.state.counters import Rates, Readings
from detector.state.held_points import StreamPast
from detector.state.row_memory import Slots
from detector.state.table import StreamTable

_Flags = npt.NDArray[np.bool_]
_F32_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class WaveValues:
    """What is scored of one point of each of B streams.

    Attributes:
        x: float32 [B, F], NaN where missing.
        is_rate: bool [B, F], rates per second; None: all are values.
        is_changed: bool [B], the stream is scored in other units from here on; None:
            none is.
        is_scored: bool [B], a value is left to score; None: of all.
    """

    x: F32
    is_rate: _Flags | None = None
    is_changed: _Flags | None = None
    is_scored: _Flags | None = None


@dataclass(frozen=True, slots=True)
class _Cells:
    """The m values of n points [n, F] that are not missing.

    Attributes:
        streams: int64 [m], the point of each.
        metrics: int64 [m], the feature of each.
        values: float64 [m].
    """

    streams: I64
    metrics: I64
    values: F64

    @classmethod
    def of(cls, values: F64) -> _Cells:
        streams, metrics = np.nonzero(~np.isnan(values))
        return cls(streams, metrics, values[streams, metrics])

    def kinds(self, column: U8 | None) -> U8:
        """uint8 [m], of a column [n, F]; None: all are unknown."""
        if column is None:
            return np.zeros(len(self.values), np.uint8)
        return column[self.streams, self.metrics]

    def starts(self, column: F64 | None) -> F64:
        """float64 [m], of a column [n, F]; None: all are unknown."""
        if column is None:
            return np.full(len(self.values), np.nan)
        return column[self.streams, self.metrics]


class CounterStage:
    """Turns the counters among the streams of a table into rates. One thread."""

    def __init__(self, table: StreamTable, metrics: Metrics) -> None:
        self._table = table
        self._metrics = metrics

    def convert(self, batch: RecordBatch, records: I64, slots: Slots) -> WaveValues:
        """The values of these records [B] of a batch, of the streams in ``slots``."""
        values = batch.values.take(records, axis=0)
        if batch.totals:
            self._tell_metrics(values, batch, records, slots)
        found = self._convert(values, batch, records, slots)
        if batch.totals:
            is_scored = np.asarray((~np.isnan(found.x)).any(axis=1))
            found = replace(found, is_scored=is_scored)
        return found

    def _tell_metrics(
        self, values: F64, batch: RecordBatch, records: I64, slots: Slots
    ) -> None:
        """Set means and quantiles of cumulative histograms, in ``values`` [B, F].

        What has no observation since the point before is missing.
        """
        pasts = self._table.pasts
        for i, record in enumerate(records.tolist()):
            totals = batch.totals.get(record)
            if totals is None:
                continue
            slot = int(slots[i])
            past = pasts.of(slot)
            for metric, now in totals.items():
                values[i, metric] = self._tell(now, past.totals.get(metric))
            known = {**past.totals, **totals}
            pasts.put(slot, StreamPast(past.origin, past.held, known))

    def _tell(self, now: Totals, before: Totals | None) -> float:
        if before is None:
            self._metrics.counter_events.labels(CounterEvent.FIRST.value).inc()
            return np.nan
        if now.has_restarted(before):
            self._metrics.counter_events.labels(CounterEvent.RESET.value).inc()
        return now.metric_since(before)

    def _convert(
        self, values: F64, batch: RecordBatch, records: I64, slots: Slots
    ) -> WaveValues:
        kinds = None if batch.kinds is None else batch.kinds.take(records, axis=0)
        chosen = self._chosen(slots, kinds)
        starts = batch.starts
        says_nothing = kinds is None and starts is None
        if len(chosen) and says_nothing and values.shape[1] == 1:
            times = batch.times[records[chosen]]
            counters = self._table.counters
            is_idle = counters.pass_idle(slots[chosen], values[chosen, 0], times)
            chosen = chosen[~is_idle]
        if not len(chosen):
            return WaveValues(values.astype(np.float32))
        starts = None if starts is None else starts[records[chosen]]
        cells = self._timely(values, chosen, slots, batch.times[records])
        readings = Readings(
            times=batch.times[records[chosen]][cells.streams],
            values=cells.values,
            kinds=cells.kinds(None if kinds is None else kinds[chosen]),
            starts=cells.starts(starts),
        )
        rates = self._step(slots[chosen], cells, readings)
        return self._wave(values, chosen, cells, rates, slots)

    def _chosen(self, slots: Slots, kinds: U8 | None) -> I64:
        """Indices of the points that may hold a counter."""
        counters = self._table.counters
        is_chosen = counters.is_tracked[slots]
        if kinds is not None:
            is_counted = (kinds >= MetricKind.COUNTER).any(axis=1)
            if is_counted.any():
                counters.widen(self._table.names)
            is_chosen = is_chosen | is_counted
        return np.flatnonzero(is_chosen)

    def _timely(self, values: F64, chosen: I64, slots: Slots, times: F64) -> _Cells:
        """The values [B, F] of the chosen points that can give a rate.

        A second reading of one moment gives none. What is known to be counted is
        missing then; its growth is part of the next rate.
        """
        cells = _Cells.of(values[chosen])
        rows = self._table.counters.at(slots[chosen])[cells.streams, cells.metrics]
        is_again = rows["time"] == times[chosen][cells.streams]
        if not is_again.any():
            return cells
        is_counted = is_again & (rows["kind"] >= MetricKind.COUNTER)
        points = chosen[cells.streams[is_counted]]
        values[points, cells.metrics[is_counted]] = np.nan
        is_kept = ~is_again
        return _Cells(
            cells.streams[is_kept], cells.metrics[is_kept], cells.values[is_kept]
        )

    def _step(self, slots: Slots, cells: _Cells, readings: Readings) -> Rates:
        counters = self._table.counters
        rows = counters.at(slots)
        rates = step_counters(rows[cells.streams, cells.metrics], readings)
        rows[cells.streams, cells.metrics] = rates.rows
        counters.store(slots, rows)
        return rates

    def _wave(
        self, values: F64, chosen: I64, cells: _Cells, rates: Rates, slots: Slots
    ) -> WaveValues:
        streams = chosen[cells.streams]
        values[streams, cells.metrics] = rates.values
        is_rate = np.zeros(values.shape, np.bool_)
        is_rate[streams, cells.metrics] = rates.is_rate
        steps = self._table.decisions["steps"][slots]
        is_changed = np.zeros(len(slots), np.bool_)
        is_changed[streams[rates.is_changed]] = True
        is_changed &= steps > 0
        self._count(rates, is_changed[streams])
        with np.errstate(over="ignore"):
            x = np.where(np.abs(values) > _F32_MOST, np.nan, values).astype(np.float32)
        is_scored = np.asarray((~np.isnan(x)).any(axis=1))
        return WaveValues(x, is_rate, is_changed, is_scored)

    def _count(self, rates: Rates, is_changed: _Flags) -> None:
        begun = is_changed & rates.is_changed & rates.is_rate
        ended = is_changed & rates.is_changed & ~rates.is_rate
        events = {
            CounterEvent.FIRST: rates.is_first,
            CounterEvent.RESET: rates.is_reset,
            CounterEvent.RECOGNISED: begun,
            CounterEvent.UNDONE: ended,
        }
        for event, happened in events.items():
            count = int(np.count_nonzero(happened))
            if count:
                self._metrics.counter_events.labels(event.value).inc(count)
