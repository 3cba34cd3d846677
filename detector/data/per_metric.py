"""DATA where each metric is a stream of its own: the files of
:mod:`detector.data.tables`, taken apart into streams ``<stream>/<metric>``.

A wide file gives one row for each cell that holds a number, row by row and in the order
of its columns; files need not have the same ones, and a column without a single number
in it is no metric. A long file, which has a column of names ``feature`` and one of
numbers ``value`` beside ``timestamp`` and perhaps ``stream`` and ``label``, says the
same in one row a metric; what else is in it (a unit, a region) is left aside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.data.tables import RESERVED, Table, data_files, is_number, opened, wide
from detector.errors import DataError
from detector.events import SINGLE_METRIC as VALUE

METRIC = "feature"  # the column of a long file that names the metric


def read_metrics(data: Path) -> list[Table]:
    """Every file of DATA, each with the one feature ``value``. Raises DataError."""
    tables = [_metrics(opened(path), path) for path in data_files(data)]
    if not any(map(len, tables)):
        raise DataError(f"{data} has no rows with a value")
    return tables


def _metrics(raw: pa.Table, path: Path) -> Table:
    columns = [c for c in raw.column_names if c not in RESERVED]
    if set(columns) == {METRIC, VALUE} or (
        {METRIC, VALUE} <= set(columns) and not _has_numbers(raw[METRIC])
    ):
        return _long(raw, path)
    features = tuple(c for c in columns if _has_numbers(raw[c]))
    if not features:
        beside = ", ".join(c for c in raw.column_names if c in RESERVED)
        held = next(
            (
                f" (`{c}` holds {cell!r})"
                for c in columns
                for cell in raw[c].to_pylist()
                if cell not in (None, "")
            ),
            "",
        )
        raise DataError(
            f"{path} has no column of numbers beside {beside}{held}: there is no metric in it"
        )
    return _apart(wide(raw, path, features))


def _has_numbers(column: pa.ChunkedArray) -> bool:
    if (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_dictionary(column.type)
    ):
        return any(
            is_number(cell)
            for cell in pc.unique(column).to_pylist()
            if cell is not None
        )
    return not (
        pa.types.is_nested(column.type)
        or pa.types.is_temporal(column.type)
        or pa.types.is_binary(column.type)
    )


def _apart(table: Table) -> Table:
    """One row for each cell that holds a number."""
    row, metric = np.nonzero(~np.isnan(table.values))
    # one such value spoils its record
    values = np.where(
        np.isinf(table.values).any(axis=1, keepdims=True),
        np.float32(np.inf),
        table.values,
    )
    streams = tuple(
        f"{stream}/{feature}" for stream in table.streams for feature in table.features
    )
    stream = (table.stream[row].astype(np.int64) * len(table.features) + metric).astype(
        np.int32
    )
    label = None if table.label is None else table.label[row]
    wholes = tuple(name for name in table.streams for _ in table.features)
    return Table(
        table.path,
        (VALUE,),
        streams,
        stream,
        table.times[row],
        values[row, metric][:, None],
        label,
        wholes,
    )


def _long(raw: pa.Table, path: Path) -> Table:
    """One row for each row that holds a number."""
    table = wide(raw, path, (VALUE,))
    metric = pc.dictionary_encode(raw[METRIC].cast(pa.string()).combine_chunks())
    if metric.null_count or pc.any(pc.equal(metric.dictionary, "")).as_py():
        row = next(
            i for i, name in enumerate(raw[METRIC].to_pylist()) if name in (None, "")
        )
        raise DataError(
            f"{path}, row {row + 1}: the feature is empty; name the metric that the value is of"
        )
    features = metric.dictionary.to_pylist()
    keep = ~np.isnan(table.values[:, 0])
    index = np.asarray(metric.indices.to_numpy(zero_copy_only=False), np.int64)
    stream = (table.stream.astype(np.int64) * len(features) + index).astype(np.int32)
    streams = tuple(
        f"{name}/{feature}" for name in table.streams for feature in features
    )
    label = None if table.label is None else table.label[keep]
    wholes = tuple(name for name in table.streams for _ in features)
    return Table(
        path,
        (VALUE,),
        streams,
        stream[keep],
        table.times[keep],
        table.values[keep],
        label,
        wholes,
    )
