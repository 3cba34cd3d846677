"""DATA: history in CSV or Parquet, wide, as ``fit`` and ``replay`` read it.

A file's columns are ``timestamp,stream,<feature>...``. ``timestamp`` is epoch seconds
or ISO 8601 (without an offset: UTC). ``stream`` is optional: without it the file's stem
names the stream. An empty cell is a missing value. A directory means all its ``.csv``
and ``.parquet`` files, in name order; they must have the same features. If a bundle
names the features, extra columns of any type are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from detector.errors import DataError
from detector.events import F32, F64
from detector.timestamps import EARLIEST, LATEST, seconds, unit_hint

RESERVED = ("timestamp", "stream", "label")  # columns that are not features
# The end of an ISO 8601 time of day that names its offset, or Z.
_OFFSET = r"([zZ]|[+-]\d\d(:?\d\d){0,2})$"
_DATE = 10  # characters of a date, which may end as an offset does
# Columns that pandas writes for an index without a name.
_INDEX = re.compile(r"|__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class Table:
    """One file of DATA, in its own row order.

    Attributes:
        streams: the distinct streams [N].
        stream: int32 [n], index into ``streams``.
        times: float64 [n], epoch seconds.
        values: float32 [n, F], NaN where missing, infinite where float32 can't hold
            them.
        label: float64 [n] of the optional ``label`` column, or None.
        parted: [N], what each stream is a metric of, if every metric is a stream; else
            None.
        aside: columns that were ignored: they are not features of the bundle.
        without_offset: rows whose time names no offset, and is taken as UTC.
    """

    path: Path
    features: tuple[str, ...]
    streams: tuple[str, ...]
    stream: npt.NDArray[np.int32]
    times: F64
    values: F32
    label: F64 | None = None
    parted: tuple[str, ...] | None = None
    aside: tuple[str, ...] = ()
    without_offset: int = 0

    @property
    def finite(self) -> F32:
        """The values, NaN where they are infinite."""
        return np.where(np.isinf(self.values), np.float32(np.nan), self.values)

    @property
    def wholes(self) -> tuple[str, ...]:
        """The stream in the file that each of ``streams`` comes from."""
        return self.streams if self.parted is None else self.parted

    def __len__(self) -> int:
        return len(self.times)

    def by_stream(self) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
        """Each stream that has rows, and their indices, in their order."""
        order = np.argsort(self.stream, kind="stable")
        counts = np.bincount(self.stream, minlength=len(self.streams))
        parts = np.split(order, np.cumsum(counts)[:-1])
        for name, rows in zip(self.streams, parts, strict=True):
            if len(rows):
                yield name, rows


def data_files(data: Path) -> list[Path]:
    """The files that DATA means, in name order. Raises DataError if there are none."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise DataError(
            f"no data at {data}: name a .csv or .parquet file, or a directory of them"
        )
    files = sorted(
        p for p in data.iterdir() if p.suffix in (".csv", ".parquet") and p.is_file()
    )
    if not files:
        raise DataError(f"{data} holds no .csv and no .parquet file")
    return files


def read_tables(data: Path, features: Sequence[str] = ()) -> list[Table]:
    """Every file of DATA, as :func:`read_table` reads it.

    Raises DataError if one can't be read, their features differ, or none has a row.
    """
    tables = [read_table(path, features) for path in data_files(data)]
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


def read_table(path: Path, features: Sequence[str] = ()) -> Table:
    """One file: these features of it, or all if none are named.

    Raises DataError that names the file, the column and the remedy.
    """
    raw = opened(path)
    columns = [c for c in raw.column_names if c not in RESERVED]
    if not columns:
        raise DataError(
            f"{path} has no feature column beside {', '.join(raw.column_names)}"
        )
    missing = [feature for feature in features if feature not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the bundle's features {', '.join(missing)}:"
            f" it has {', '.join(columns)}"
        )
    read = tuple(features or columns)
    aside = tuple(column for column in columns if column not in read)
    return replace(wide(raw, path, read), aside=aside)


def opened(path: Path) -> pa.Table:
    """A file as it is, with a time column. Raises DataError."""
    is_parquet = path.suffix == ".parquet"
    try:
        raw = pyarrow.parquet.read_table(path) if is_parquet else _read_csv(path)
        columns: list[str] = raw.column_names
    except UnicodeDecodeError:
        raise DataError(
            f"{path} can't be read: its column names are not UTF-8; save it as UTF-8"
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    if "timestamp" not in columns:
        held = ", ".join(columns)
        remedy = _separator_hint(columns) or "name its time column so"
        raise DataError(f"{path} has no `timestamp` column (it has {held}): {remedy}")
    if len(set(columns)) != len(columns):
        raise DataError(f"{path} names a column twice: {', '.join(columns)}")
    return raw.drop_columns([c for c in columns if _INDEX.fullmatch(c)])


def _separator_hint(columns: Sequence[str]) -> str:
    """The remedy for a file whose single column holds another separator, else empty."""
    if len(columns) == 1:
        for separator in ";\t|":
            if separator in columns[0]:
                return f"it is separated by {separator!r}: save it with commas"
    return ""


def wide(raw: pa.Table, path: Path, features: tuple[str, ...]) -> Table:
    """These columns of a file as features. Raises DataError."""
    streams, stream = _streams(raw, path)
    values = np.empty((raw.num_rows, len(features)), np.float32)
    with np.errstate(over="ignore"):
        for j, name in enumerate(features):
            values[:, j] = _numbers(raw[name], path, name)
    has_label = "label" in raw.column_names
    return Table(
        path=path,
        features=features,
        streams=streams,
        stream=stream,
        times=_times(raw["timestamp"], path),
        values=values,
        label=_numbers(raw["label"], path, "label") if has_label else None,
        without_offset=_count_without_offset(raw["timestamp"]),
    )


def _read_csv(path: Path) -> pa.Table:
    text = {name: pa.string() for name in ("timestamp", "stream")}
    missing = ["", "NaN", "nan", "NA", "null", "NULL"]
    convert = pyarrow.csv.ConvertOptions(
        column_types=text, null_values=missing, strings_can_be_null=False
    )
    return pyarrow.csv.read_csv(path, convert_options=convert)


def _numbers(column: pa.ChunkedArray, path: Path, name: str) -> F64:
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not any(is_kind(kind) for is_kind in _NUMERIC):
        row, cell = _first_text(column)
        raise DataError(
            f"{path}, row {row}: column `{name}` holds {cell!r}, which is not a number;"
            " correct it, leave it empty, or drop the column"
        )
    with np.errstate(over="ignore"):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


_NUMERIC = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal,
)


def _first_text(column: pa.ChunkedArray) -> tuple[int, object]:
    """The number of the first row that is not a number, from 1, and its cell."""
    for row, cell in enumerate(column.to_pylist(), start=1):
        if cell is not None and not is_number(cell):
            return row, cell
    return 1, None


def is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _streams(
    raw: pa.Table, path: Path
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    if "stream" not in raw.column_names:
        return (path.stem,), np.zeros(raw.num_rows, np.int32)
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


def _times(column: pa.ChunkedArray, path: Path) -> F64:
    if pa.types.is_timestamp(column.type):
        times = _of_timestamps(column)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        times = _of_text(column, path)
    else:
        times = _numbers(column, path, "timestamp")
    bad = ~((times > EARLIEST) & (times < LATEST))
    if bad.any():
        row = int(np.argmax(bad))
        remedy = unit_hint(float(times[row]))
        raise DataError(
            f"{path}, row {row + 1}: timestamp {column[row].as_py()!r} is not"
            f" epoch seconds between 1970 and 2100 nor ISO 8601{remedy}"
        )
    return times


def _count_without_offset(column: pa.ChunkedArray) -> int:
    """Rows of dates and times that name no offset; epoch seconds need none."""
    if pa.types.is_timestamp(column.type):
        return 0 if column.type.tz else len(column)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not is_text or not len(column) or is_number(column[0].as_py()):
        return 0
    time_of_day = pc.utf8_slice_codeunits(column, _DATE)
    named = pc.sum(pc.match_substring_regex(time_of_day, _OFFSET)).as_py() or 0
    return len(column) - int(named)


def _of_timestamps(column: pa.ChunkedArray) -> F64:
    in_microseconds = pa.timestamp("us", column.type.tz)
    counts = pc.cast(column.cast(in_microseconds, safe=False), pa.int64())
    return np.asarray(counts.to_numpy(), np.float64) / 1e6


def _of_text(column: pa.ChunkedArray, path: Path) -> F64:
    """Epoch seconds if all cells are numbers, else ISO 8601."""
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        cells = enumerate(column.to_pylist(), start=1)
        return np.array([_iso(cell, path, row) for row, cell in cells], np.float64)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _iso(cell: str | None, path: Path, row: int) -> float:
    try:
        return seconds(cell or "")
    except ValueError:
        raise DataError(
            f"{path}, row {row}: timestamp {cell!r} is neither epoch seconds"
            " nor ISO 8601"
        ) from None


def _reordered(table: Table, features: tuple[str, ...]) -> Table:
    order = [table.features.index(f) for f in features]
    values = np.ascontiguousarray(table.values[:, order])
    return replace(table, features=features, values=values)
