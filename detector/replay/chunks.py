"""DATA as a source: the rows of files as ``replay`` feeds them to the same pipeline
that reads from Kafka.

Theory of operation. A poll is stepped in waves of one row a stream. If a file is sorted
by stream, its rows in their own order make waves of a single row. But streams share
nothing: a stream's result depends on the order of its own rows alone. So the rows are
taken in chunks that memory holds beside DATA. Within a chunk, streams are interleaved:
the first row of each, the second of each, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.data.choose_reader import read_data
from detector.data.csv_and_parquet import Table
from detector.errors import RejectReason
from detector.events import F32, F64, I64, Partition, RecordBatch, RejectedRecord
from detector.state.waves import interleave

PARTITION = Partition("replay", 0)
CHUNK = 1 << 20  # rows of a chunk at most: 8 MiB of times
CELLS = 1 << 25  # values of a chunk at most, if its rows are wide: 128 MiB
POLL = 16_384  # rows fed at once: eight batches of the graph


class Chunk:
    """n rows in input order that are fed interleaved; a record's offset is its place in
    the order in which rows are fed.

    Attributes:
        names: of the streams.
        stream: int64 [n], index into ``names``.
        times: float64 [n], event times in epoch seconds.
        values: float32 [n, F], NaN where missing, infinite where float32 can't hold
            them.
        first: number of rows in DATA before this chunk.
    """

    def __init__(
        self, names: Sequence[str], stream: I64, times: F64, values: F32, first: int = 0
    ) -> None:
        self.names = names
        self.stream = stream
        self.times = times
        self.values = values
        self.first = first
        self._order, _ = interleave(stream)

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, offsets: I64) -> I64:
        """int64 [k]: the rows of this chunk that these records came from."""
        return self._order[offsets - self.first]

    def polls(self) -> Iterator[RecordBatch]:
        """All rows, as polls."""
        for start in range(0, len(self), POLL):
            yield self._poll(start, self._order[start : start + POLL])

    def _poll(self, start: int, rows: I64) -> RecordBatch:
        """A row without a value, or with an infinite one, is rejected, as the daemon
        does.
        """
        offsets = np.arange(len(rows)) + (self.first + start)
        values = self.values.take(rows, axis=0)
        is_empty = np.isnan(values).all(axis=1)
        is_infinite = np.isinf(values).any(axis=1)
        empty = _rejected(
            offsets[is_empty], RejectReason.NO_FEATURES, "every feature is missing"
        )
        infinite = _rejected(
            offsets[is_infinite], RejectReason.INFINITE, "a value is beyond float32"
        )
        kept = ~(is_empty | is_infinite)
        return RecordBatch(
            partition=PARTITION,
            names=[self.names[i] for i in self.stream[rows[kept]].tolist()],
            offsets=offsets[kept],
            times=self.times[rows[kept]],
            values=values[kept],
            next_offset=self.first + start + len(rows),
            rejected=[*empty, *infinite],
        )


def _rejected(offsets: I64, reason: RejectReason, detail: str) -> list[RejectedRecord]:
    return [
        RejectedRecord(PARTITION, offset, reason, detail) for offset in offsets.tolist()
    ]


def count_streams(tables: Sequence[Table]) -> int:
    """How many streams have a point that can be scored.

    A pipeline that was fed with all rows holds as many.
    """
    found: set[str] = set()
    for table in tables:
        has_point = np.zeros(len(table.streams), np.bool_)
        for start in range(0, len(table), POLL):
            rows = slice(start, start + POLL)
            values = table.values[rows]
            has_value = ~np.isnan(values).all(axis=1)
            is_finite = ~np.isinf(values).any(axis=1)
            has_point[table.stream[rows][has_value & is_finite]] = True
        found.update(table.streams[i] for i in np.flatnonzero(has_point).tolist())
    return len(found)


@dataclass(frozen=True, slots=True)
class LastPoint:
    """A row of DATA, and its stream's past up to it.

    Attributes:
        row: number of rows in DATA before it.
        time: event time in epoch seconds.
        unchanged_for: float64 [F], seconds for which each feature has had this value.
    """

    row: int
    time: float
    unchanged_for: F64


class FileSource:
    """All files of DATA are one partition, so that a stream that spans files is one
    stream.

    With ``each_metric``, each metric of a row is a row of its own. Raises DataError.
    """

    def __init__(
        self, data: Path, features: Sequence[str], each_metric: bool = False
    ) -> None:
        self.data = data
        self.each_metric = each_metric
        self._tables = read_data(data, features, each_metric)
        self._chunk_rows = max(1, min(CHUNK, CELLS // max(1, len(features))))
        numbers: dict[str, int] = {}
        for table in self._tables:
            for name in table.streams:
                numbers.setdefault(name, len(numbers))
        self._names = tuple(numbers)
        self._numbers = [
            np.array([numbers[name] for name in table.streams], np.int64)
            for table in self._tables
        ]

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    @property
    def streams(self) -> list[str]:
        """Names of the streams that have rows, sorted."""
        present: set[str] = set()
        for table in self._tables:
            numbers = np.unique(table.stream).tolist()
            present.update(table.streams[i] for i in numbers)
        return sorted(present)

    def count_streams(self) -> int:
        """How many of them have a point that can be scored."""
        return count_streams(self._tables)

    def chunks(self) -> Iterator[Chunk]:
        """All rows in input order, whichever files they are in."""
        for first in range(0, len(self), self._chunk_rows):
            parts = list(self._parts(first, first + self._chunk_rows))
            stream, times, values = (
                column[0] if len(column) == 1 else np.concatenate(column)
                for column in zip(*parts, strict=True)
            )
            yield Chunk(self._names, stream, times, values, first)

    def _parts(self, first: int, end: int) -> Iterator[tuple[I64, F64, F32]]:
        """Streams, times and values of these rows, file by file."""
        before = 0
        for table, numbers in zip(self._tables, self._numbers, strict=True):
            rows = slice(max(0, first - before), max(0, end - before))
            if len(table.times[rows]):
                yield numbers[table.stream[rows]], table.times[rows], table.values[rows]
            before += len(table)

    # -- one stream --------------------------------------------------------------------

    def last_point(self, stream: str, at: float) -> LastPoint | None:
        """A stream's last point at or before an event time, without late rows; None if
        there is none.
        """
        rows, times, values = self._of_stream(stream)
        until = times <= at
        rows = rows[until]
        times = times[until]
        values = values[until]
        if not len(rows):
            return None
        on_time = times > np.concatenate([[-np.inf], np.maximum.accumulate(times)[:-1]])
        times = times[on_time]
        return LastPoint(
            row=int(rows[on_time][-1]),
            time=float(times[-1]),
            unchanged_for=_unchanged_for(times, values[on_time]),
        )

    def chunk_of_stream(self, stream: str, end: int) -> Chunk:
        """The rows of one stream alone, of the first ``end`` rows of DATA."""
        rows, times, values = self._of_stream(stream)
        count = int(np.searchsorted(rows, end))
        one = np.zeros(count, np.int64)
        return Chunk((stream,), one, times[:count], values[:count])

    def _of_stream(self, stream: str) -> tuple[I64, F64, F32]:
        """Its rows, counted through all files, their times and values."""
        before = 0
        parts = []
        for table in self._tables:
            own = _rows_of(table, stream)
            parts.append((before + own, table.times[own], table.values[own]))
            before += len(table)
        rows, times, values = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return rows, times, values


def _rows_of(table: Table, stream: str) -> npt.NDArray[np.intp]:
    is_it = np.array([name == stream for name in table.streams], np.bool_)
    return np.flatnonzero(is_it[table.stream])


def _unchanged_for(times: F64, values: F32) -> F64:
    """Seconds [F] for which each feature of rows [n, F] has had its last value, missing
    ones aside.
    """
    differs = (values != values[-1]) & ~np.isnan(values)
    since_last_other = differs[::-1].argmax(axis=0)
    first_same = np.where(differs.any(axis=0), len(times) - since_last_other, 0)
    seconds: F64 = times[-1] - times[np.minimum(first_same, len(times) - 1)]
    return seconds
