"""What is known of a stream's metrics before their first values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import U8, MetricKind
from detector.state.counter_names import is_hinted_counter, is_named_counter
from detector.state.counters import (
    NAME,
    PRODUCER,
    CounterRows,
    fresh_counters,
    opaque_counters,
)


@dataclass(frozen=True, slots=True)
class CounterDefaults:
    """Rows of new streams of F metrics.

    Attributes:
        features: F.
        is_needed: rows are kept from the start, and not from the first counter on.
        row_of: COUNTER [F] of a new stream, by its name.
    """

    features: int
    is_needed: bool
    row_of: Callable[[str], CounterRows]

    def rows(self, names: Sequence[str]) -> CounterRows:
        """COUNTER [n, F], of streams of these names."""
        found = fresh_counters((len(names), self.features))
        rows = opaque_counters(found)
        for place, name in enumerate(names):
            rows[place] = opaque_counters(self.row_of(name))
        return found


def single_metrics() -> CounterDefaults:
    """Each stream is a metric: its name or its past tells what it is."""
    unknown = fresh_counters(1)
    named = fresh_counters(1)
    named["kind"] = MetricKind.COUNTER
    named["source"] = NAME
    hinted = fresh_counters(1)
    hinted["hinted"] = 1

    def row_of(name: str) -> CounterRows:
        if is_named_counter(name):
            return named
        return hinted if is_hinted_counter(name) else unknown

    return CounterDefaults(1, True, row_of)


def known_metrics(kinds: U8) -> CounterDefaults:
    """Streams of metrics [F] whose kinds are known: a network was fitted to them."""
    row = fresh_counters(len(kinds))
    row["kind"] = kinds
    row["source"] = PRODUCER
    has_counter = bool(np.any(kinds != MetricKind.GAUGE))
    return CounterDefaults(len(kinds), has_counter, lambda name: row)


#: Nothing is a counter, whatever records say.
NO_COUNTERS = known_metrics(np.zeros(0, np.uint8))
