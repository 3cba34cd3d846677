"""DATA: history in CSV or Parquet, wide, as ``training fit`` and ``detector replay``
both read it.

A file's columns are ``timestamp,stream,<feature>...``. ``timestamp`` is epoch seconds
or ISO 8601 (without an offset: UTC); ``stream`` is optional: without it the file's stem
names the stream. An empty cell is a missing value. A directory means all its ``.csv``
and ``.parquet`` files, in name order, which must agree on their features. Where a
bundle says which those are, further columns may hold what they like.
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

RESERVED = ("timestamp", "stream", "label")
# what a data frame's index is saved as that has no name
_INDEX = re.compile(r"|__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class Table:
    """One file of DATA, in its own row order.

    Attributes:
        streams: the distinct streams, N of them.
        stream: int32 [n], index into ``streams``.
        times: float64 [n], epoch seconds.
        values: float32 [n, F], NaN where missing, infinite where it is beyond what
            float32 holds.
        label: float64 [n] of the optional ``label`` column, or None.
        aside: columns that were left aside: no features of the bundle that the file is
            read for.
        parted: what each of ``streams`` is a metric of, where every metric is a stream;
            None elsewhere.
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
        """Each stream that has rows, and which they are, in their order."""
        order = np.argsort(self.stream, kind="stable")
        edges = np.cumsum(np.bincount(self.stream, minlength=len(self.streams)))[:-1]
        yield from (
            (name, rows)
            for name, rows in zip(self.streams, np.split(order, edges), strict=True)
            if len(rows)
        )


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
    """Every file of DATA, as :func:`read_table` reads it. Raises DataError where one
    can't be read, their features differ, or none has a row.
    """
    tables = [read_table(path, features) for path in data_files(data)]
    if not any(map(len, tables)):
        raise DataError(f"{data} has no rows")
    first = tables[0]
    for table in tables[1:]:
        if set(table.features) != set(first.features):
            odd = sorted(set(table.features) ^ set(first.features))
            raise DataError(
                f"{table.path} and {first.path} differ in their features: {', '.join(odd)}; give both the same columns"
            )
    return [
        t if t.features == first.features else _reordered(t, first.features)
        for t in tables
    ]


def read_table(path: Path, features: Sequence[str] = ()) -> Table:
    """One file: these features of it, whatever else it holds, or all where none are
    named.

    Raises DataError that names the file, the column and the remedy.
    """
    raw = opened(path)
    columns = [c for c in raw.column_names if c not in RESERVED]
    if not columns:
        raise DataError(
            f"{path} has no feature column beside {', '.join(raw.column_names)}"
        )
    if missing := [f for f in features if f not in columns]:
        raise DataError(
            f"{path} lacks the bundle's features {', '.join(missing)}: it has {', '.join(columns)}"
        )
    read = tuple(features or columns)
    return replace(
        wide(raw, path, read), aside=tuple(c for c in columns if c not in read)
    )


def opened(path: Path) -> pa.Table:
    """A file as it is, found to have a time column. Raises DataError."""
    try:
        raw = (
            pyarrow.parquet.read_table(path)
            if path.suffix == ".parquet"
            else _read_csv(path)
        )
        columns = raw.column_names
    except UnicodeDecodeError:
        raise DataError(
            f"{path} can't be read: its column names are not UTF-8; save it as UTF-8"
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    if "timestamp" not in columns:
        mark = next((m for m in ";\t|" if len(columns) == 1 and m in columns[0]), None)
        remedy = (
            "name its time column so"
            if mark is None
            else f"it is parted by {mark!r}: save it with commas"
        )
        raise DataError(
            f"{path} has no `timestamp` column (it has {', '.join(columns)}): {remedy}"
        )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path} names a column twice: {', '.join(columns)}")
    return raw.drop_columns([c for c in columns if _INDEX.fullmatch(c)])


def wide(raw: pa.Table, path: Path, features: tuple[str, ...]) -> Table:
    """These columns of a file as features. Raises DataError."""
    streams, stream = _streams(raw, path)
    values = np.empty((raw.num_rows, len(features)), np.float32)
    with np.errstate(over="ignore"):
        for j, name in enumerate(features):
            values[:, j] = _numbers(raw[name], path, name)
    label = (
        _numbers(raw["label"], path, "label") if "label" in raw.column_names else None
    )
    return Table(
        path, features, streams, stream, _times(raw["timestamp"], path), values, label
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
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        row, cell = next(
            (
                (i, v)
                for i, v in enumerate(column.to_pylist())
                if v is not None and not is_number(v)
            ),
            (0, None),
        )
        raise DataError(
            f"{path}, row {row + 1}: column `{name}` holds {cell!r}, which is no number; mend it, leave it empty, or drop the column"
        )
    with np.errstate(over="ignore"):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


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
            f"{path}: the column `stream` holds what is no text ({error}); name the streams in UTF-8"
        ) from None
    if column.null_count or pc.any(pc.equal(column, "")).as_py():
        row = next(i for i, v in enumerate(column.to_pylist()) if not v)
        raise DataError(
            f"{path}, row {row + 1}: the stream is empty; name it, or leave the whole column out"
        )
    encoded = pc.dictionary_encode(column)
    names = tuple(str(n) for n in encoded.dictionary.to_pylist())
    return names, np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int32)


def _times(column: pa.ChunkedArray, path: Path) -> F64:
    if pa.types.is_timestamp(column.type):
        times = (
            np.asarray(
                pc.cast(
                    column.cast(pa.timestamp("us", column.type.tz), safe=False),
                    pa.int64(),
                ).to_numpy(),
                np.float64,
            )
            / 1e6
        )
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            times = np.asarray(
                pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.float64
            )
        except pa.ArrowInvalid:
            times = np.array(
                [_iso(cell, path, row) for row, cell in enumerate(column.to_pylist())],
                np.float64,
            )
    else:
        times = _numbers(column, path, "timestamp")
    bad = ~((times > EARLIEST) & (times < LATEST))
    if bad.any():
        row = int(np.argmax(bad))
        remedy = unit_hint(float(times[row]))
        raise DataError(
            f"{path}, row {row + 1}: timestamp {column[row].as_py()!r} is not epoch seconds between 1970 and 2100 nor ISO 8601{remedy}"
        )
    return times


def _iso(cell: str | None, path: Path, row: int) -> float:
    try:
        return seconds(cell or "")
    except ValueError:
        raise DataError(
            f"{path}, row {row + 1}: timestamp {cell!r} is neither epoch seconds nor ISO 8601"
        ) from None


def _reordered(table: Table, features: tuple[str, ...]) -> Table:
    order = [table.features.index(f) for f in features]
    return Table(
        table.path,
        features,
        table.streams,
        table.stream,
        table.times,
        np.ascontiguousarray(table.values[:, order]),
        table.label,
    )
