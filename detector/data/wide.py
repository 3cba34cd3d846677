"""DATA as ``fit`` and ``replay`` read it for a bundle of features: CSV or Parquet.

A wide file's columns are ``timestamp,stream,<feature>...``. A narrow file has a row for
each metric; its rows of one stream and time become one. ``stream`` is optional: without
it the file's stem names the stream. An empty cell is a missing value. Files must have
the same features. If a bundle names the features, extra columns are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.data.cells import read_cells, unknown_units
from detector.data.columns import METRIC, VALUE, is_number, is_text
from detector.data.files import Opened, data_files, open_file
from detector.data.narrow import Narrow, pivoted
from detector.data.read_options import ReadOptions
from detector.data.record_files import is_record_file, read_records
from detector.data.table import RESERVED, Table
from detector.data.times import Times, read_times
from detector.errors import DataError
from detector.events import F64, I64
from detector.names import encoded
from detector.phrases import listed

# Distinct texts of a column that may tell streams apart: a column with more is prose.
_MAX_TAGS = 10_000
_LISTED = 3  # words that a sentence names
_DEFAULT = ReadOptions()


def read_tables(
    data: Path, features: Sequence[str] = (), options: ReadOptions = _DEFAULT
) -> list[Table]:
    """Every file of DATA, as :func:`read_table` reads it.

    Raises DataError if one can't be read, their features differ, or none has a row.
    """
    tables = [read_table(path, features, options, data) for path in data_files(data)]
    if not any(map(len, tables)):
        raise DataError(f"{data} has no rows")
    first = tables[0]
    for table in tables[1:]:
        if set(table.features) != set(first.features):
            differing = sorted(set(table.features) ^ set(first.features))
            raise DataError(
                f"{table.path} and {first.path} differ in their features:"
                f" {', '.join(differing)}; give both the same columns"
            )
    return [
        t if t.features == first.features else _reordered(t, first.features)
        for t in tables
    ]


def read_table(
    path: Path,
    features: Sequence[str] = (),
    options: ReadOptions = _DEFAULT,
    top: Path | None = None,
) -> Table:
    """One file: these features of it, or all if none are named.

    ``top`` is the directory that DATA means. Raises DataError that names the file, the
    column and the remedy.
    """
    if is_record_file(path):
        return pivoted(read_records(path, options), path, tuple(features))
    opened = open_file(path, options, features, top)
    if opened.is_narrow:
        return pivoted(narrow(opened, options), path, tuple(features))
    columns = [c for c in opened.raw.column_names if c not in RESERVED]
    if not columns:
        raise DataError(
            f"{path} has no feature column beside {', '.join(opened.raw.column_names)}"
        )
    missing = [feature for feature in features if feature not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the bundle's features {', '.join(missing)}:"
            f" it has {', '.join(columns)}"
        )
    read = tuple(features or columns)
    aside = tuple(column for column in columns if column not in read)
    table = wide(opened, read, options)
    names = tuple(map(encoded, table.streams))
    return replace(table, streams=names, aside=aside)


def wide(opened: Opened, features: tuple[str, ...], options: ReadOptions) -> Table:
    """These columns of a file as features. Raises DataError."""
    raw = opened.raw
    keys = _keys(opened, options, features)
    values = np.empty((raw.num_rows, len(features)))
    notes = [*opened.notes, *keys.notes]
    for j, name in enumerate(features):
        values[:, j] = _numbers(opened, name, notes)
    return Table(
        path=opened.path,
        features=features,
        streams=keys.streams,
        stream=keys.stream,
        times=keys.times.seconds,
        values=values,
        label=_label(opened),
        without_offset=keys.times.local,
        notes=tuple(notes),
    )


def narrow(opened: Opened, options: ReadOptions) -> Narrow:
    """Raises DataError, for example for a row without a metric's name."""
    named = pc.dictionary_encode(opened.raw[METRIC].cast(pa.string()).combine_chunks())
    if named.null_count or pc.any(pc.equal(named.dictionary, "")).as_py():
        names = enumerate(opened.raw[METRIC].to_pylist(), start=1)
        empty = next(row for row, name in names if name in (None, ""))
        raise DataError(
            f"{opened.path}, row {empty}: the feature is empty;"
            " name the metric that the value is of"
        )
    metric = np.asarray(named.indices.to_numpy(zero_copy_only=False), np.int64)
    return Narrow(
        wide(opened, (VALUE,), options),
        tuple(named.dictionary.to_pylist()),
        metric,
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    """Streams and times of a file's rows; see :class:`Table`."""

    streams: tuple[str, ...]
    stream: npt.NDArray[np.int32]
    times: Times
    notes: tuple[str, ...]


def _keys(opened: Opened, options: ReadOptions, features: Collection[str]) -> _Keys:
    raw = opened.raw
    streams, stream = _streams(raw, opened.path)
    times = read_times(
        raw["timestamp"],
        stream,
        options.zone,
        opened.path,
        options.time_format,
    )
    notes = [f"times in {times.unit}"] if times.unit else []
    if times.local and options.zone is not _DEFAULT.zone:
        notes.append(f"times without an offset taken as {options.zone}")
    tags = _telling_columns(opened, features, stream, times.seconds)
    if tags:
        notes.append(
            f"streams told apart by {', '.join(f'`{tag}`' for tag in tags)} too"
        )
        streams, stream = _with_tags(raw, tags, streams, stream)
    return _Keys(streams, stream, times, tuple(notes))


def _telling_columns(
    opened: Opened,
    features: Collection[str],
    stream: npt.NDArray[np.int32],
    times: F64,
) -> list[str]:
    """Columns of text without which rows of one stream have the same time.

    An export has them as tags: ``cpu`` beside ``host``. No column is taken if the rows
    stay as repeated with all of them.
    """
    raw = opened.raw
    known = {*RESERVED, METRIC, *features}
    candidates = []
    for name in raw.column_names:
        if name not in known and is_text(raw[name].type):
            distinct = pc.count_distinct(raw[name]).as_py()
            if 1 < distinct <= _MAX_TAGS:
                candidates.append((distinct, name))
    if not candidates:
        return []
    keys: list[npt.NDArray[Any]] = [stream, times]
    if opened.is_narrow:
        keys.append(_codes(raw[METRIC]))
    repeated = _count_repeated(keys)
    taken: list[str] = []
    for _, name in sorted(candidates):
        if not repeated:
            break
        left = _count_repeated([*keys, _codes(raw[name])])
        if left < repeated:
            keys.append(_codes(raw[name]))
            taken.append(name)
            repeated = left
    return [] if repeated else taken


def _codes(column: pa.ChunkedArray) -> I64:
    encoded = pc.dictionary_encode(column.combine_chunks()).indices.fill_null(-1)
    return np.asarray(encoded.to_numpy(zero_copy_only=False), np.int64)


def _count_repeated(keys: Sequence[npt.NDArray[Any]]) -> int:
    """How many rows have the same keys as one before."""
    pairs = np.rec.fromarrays(keys)
    return len(pairs) - len(np.unique(pairs))


def _with_tags(
    raw: pa.Table,
    tags: Sequence[str],
    streams: tuple[str, ...],
    stream: npt.NDArray[np.int32],
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The streams with ``{tag=value,...}`` after their names."""
    cells = [raw[tag].to_pylist() for tag in sorted(tags)]
    names: dict[str, int] = {}
    numbers = np.empty(len(stream), np.int32)
    for i, values in enumerate(zip(*cells, strict=True)):
        pairs = zip(sorted(tags), values, strict=True)
        inside = ",".join(f"{tag}={value}" for tag, value in pairs if value)
        name = f"{streams[stream[i]]}{{{inside}}}" if inside else streams[stream[i]]
        numbers[i] = names.setdefault(name, len(names))
    return tuple(names), numbers


def _numbers(opened: Opened, name: str, notes: list[str]) -> F64:
    """float64 [n] of a column. What is said of it is added to ``notes``."""
    column = opened.raw[name]
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if any(is_kind(kind) for is_kind in _NUMERIC):
        return np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    cells = read_cells(column, opened.decimal) if is_text(kind) else None
    if cells is None:
        row, cell = _first_text(column)
        words = unknown_units(column, opened.decimal) if is_text(kind) else ()
        what = f"and {_quoted(words)} is no known unit" if words else "no number"
        raise DataError(
            f"{opened.path}, row {row}: column `{name}` holds {cell!r}, {what};"
            " write a number, leave it empty, or drop the column"
        )
    if cells.units:
        read_as = f" as {cells.base}" if cells.base not in cells.units else ""
        notes.append(f"`{name}` has units ({', '.join(cells.units)}), read{read_as}")
    if cells.unknown:
        notes.append(f"`{name}`: {_quoted(cells.unknown)} is no known unit")
    if cells.first_bad is not None:
        row, text = cells.first_bad
        notes.append(
            f"`{name}`: {_bad_cells(cells.bad)} as missing"
            f" (the first: row {row}, {text!r})"
        )
    return cells.values


def _quoted(words: Sequence[str]) -> str:
    return listed([f"`{word}`" for word in words], _LISTED)


def _bad_cells(count: int) -> str:
    if count == 1:
        return "1 cell is no number and counts"
    return f"{count:,} cells are no numbers and count"


_NUMERIC = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal,
)


def _label(opened: Opened) -> F64 | None:
    if "label" not in opened.raw.column_names:
        return None
    return _numbers(opened, "label", [])


def _first_text(column: pa.ChunkedArray) -> tuple[int, object]:
    """The number of the first row that is not a number, from 1, and its cell."""
    for row, cell in enumerate(column.to_pylist(), start=1):
        if cell is not None and not is_number(cell):
            return row, cell
    return 1, None


def _streams(
    raw: pa.Table, path: Path
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    if "stream" not in raw.column_names:
        stem = path.name.split(".")[0] if path.name.endswith(".gz") else path.stem
        return (stem,), np.zeros(raw.num_rows, np.int32)
    try:
        column = raw["stream"].cast(pa.string()).combine_chunks()
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: the column `stream` is not text ({error});"
            " name the streams in UTF-8"
        ) from None
    if column.null_count or pc.any(pc.equal(column, "")).as_py():
        row = next(i for i, name in enumerate(column.to_pylist(), 1) if not name)
        raise DataError(
            f"{path}, row {row}: the stream is empty;"
            " name it, or leave the whole column out"
        )
    encoded = pc.dictionary_encode(column)
    names = tuple(str(n) for n in encoded.dictionary.to_pylist())
    return names, np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int32)


def _reordered(table: Table, features: tuple[str, ...]) -> Table:
    order = [table.features.index(f) for f in features]
    values = np.ascontiguousarray(table.values[:, order])
    return replace(table, features=features, values=values)


def file_notes(tables: Sequence[Table]) -> Iterator[str]:
    """What was guessed of the files, a line for all files of which it is the same."""
    by_notes: dict[tuple[str, ...], list[str]] = {}
    for table in tables:
        notes = table.notes
        if table.is_newest_first:
            notes = (*notes, "newest first: read from its end")
        if table.is_without_order:
            notes = (*notes, "in no order: its rows are taken by time")
        if notes:
            by_notes.setdefault(notes, []).append(table.path.name)
    for notes, files in by_notes.items():
        others = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
        yield f"{files[0]}{others}: {'; '.join(notes)}"
