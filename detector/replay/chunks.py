"""DATA as a source: the rows of files as ``replay`` feeds them to the same pipeline
that reads from Kafka.

Theory of operation. A poll is stepped in waves, one row a stream and wave, so a file
that lies stream by stream, fed as it lies, would be stepped one row at a time. Streams
share nothing, and what one comes to depends on the order of its own rows alone; so the
rows are taken in stretches, as many as memory is to hold beside DATA, and within a
stretch streams are fed side by side: the first row of each, the second of each, and so
on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.data.per_metric import read_metrics
from detector.data.tables import read_tables
from detector.errors import RejectReason
from detector.events import F32, F64, I64, Partition, RecordBatch, RejectedRecord
from detector.state.waves import interleave

CHUNK = 1 << 20  # rows, fewer where they are wide: no more than
CELLS = 1 << 25  # values
PARTITION = Partition("replay", 0)
POLL = 16_384  # rows fed at once


class Chunk:
    """n rows in input order that are fed side by side; a record's offset is its place
    in the order in which they are fed.

    Attributes:
        first: how many rows come before them.
        names: of the streams; stream: int64 [n], index into ``names``.
        times: float64 [n]. values: float32 [n, F], NaN where missing, infinite where
            float32 does not hold them.
    """

    def __init__(
        self, names: Sequence[str], stream: I64, times: F64, values: F32, first: int = 0
    ) -> None:
        self.first = first
        self.names = names
        self.stream = stream
        self.times = times
        self.values = values
        self._order, _ = interleave(stream)

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, offsets: I64) -> I64:
        """int64 [k]: the rows, counted within the stretch, that these records came
        from.
        """
        return self._order[offsets - self.first]

    def polls(self) -> Iterator[RecordBatch]:
        """All rows, as polls; one without a value, or with one that is infinite, is
        rejected as the daemon does.
        """
        for start in range(0, len(self), POLL):
            rows = self._order[start : start + POLL]
            offsets = np.arange(len(rows)) + (self.first + start)
            values = self.values.take(rows, axis=0)
            vacant = np.isnan(values).all(axis=1)
            infinite = np.isinf(values).any(axis=1)
            keep = ~(vacant | infinite)
            rejected = [
                RejectedRecord(
                    PARTITION, o, RejectReason.NO_FEATURES, "every feature is missing"
                )
                for o in offsets[vacant].tolist()
            ]
            rejected += [
                RejectedRecord(
                    PARTITION, o, RejectReason.INFINITE, "a value is beyond float32"
                )
                for o in offsets[infinite].tolist()
            ]
            names = [self.names[i] for i in self.stream[rows[keep]].tolist()]
            end = self.first + start + len(rows)
            yield RecordBatch(
                PARTITION,
                names,
                offsets[keep],
                self.times[rows[keep]],
                values[keep],
                end,
                rejected,
            )


@dataclass(frozen=True, slots=True)
class LastPoint:
    """A row, its event time, and for how many seconds each of its features has had this
    value by then, float64 [F].
    """

    row: int
    time: float
    unchanged_for: F64


class FileSource:
    """All files of DATA are one partition, so that a stream that spans files is one
    stream.

    With ``each_metric`` a row is a metric of a row: every metric is a stream of its
    own. Raises DataError.
    """

    def __init__(
        self, data: Path, features: Sequence[str], each_metric: bool = False
    ) -> None:
        self._tables = (
            read_metrics(data) if each_metric else read_tables(data, features)
        )
        self._rows = max(1, min(CHUNK, CELLS // max(1, len(features))))
        numbers: dict[str, int] = {}
        self._numbers = [
            np.array(
                [numbers.setdefault(name, len(numbers)) for name in t.streams], np.int64
            )
            for t in self._tables
        ]
        self._names = tuple(numbers)

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    @property
    def streams(self) -> list[str]:
        """Those that have rows, by name."""
        return sorted(
            {
                table.streams[i]
                for table in self._tables
                for i in np.unique(table.stream).tolist()
            }
        )

    def chunks(self) -> Iterator[Chunk]:
        """All rows in input order, so many at a time, from whatever files they are in."""
        for first in range(0, len(self), self._rows):
            parts = list(self._parts(first, first + self._rows))
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

    def last(self, stream: str, at: float) -> LastPoint | None:
        """A stream's last point at or before an event time; the first row of several at
        that time.
        """
        before = 0
        parts = []
        for table in self._tables:
            own = np.flatnonzero(
                (table.times <= at)
                & np.array([name == stream for name in table.streams], np.bool_)[
                    table.stream
                ]
            )
            parts.append((before + own, table.times[own], table.values[own]))
            before += len(table)
        rows, times, values = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        if not len(rows):
            return None
        # others come late
        ahead = times > np.concatenate([[-np.inf], np.maximum.accumulate(times)[:-1]])
        rows = rows[ahead]
        times = times[ahead]
        values = values[ahead]
        other = (values != values[-1]) & ~np.isnan(values)
        # the first row after the last of another value
        stands = np.where(other.any(axis=0), len(times) - other[::-1].argmax(axis=0), 0)
        return LastPoint(
            int(rows[-1]),
            float(times[-1]),
            times[-1] - times[np.minimum(stands, len(times) - 1)],
        )
