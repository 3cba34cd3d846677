"""A CSV file as a table of columns, whatever its separator, decimal mark and preamble.

The first line tells the separator: the one that gives the most columns. Where that is
no comma, cells such as ``1,5`` tell a decimal comma. A line ``sep=;`` of Excel, a byte
order mark and gzip are understood. pyarrow reads the rest.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

_SEPARATORS = ",;\t|"
_SAMPLE = 1 << 16  # bytes that tell separator and decimal mark
_EXCEL = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
# `1,234` may be a thousand: it tells nothing.
_WITH_COMMA = re.compile(r"[+-]?\d+,(?!\d{3}$)\d+")
_WITH_POINT = re.compile(r"[+-]?\d+\.\d+")
_MISSING = ["", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "undefined", "-"]
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: one character.
        decimal: the decimal mark.
        skipped: lines before the header.
    """

    separator: str = ","
    decimal: str = "."
    skipped: int = 0


def text_of(path: Path) -> bytes:
    """A file's bytes, unpacked if its name ends in ``.gz``."""
    with pa.input_stream(str(path), compression="detect") as stream:
        data: bytes = stream.read()
    return data


def dialect_of(data: bytes) -> Dialect:
    """The dialect of a file that begins with these bytes."""
    text = data[:_SAMPLE].decode("utf-8", "replace").removeprefix(_BOM)
    excel = _EXCEL.match(text)
    if excel is not None:
        separator = excel[1]
        lines = text[excel.end() :].splitlines()
        return Dialect(separator, _decimal_mark(lines, separator), 1)
    lines = text.splitlines()
    header = lines[0] if lines else ""
    separator = max(_SEPARATORS, key=lambda mark: len(_cells(header, mark)))
    return Dialect(separator, _decimal_mark(lines, separator))


def read_csv(data: bytes, dialect: Dialect) -> pa.Table:
    """The columns of a file. Numbers are inferred; all other cells are text.

    Raises pyarrow's exceptions for bytes that are no such table.
    """
    convert = pyarrow.csv.ConvertOptions(
        null_values=_MISSING,
        strings_can_be_null=False,
        decimal_point=dialect.decimal,
        timestamp_parsers=[_NO_TIMES],
        column_types={name: pa.string() for name in _text_columns(data, dialect)},
    )
    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        pyarrow.csv.ReadOptions(skip_rows=dialect.skipped),
        pyarrow.csv.ParseOptions(
            delimiter=dialect.separator,
            newlines_in_values=True,
        ),
        convert,
    )


# A format that no cell has: times stay text, so that their offsets are seen.
_NO_TIMES = "%Y no time %S"
# Columns that are text even if all their cells are numbers: host 007 is not 7.
_TEXT = ("timestamp", "stream")


def _text_columns(data: bytes, dialect: Dialect) -> list[str]:
    text = data[:_SAMPLE].decode("utf-8", "replace").removeprefix(_BOM)
    lines = text.splitlines()[dialect.skipped :]
    header = _cells(lines[0], dialect.separator) if lines else []
    return [name for name in header if name.strip().lower() in _TEXT]


def _decimal_mark(lines: list[str], separator: str) -> str:
    """A comma if cells have one between digits and none has a point there."""
    if separator == ",":
        return "."
    commas = 0
    for line in lines[1:]:
        for cell in _cells(line, separator):
            if _WITH_POINT.fullmatch(cell.strip()):
                return "."
            commas += bool(_WITH_COMMA.fullmatch(cell.strip()))
    return "," if commas else "."


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]
