"""CSV of InfluxDB: annotated (versions 2 and 3), and of ``influx -format csv``.

An annotated file begins with lines such as ``#datatype,string,long,...``. It holds
tables with headers of their own, a blank line between them. Each row has a time, a
field and its value. Measurement and tags name its stream.

Source: "Annotated CSV" in the reference of InfluxDB v2.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

import pyarrow as pa

from detector.data.columns import METRIC, STREAM, TIMESTAMP, VALUE

_FIELD: Final = "_field"
_VALUE: Final = "_value"
_TIME: Final = "_time"
_MEASUREMENT: Final = "_measurement"
# columns that say nothing of the series: what the query was
_OF_QUERY: Final = ("", "result", "table", "_start", "_stop", _TIME, _VALUE, _FIELD)
# the header of `influx -format csv` begins with these
_VERSION_1: Final = ("name", "tags", "time")


def is_annotated(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").startswith(
        (b"#datatype", b"#group", b"#default")
    )


def read_annotated(data: bytes) -> pa.Table:
    """A narrow table: timestamp, stream, feature and value, all text.

    Raises UnicodeDecodeError, or ValueError if a table has no time, field or value.
    """
    columns: dict[str, list[str]] = {
        TIMESTAMP: [],
        STREAM: [],
        METRIC: [],
        VALUE: [],
    }
    for row in _rows(data.decode("utf-8-sig")):
        columns[TIMESTAMP].append(row[_TIME])
        columns[STREAM].append(_series(row))
        columns[METRIC].append(row[_FIELD])
        columns[VALUE].append(row[_VALUE])
    return pa.table(
        {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
    )


def is_version_1(raw: pa.Table) -> bool:
    return tuple(raw.column_names[:3]) == _VERSION_1


def from_version_1(raw: pa.Table) -> pa.Table:
    """The wide table of ``influx -format csv``: name and tags become the stream."""
    measurements = raw["name"].cast(pa.string()).to_pylist()
    tags = raw["tags"].cast(pa.string()).to_pylist()
    names = [
        series_name(measurement or "", dict(_split_tags(text or "")))
        for measurement, text in zip(measurements, tags, strict=True)
    ]
    fields = raw.drop_columns(["name", "tags"]).rename_columns(
        [TIMESTAMP, *raw.column_names[3:]]
    )
    return fields.append_column(STREAM, pa.array(names, pa.string()))


def series_name(measurement: str, tags: Mapping[str, str]) -> str:
    """``host/measurement{tag=value,...}``, as records of line protocol are named."""
    host = tags.get("host", "")
    others = ",".join(
        f"{key}={value}" for key, value in sorted(tags.items()) if key != "host"
    )
    prefix = f"{host}/" if host else ""
    suffix = f"{{{others}}}" if others else ""
    return f"{prefix}{measurement}{suffix}"


def _split_tags(text: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        yield key, value


def _rows(text: str) -> Iterator[dict[str, str]]:
    """The rows of all tables, by column."""
    header: list[str] | None = None
    for cells in csv.reader(io.StringIO(text)):
        if not any(cells) or cells[0].startswith("#"):
            header = None
            continue
        if header is None:
            header = cells
            missing = [name for name in (_TIME, _FIELD, _VALUE) if name not in cells]
            if missing:
                raise ValueError(
                    f"a table of it has no column {', '.join(missing)}: "
                    "export rows of _time, _field and _value, not pivoted"
                )
            continue
        yield dict(zip(header, cells, strict=False))


def _series(row: Mapping[str, str]) -> str:
    tags = {
        name: value
        for name, value in row.items()
        if value and name != _MEASUREMENT and name not in _OF_QUERY
    }
    return series_name(row.get(_MEASUREMENT, ""), tags)
