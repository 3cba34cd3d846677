"""DATA if each metric is a stream: files split into streams ``<stream>/<metric>``.

A wide file gives one row for each cell that holds a number, row by row, in the order of
its columns. Files may have different columns. A column without any number is ignored.

A narrow file has one row for each metric: a column names it, and another holds its
number. Other columns (a unit, a region) are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.data.cells import read_cells, unknown_units
from detector.data.columns import is_text
from detector.data.files import Opened, data_files, open_file
from detector.data.narrow import Narrow
from detector.data.read_options import ReadOptions
from detector.data.record_files import is_record_file, read_records
from detector.data.table import RESERVED, StreamFacts, Table
from detector.data.wide import narrow, wide
from detector.errors import DataError
from detector.events import F64
from detector.events import SINGLE_METRIC as VALUE
from detector.names import metric_stream
from detector.phrases import listed

_LISTED = 3  # words that a sentence names
_DEFAULT = ReadOptions()


def read_metrics(data: Path, options: ReadOptions = _DEFAULT) -> list[Table]:
    """Every file of DATA, with the one feature ``value``. Raises DataError."""
    tables = [_read_metrics(path, options, data) for path in data_files(data)]
    if not any(map(len, tables)):
        raise DataError(f"{data} has no rows with a value")
    return tables


def _read_metrics(path: Path, options: ReadOptions, top: Path) -> Table:
    if is_record_file(path):
        return _long(read_records(path, options))
    return _metrics(open_file(path, options, top=top), options)


def _metrics(opened: Opened, options: ReadOptions) -> Table:
    if opened.is_narrow:
        return _long(narrow(opened, options))
    raw = opened.raw
    columns = [c for c in raw.column_names if c not in RESERVED]
    features = tuple(c for c in columns if _has_numbers(raw[c], opened.decimal))
    notes = _unknown_units(opened, [c for c in columns if c not in features])
    if not features:
        beside = ", ".join(c for c in raw.column_names if c in RESERVED)
        raise DataError(
            f"{opened.path} has no column of numbers beside {beside}"
            f"{_example(raw, columns)}: there is no metric in it"
            f"{''.join(f'; {note}' for note in notes)}"
        )
    opened = replace(opened, notes=(*opened.notes, *notes))
    return _apart(wide(opened, features, options))


def _unknown_units(opened: Opened, columns: Sequence[str]) -> list[str]:
    """What is said of columns of numbers with words that are no unit."""
    notes = []
    for name in columns:
        column = opened.raw[name]
        words = unknown_units(column, opened.decimal) if is_text(column.type) else ()
        if words:
            quoted = listed([f"`{word}`" for word in words], _LISTED)
            notes.append(f"`{name}` is no metric: {quoted} is no known unit")
    return notes


def _example(raw: pa.Table, columns: list[str]) -> str:
    """What one of these columns holds instead of numbers, if any is not empty."""
    for column in columns:
        for cell in raw[column].to_pylist():
            if cell not in (None, ""):
                return f" (`{column}` holds {cell!r})"
    return ""


def _has_numbers(column: pa.ChunkedArray, decimal: str) -> bool:
    """Whether it is a metric: text is one if most of its cells are numbers."""
    kind = column.type
    if is_text(kind):
        cells = read_cells(column, decimal)
        return cells is not None and bool(np.isfinite(cells.values).any())
    return not any(is_kind(kind) for is_kind in _WITHOUT_NUMBERS)


_WITHOUT_NUMBERS = (pa.types.is_nested, pa.types.is_temporal, pa.types.is_binary)


def _apart(table: Table) -> Table:
    """One row for each cell that holds a number."""
    row, metric = np.nonzero(~np.isnan(table.values))
    return _of_metrics(
        table,
        table.features,
        row,
        metric,
        table.values[row, metric],
    )


def _long(found: Narrow) -> Table:
    """One row for each row that holds a number."""
    row = np.flatnonzero(~np.isnan(found.table.values[:, 0]))
    return _of_metrics(
        found.table,
        found.metrics,
        row,
        found.metric[row],
        found.table.values[row, 0],
    )


def _of_metrics(
    table: Table,
    features: tuple[str, ...],
    row: npt.NDArray[np.int64],
    metric: npt.NDArray[np.int64],
    values: F64,
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
        without_offset=table.without_offset,
        notes=table.notes,
        facts=_facts_of_metrics(table.facts, len(features)),
    )


def _facts_of_metrics(facts: StreamFacts | None, metrics: int) -> StreamFacts | None:
    """Those of N streams with M metrics as those of N * M streams."""
    if facts is None:
        return None
    labels = [own for own in facts.labels for _ in range(metrics)]
    return StreamFacts(facts.kinds.reshape(-1, 1), tuple(labels))


def _names(streams: Sequence[str], features: Sequence[str]) -> Iterator[str]:
    for stream in streams:
        yield from (metric_stream(stream, feature) for feature in features)
