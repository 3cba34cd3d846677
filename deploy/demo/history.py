"""The demo's history as DATA for training. It needs pyarrow; the demo does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from deploy.demo.generator import (
    F64,
    FEATURES,
    START,
    TICK_S,
    Fault,
    Metrics,
    plan,
)
from detector.timestamps import DAY


def write_history(
    path: Path,
    *,
    hosts: int,
    days: float,
    faults: int = 0,
    seed: int = 7,
    end: float = START,
) -> list[Fault]:
    """Write the days before ``end``, as CSV or Parquet by the path's suffix.

    Returns the unlabelled faults that are hidden in it.
    """
    ticks = round(days * DAY / TICK_S)
    begin = end - ticks * TICK_S
    planned = plan(hosts, faults, begin=begin, end=end, seed=seed)
    metrics = Metrics(hosts, seed=seed, start=begin, faults=planned)
    values = np.empty((ticks, hosts, len(FEATURES)))
    times = np.empty(ticks)
    for i in range(ticks):
        times[i], values[i] = metrics.tick()
    table = _table(metrics.streams, times, values)
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    return planned


def _table(streams: Sequence[str], times: F64, values: F64) -> pa.Table:
    """Rows of times [ticks] and values [ticks, streams, features], tick after tick."""
    numbers = np.tile(np.arange(len(streams), dtype=np.int32), len(times))
    names = pa.DictionaryArray.from_arrays(numbers, list(streams))
    columns = {
        "timestamp": pa.array(np.repeat(times, len(streams))),
        "stream": names.cast(pa.string()),
    }
    for j, name in enumerate(FEATURES):
        columns[name] = pa.array(values[:, :, j].ravel(), from_pandas=True)
    return pa.table(columns)
