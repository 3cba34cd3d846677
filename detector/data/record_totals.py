"""Means and quantiles of cumulative histograms in a file of records.

A file is read whole, so they are told here as the daemon tells them point by point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import compress

import numpy as np

from detector.distributions import Totals
from detector.events import F64, RecordBatch


def told(batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    """The batches, each metric a stream, with means and quantiles of totals.

    Points that tell nothing are left out: first ones, those without an observation,
    and those that are not later than the point before.
    """
    before: dict[str, tuple[float, Totals]] = {}
    for batch in batches:
        if not batch.totals:
            yield batch
            continue
        values = batch.values.copy()
        for row in sorted(batch.totals):
            name = str(batch.names[row])
            values[row] = _tell(before, name, float(batch.times[row]), batch, row)
        yield _with(batch, values)


def _tell(
    before: dict[str, tuple[float, Totals]],
    name: str,
    time: float,
    batch: RecordBatch,
    row: int,
) -> float:
    now = batch.totals[row][0]
    last, totals = before.get(name, (-math.inf, None))
    if time <= last:
        return math.nan
    before[name] = time, now
    return math.nan if totals is None else now.metric_since(totals)


def _with(batch: RecordBatch, values: F64) -> RecordBatch:
    """The rows of a batch that have a value."""
    kept = ~np.isnan(values[:, 0])
    return replace(
        batch,
        names=list(compress(batch.names, kept)),
        offsets=batch.offsets[kept],
        times=batch.times[kept],
        values=values[kept],
        kinds=None if batch.kinds is None else batch.kinds[kept],
        starts=None if batch.starts is None else batch.starts[kept],
        labels=None if batch.labels is None else list(compress(batch.labels, kept)),
        clock=None,
        totals={},
    )
