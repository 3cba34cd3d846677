"""The files that DATA means, and each one as columns with the names that we use.

A directory means all its files, those of its folders too. A folder ``zone=east`` is a
column ``zone`` of the files in it, as Hive and Spark lay them out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet

from detector.data.columns import (
    LABEL,
    METRIC,
    STREAM,
    TIMESTAMP,
    VALUE,
    Roles,
    find_metric,
    find_stream,
    find_time,
    is_number,
)
from detector.data.csv_text import dialect_of, read_csv, text_of
from detector.data.influx_csv import (
    from_version_1,
    is_annotated,
    is_version_1,
    read_annotated,
)
from detector.data.read_options import ReadOptions
from detector.data.record_files import SUFFIXES as RECORD_SUFFIXES
from detector.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Columns that pandas writes for an index without a name.
_INDEX = re.compile(r"|__index_level_\d+__")
_SEPARATORS = {"\t": "tabs", ";": "';'", "|": "'|'"}


@dataclass(frozen=True, slots=True)
class Opened:
    """A file as columns.

    Attributes:
        raw: columns ``timestamp``, perhaps ``stream`` and ``label``, and the others.
        is_narrow: each row has one metric: ``feature`` names it, ``value`` is its
            number.
        decimal: the file's decimal mark, for cells that are still text.
        notes: what was guessed, for people.
    """

    path: Path
    raw: pa.Table
    is_narrow: bool
    decimal: str
    notes: tuple[str, ...]


def data_files(data: Path) -> list[Path]:
    """The files that DATA means, in name order. Raises DataError if there are none."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise DataError(
            f"no data at {data}: name a .csv or .parquet file, or a directory of them"
        )
    suffixes = (*SUFFIXES, *RECORD_SUFFIXES)
    files = sorted(
        p for p in data.rglob("*") if p.name.endswith(suffixes) and p.is_file()
    )
    if not files:
        raise DataError(f"{data} holds no .csv, no .parquet and no .ndjson file")
    return files


def open_file(
    path: Path,
    options: ReadOptions,
    features: Collection[str] = (),
    top: Path | None = None,
) -> Opened:
    """A file with the columns that we know. Raises DataError.

    ``features`` are never taken for a time or a stream. ``top`` is the directory that
    DATA means: folders below it may be columns.
    """
    raw, notes, decimal = _read(path)
    folders = dict(_folders(path, top or path.parent))
    raw = _with_folders(_plain_types(raw), folders)
    raw = _without_index(raw, path)
    _check_options(raw, options, path)
    roles = _roles(raw, options, features, folders, path)
    names = roles.names()
    notes.extend(_renamed(names))
    no_metrics = [
        name for name in folders if name not in names and is_number(folders[name])
    ]
    raw = _rename(raw.drop_columns(no_metrics), names)
    is_narrow = roles.metric is not None
    return Opened(path, raw, is_narrow, decimal, tuple(notes))


def _without_index(raw: pa.Table, path: Path) -> pa.Table:
    """Raises DataError if two columns have one name."""
    columns: list[str] = raw.column_names
    if len(set(columns)) != len(columns):
        raise DataError(f"{path} names a column twice: {', '.join(columns)}")
    return raw.drop_columns([name for name in columns if _INDEX.fullmatch(name)])


def _roles(
    raw: pa.Table,
    options: ReadOptions,
    features: Collection[str],
    folders: Collection[str],
    path: Path,
) -> Roles:
    """Raises DataError if there is no column of times."""
    taken = {LABEL, *features}
    form = options.time_format
    time = find_time(raw, options.time_column, {*taken, *folders}, form)
    if time is None and _is_separated_by_spaces(raw):
        raise DataError(
            f"{path} seems to be separated by spaces: separate its columns by commas,"
            " semicolons or tabs"
        )
    if time is None:
        raise DataError(
            f"{path} has no `timestamp` column (it has {', '.join(raw.column_names)}):"
            " name its time column so, or say which it is by --time-column"
        )
    stream = find_stream(raw, options.stream_column, {time, *taken})
    metric, value = find_metric(raw, {time, stream or time, *taken})
    return Roles(time, stream, metric, value)


def _is_separated_by_spaces(raw: pa.Table) -> bool:
    """One column that is called like several, with as many words in its first cell."""
    columns: list[str] = raw.column_names
    if len(columns) != 1 or not raw.num_rows:
        return False
    words = len(columns[0].split())
    return 1 < words <= len(str(raw.column(0)[0].as_py()).split())


def _read(path: Path) -> tuple[pa.Table, list[str], str]:
    """A file's columns, what was guessed of it, and its decimal mark."""
    notes: list[str] = []
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.ParquetFile(path).read(), notes, "."
        data = text_of(path)
        if is_annotated(data):
            return read_annotated(data), ["an export of InfluxDB"], "."
        dialect = dialect_of(data)
        raw = read_csv(data, dialect)
        raw.column_names  # noqa: B018  # decodes them
    except UnicodeDecodeError:
        raise DataError(
            f"{path} can't be read: it is not UTF-8; save it as UTF-8"
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    if dialect.separator != ",":
        notes.append(
            f"separated by {_SEPARATORS.get(dialect.separator, dialect.separator)}"
        )
    if dialect.decimal == ",":
        notes.append("decimal commas")
    if is_version_1(raw):
        return from_version_1(raw), [*notes, "an export of InfluxDB"], dialect.decimal
    return raw, notes, dialect.decimal


def _plain_types(raw: pa.Table) -> pa.Table:
    """Text of any kind as plain text, and dictionaries unpacked."""
    for i, column in enumerate(raw.schema):
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        if kind != column.type:
            raw = raw.set_column(i, column.name, raw.column(i).cast(kind))
    return raw


def _with_folders(raw: pa.Table, folders: Mapping[str, str]) -> pa.Table:
    """With a column for each folder ``name=value`` that the file lies in."""
    for name, value in folders.items():
        if name not in raw.column_names:
            cells = pa.array([value] * raw.num_rows, pa.string())
            raw = raw.append_column(name, cells)
    return raw


def _folders(path: Path, top: Path) -> Iterator[tuple[str, str]]:
    """The folders ``name=value`` between ``top`` and the file."""
    if not path.is_relative_to(top):
        return
    for folder in path.relative_to(top).parts[:-1]:
        name, sign, value = folder.partition("=")
        if sign:
            yield name, unquote(value)


def _check_options(raw: pa.Table, options: ReadOptions, path: Path) -> None:
    """Raises DataError if an option names a column that is not there."""
    named = (
        ("--time-column", options.time_column),
        ("--stream-column", options.stream_column),
    )
    for option, column in named:
        if column is not None and column not in raw.column_names:
            raise DataError(
                f"{path} has no column `{column}`, which {option} names:"
                f" it has {', '.join(raw.column_names)}"
            )


def _renamed(names: dict[str, str]) -> Iterator[str]:
    """What is said of columns that have other names."""
    words = {
        TIMESTAMP: "the time",
        STREAM: "the stream",
        METRIC: "the metric's name",
        VALUE: "its value",
    }
    for column, role in names.items():
        if column != role:
            yield f"`{column}` is {words[role]}"


def _rename(raw: pa.Table, names: dict[str, str]) -> pa.Table:
    """The table with these names; a column that has a new name already gives it up."""
    renamed = [names.get(column, column) for column in raw.column_names]
    for i, column in enumerate(raw.column_names):
        if column not in names and column in names.values():
            renamed[i] = f"{column} (2)"
    return raw.rename_columns(renamed)
