"""DATA if each metric is a stream: files split into streams ``<stream>/<metric>``.

A wide file gives one row for each cell that holds a number, row by row, in the order of
its columns. Files may have different columns. A column without any number is ignored.

A long file has one row for each metric: a column ``feature`` names it, and a column
``value`` holds its number, beside ``timestamp``, ``stream`` and ``label``. Other
columns (a unit, a region) are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.data.csv_and_parquet import (
    RESERVED,
    Table,
    data_files,
    is_number,
    opened,
    wide,
)
from detector.errors import DataError
from detector.events import F32
from detector.events import SINGLE_METRIC as VALUE

METRIC = "feature"  # the column of a long file that names the metric


def read_metrics(data: Path) -> list[Table]:
    """Every file of DATA, with the one feature ``value``. Raises DataError."""
    tables = [_metrics(opened(path), path) for path in data_files(data)]
    if not any(map(len, tables)):
        raise DataError(f"{data} has no rows with a value")
    return tables


def _metrics(raw: pa.Table, path: Path) -> Table:
    columns = [c for c in raw.column_names if c not in RESERVED]
    if _is_long(raw, columns):
        return _long(raw, path)
    features = tuple(c for c in columns if _has_numbers(raw[c]))
    if not features:
        beside = ", ".join(c for c in raw.column_names if c in RESERVED)
        raise DataError(
            f"{path} has no column of numbers beside {beside}"
            f"{_example(raw, columns)}: there is no metric in it"
        )
    return _apart(wide(raw, path, features))


def _is_long(raw: pa.Table, columns: list[str]) -> bool:
    """Whether each row names its metric. A wide file may have metrics of these names,
    but then the names' column holds numbers.
    """
    if set(columns) == {METRIC, VALUE}:
        return True
    return {METRIC, VALUE} <= set(columns) and not _has_numbers(raw[METRIC])


def _example(raw: pa.Table, columns: list[str]) -> str:
    """What one of these columns holds instead of numbers, if any is not empty."""
    for column in columns:
        for cell in raw[column].to_pylist():
            if cell not in (None, ""):
                return f" (`{column}` holds {cell!r})"
    return ""


def _has_numbers(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if any(is_kind(kind) for is_kind in _TEXT):
        cells = pc.unique(column).to_pylist()
        return any(is_number(cell) for cell in cells if cell is not None)
    return not any(is_kind(kind) for is_kind in _WITHOUT_NUMBERS)


_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
_WITHOUT_NUMBERS = (pa.types.is_nested, pa.types.is_temporal, pa.types.is_binary)


def _apart(table: Table) -> Table:
    """One row for each cell that holds a number."""
    row, metric = np.nonzero(~np.isnan(table.values))
    # an infinite value makes its whole record unusable, as in the daemon
    is_infinite = np.isinf(table.values).any(axis=1, keepdims=True)
    values = np.where(is_infinite, np.float32(np.inf), table.values)
    return _of_metrics(
        table,
        table.features,
        row,
        metric,
        values[row, metric],
    )


def _long(raw: pa.Table, path: Path) -> Table:
    """One row for each row that holds a number."""
    table = wide(raw, path, (VALUE,))
    named = pc.dictionary_encode(raw[METRIC].cast(pa.string()).combine_chunks())
    if named.null_count or pc.any(pc.equal(named.dictionary, "")).as_py():
        names = enumerate(raw[METRIC].to_pylist(), start=1)
        empty = next(row for row, name in names if name in (None, ""))
        raise DataError(
            f"{path}, row {empty}: the feature is empty;"
            " name the metric that the value is of"
        )
    row = np.flatnonzero(~np.isnan(table.values[:, 0]))
    metric = np.asarray(named.indices.to_numpy(zero_copy_only=False), np.int64)
    features = tuple(named.dictionary.to_pylist())
    return _of_metrics(
        table,
        features,
        row,
        metric[row],
        table.values[row, 0],
    )


def _of_metrics(
    table: Table,
    features: tuple[str, ...],
    row: npt.NDArray[np.int64],
    metric: npt.NDArray[np.int64],
    values: F32,
) -> Table:
    """Each of these cells [k] as a row: the row and the metric that it is of, and its
    value.
    """
    stream = table.stream[row].astype(np.int64) * len(features) + metric
    return Table(
        path=table.path,
        features=(VALUE,),
        streams=tuple(_names(table.streams, features)),
        stream=stream.astype(np.int32),
        times=table.times[row],
        values=values[:, None],
        label=None if table.label is None else table.label[row],
        parted=tuple(np.repeat(table.streams, len(features)).tolist()),
    )


def _names(streams: Sequence[str], features: Sequence[str]) -> Iterator[str]:
    for stream in streams:
        yield from (f"{stream}/{feature}" for feature in features)
