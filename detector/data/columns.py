"""Which column is the time, which the stream, and which names a metric.

A file whose columns are called ``timestamp`` and ``stream`` needs no guess. In other
files the usual names are taken, and the user is told which: of a time as in records of
a topic, of others in the order of the lists below. An option that names a column is
obeyed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from detector.data.times import is_time
from detector.ingest.json_objects.field_names import (
    clock_rank,
    is_clock,
    is_plain_time,
)

TIMESTAMP: Final = "timestamp"
STREAM: Final = "stream"
LABEL: Final = "label"
METRIC: Final = "feature"  # of a narrow file: the name of the metric
VALUE: Final = "value"  # of a narrow file: its number

# Names in lower case, the most telling first.
_STREAMS: Final = (
    STREAM,
    "series",
    "host",
    "hostname",
    "host_name",
    "instance",
    "server",
    "machine",
    "node",
    "pod",
    "device",
    "device_id",
    "deviceid",
    "sensor",
    "sensor_id",
    "asset",
    "entity",
)
_METRICS: Final = (
    METRIC,
    "metric",
    "metric_name",
    "_field",
    "field",
    "variable",
    "parameter",
    "measure",
    "counter",
    "item",
    "name",
)
_VALUES: Final = (VALUE, "_value", "metric_value", "val", "reading")
# Cells of a column that are looked at to tell what it holds.
_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns that are no metric.

    Attributes:
        time: the column of times.
        stream: the column that names the stream; None: none does.
        metric, value: of a narrow file, the columns with the metric's name and its
            number; None: the file is wide.
    """

    time: str
    stream: str | None
    metric: str | None = None
    value: str | None = None

    def names(self) -> dict[str, str]:
        """What each of these columns is called in a plain file."""
        roles = {
            TIMESTAMP: self.time,
            STREAM: self.stream,
            METRIC: self.metric,
            VALUE: self.value,
        }
        return {column: role for role, column in roles.items() if column is not None}


def find_time(
    raw: pa.Table, chosen: str | None, taken: Collection[str], form: str = ""
) -> str | None:
    """The column of times, which is not one of ``taken``; None if there is none.

    A name tells as it does in a record of a topic. ``form``: how times are written, in
    the notation of ``strptime``.
    """
    if chosen is not None:
        return chosen if chosen in raw.column_names else None
    free: list[str] = [name for name in raw.column_names if name not in taken]
    named = [name for name in free if clock_rank(name) is not None]
    for name in sorted(named, key=lambda name: (clock_rank(name), name != TIMESTAMP)):
        if is_plain_time(name) or _holds_times(raw[name], form):
            return name
    with_times = [name for name in free if _holds_dates(raw[name], form)]
    return with_times[0] if len(with_times) == 1 else None


def find_stream(
    raw: pa.Table, chosen: str | None, taken: Collection[str]
) -> str | None:
    """The column of streams, which is not one of ``taken``; None if there is none."""
    if chosen is not None:
        return chosen if chosen in raw.column_names else None
    free = [name for name in raw.column_names if name not in taken]
    for name in _all_named(free, _STREAMS):
        is_id = name.lower().endswith("id")
        if name == STREAM or is_id or is_text(raw[name].type):
            return name
    return None


def find_metric(
    raw: pa.Table, taken: Collection[str]
) -> tuple[str, str] | tuple[None, None]:
    """The columns of a narrow file with the metric's name and its number.

    A wide file may have metrics of these names: but then the names' column holds
    numbers, or there is no other column of numbers to be named.
    """
    free = [name for name in raw.column_names if name not in taken]
    values = _all_named(free, _VALUES)
    if not values:
        return None, None
    value = values[0]
    for name in _all_named(free, _METRICS):
        is_named = is_text(raw[name].type) and not _holds_numbers(raw[name])
        if name != value and (is_named or set(free) == {METRIC, VALUE}):
            return name, value
    return None, None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return any(
        (
            pa.types.is_string(kind),
            pa.types.is_large_string(kind),
            pa.types.is_string_view(kind),
        )
    )


def _all_named(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns with one of these names in any case, in the order of the names."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(column.strip().lower(), column)
    return [by_name[name] for name in names if name in by_name]


def _holds_times(column: pa.ChunkedArray, form: str) -> bool:
    """Dates, or numbers of a clock's magnitude."""
    if _holds_dates(column, form):
        return True
    cells = _some_cells(column)
    return bool(cells) and all(map(is_clock, cells))


def _holds_dates(column: pa.ChunkedArray, form: str) -> bool:
    if pa.types.is_timestamp(column.type):
        return True
    cells = _some_cells(column)
    if not cells or not is_text(column.type):
        return False
    return all(is_time(cell, form) for cell in cells)


def _holds_numbers(column: pa.ChunkedArray) -> bool:
    return any(map(is_number, _some_cells(column)))


def is_number(cell: object) -> bool:
    """Whether a cell is a number, or text that is one."""
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _some_cells(column: pa.ChunkedArray) -> list[str]:
    """The first cells that are not empty, as text."""
    cells = pc.drop_null(column.slice(0, _LOOKED_AT)).to_pylist()
    return [str(cell) for cell in cells if cell != ""]
