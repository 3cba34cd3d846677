"""History of the demo's fleet in a file, to train its bundle on.

It stands apart from the generator since it needs pyarrow, which the demo does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from deploy.demo.generator import (
    DAY_S,
    FEATURES,
    START,
    TICK_S,
    Fault,
    Metrics,
    plan,
)


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

    Returns the unlabelled faults hidden in it.
    """
    ticks = round(days * DAY_S / TICK_S)
    begin = end - ticks * TICK_S
    planned = plan(hosts, faults, begin=begin, end=end, seed=seed)
    metrics = Metrics(hosts, seed=seed, start=begin, faults=planned)
    values = np.empty((ticks, hosts, len(FEATURES)))
    times = np.empty(ticks)
    for i in range(ticks):
        times[i], values[i] = metrics.tick()
    columns = {
        "timestamp": pa.array(np.repeat(times, hosts)),
        "stream": pa.DictionaryArray.from_arrays(
            np.tile(np.arange(hosts, dtype=np.int32), ticks), list(metrics.streams)
        ).cast(pa.string()),
    }
    for j, name in enumerate(FEATURES):
        columns[name] = pa.array(values[:, :, j].ravel(), from_pandas=True)
    table = pa.table(columns)
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    return planned
