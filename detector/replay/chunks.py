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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.data.choose_reader import read_data
from detector.data.read_options import ReadOptions
from detector.data.table import StreamFacts, Table, as_single
from detector.errors import RejectReason
from detector.events import (
    F64,
    I64,
    Labels,
    Partition,
    RecordBatch,
    RejectedRecord,
)
from detector.record_clock import ClockBounds, without_log
from detector.state.waves import interleave

PARTITION = Partition("replay", 0)
CHUNK = 1 << 20  # rows of a chunk at most: 8 MiB of times
CELLS = 1 << 25  # values of a chunk at most, if its rows are wide: 128 MiB
POLL = 16_384  # rows fed at once: eight batches of the graph

_DEFAULT = ReadOptions()
_Flags = npt.NDArray[np.bool_]
_Columns = tuple[I64, F64, F64]  # of rows: streams or row numbers, times, values


class Chunk:
    """n rows in input order that are fed interleaved; a record's offset is its place in
    the order in which rows are fed.

    ``order`` [n] puts the rows in the order of their streams' time, where the input has
    another: in a table that is sorted newest first.

    Attributes:
        names: of the streams.
        stream: int64 [n], index into ``names``.
        times: float64 [n], event times in epoch seconds.
        values: float64 [n, F], NaN where missing.
        first: number of rows in DATA before this chunk.
    """

    def __init__(
        self,
        names: Sequence[str],
        stream: I64,
        times: F64,
        values: F64,
        first: int = 0,
        order: I64 | None = None,
        facts: StreamFacts | None = None,
    ) -> None:
        self.names = names
        self.stream = stream
        self.times = times
        self.values = values
        self.first = first
        self._facts = facts
        if order is None:
            self._order, _ = interleave(stream)
        else:
            fed, _ = interleave(stream[order])
            self._order = order[fed]

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, offsets: I64) -> I64:
        """int64 [k]: the rows of this chunk that these records came from."""
        return self._order[offsets - self.first]

    def polls(self, bounds: ClockBounds | None = None) -> Iterator[RecordBatch]:
        """All rows, as polls; without bounds each time is taken as it is."""
        for start in range(0, len(self), POLL):
            rows = self._order[start : start + POLL]
            poll = self._poll(start, rows)
            if bounds is not None:
                clock = without_log(len(poll.names), bounds)
                poll = replace(poll, clock=clock)
            yield poll

    def _poll(self, start: int, rows: I64) -> RecordBatch:
        """A row without a value is rejected. An infinite value is missing: it costs
        itself, as in the daemon.
        """
        first = self.first + start
        offsets = np.arange(len(rows)) + first
        values = self.values.take(rows, axis=0)
        cells = np.isinf(as_single(values))
        values[cells] = np.nan
        without_value = _is_empty(values)
        is_kept = ~without_value
        is_infinite = without_value & cells.any(axis=1)
        is_empty = without_value & ~is_infinite
        empty = _rejected(
            offsets[is_empty],
            RejectReason.NO_FEATURES,
            "every feature is missing",
        )
        infinite = _rejected(
            offsets[is_infinite],
            RejectReason.INFINITE,
            "a value is beyond float32",
        )
        kept = rows[is_kept]
        streams = self.stream[kept].tolist()
        facts = None if self._facts is None else self._facts.of(streams)
        return RecordBatch(
            partition=PARTITION,
            names=[self.names[i] for i in streams],
            offsets=offsets[is_kept],
            times=self.times[kept],
            values=values[is_kept].astype(np.float64),
            next_offset=first + len(rows),
            rejected=[*empty, *infinite],
            kinds=None if facts is None else facts.kinds,
            labels=None if facts is None else facts.labels,
        )


def _is_empty(values: F64) -> _Flags:
    """bool [n], rows of ``values`` [n, F] without a value."""
    is_missing = np.isnan(values)
    return np.asarray(is_missing.all(axis=1))


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
            is_finite = np.isfinite(as_single(table.values[rows]))
            scored = table.stream[rows][is_finite.any(axis=1)]
            has_point[scored] = True
        present = np.flatnonzero(has_point).tolist()
        found.update(table.streams[i] for i in present)
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

    With ``each_metric``, each metric of a row is a row of its own. A table that is
    sorted newest first is fed from its end. Raises DataError.
    """

    def __init__(
        self,
        data: Path,
        features: Sequence[str],
        each_metric: bool = False,
        options: ReadOptions = _DEFAULT,
    ) -> None:
        self.data = data
        self.each_metric = each_metric
        self._tables = read_data(data, features, each_metric, options)
        self._orders = [table.order_of_time() for table in self._tables]
        rows_of_cells = CELLS // max(1, len(features))
        self._chunk_rows = max(1, min(CHUNK, rows_of_cells))
        numbers = _number_streams(self._tables)
        self._names = tuple(numbers)
        # of each table, the number of each of its streams
        self._numbers = [_numbers_in(table, numbers) for table in self._tables]
        self._facts = self._all_facts(len(features))

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
        """All rows in input order, whichever files they are in.

        If a table is newest first, all rows are one chunk: its last row is fed first.
        """
        if any(order is not None for order in self._orders):
            yield self._only_chunk()
            return
        for first in range(0, len(self), self._chunk_rows):
            parts = list(self._parts(first, first + self._chunk_rows))
            stream, times, values = _joined(parts)
            yield Chunk(self._names, stream, times, values, first, facts=self._facts)

    def _only_chunk(self) -> Chunk:
        stream, times, values = _joined(list(self._parts(0, len(self))))
        before = 0
        orders = []
        for table, order in zip(self._tables, self._orders, strict=True):
            own = np.arange(len(table)) if order is None else order
            orders.append(before + own)
            before += len(table)
        order = np.concatenate(orders)
        return Chunk(
            self._names,
            stream,
            times,
            values,
            order=order,
            facts=self._facts,
        )

    def _parts(self, first: int, end: int) -> Iterator[_Columns]:
        """Streams, times and values of these rows, file by file."""
        before = 0
        tables = zip(self._tables, self._numbers, strict=True)
        for table, numbers in tables:
            start = max(0, first - before)
            stop = max(0, end - before)
            rows = slice(start, stop)
            times = table.times[rows]
            if len(times):
                stream = numbers[table.stream[rows]]
                yield stream, times, table.values[rows]
            before += len(table)

    def _all_facts(self, features: int) -> StreamFacts | None:
        """What the files say of the streams of all tables; None: nothing."""
        if all(table.facts is None for table in self._tables):
            return None
        kinds = np.zeros((len(self._names), features), np.uint8)
        labels: list[Labels] = [{}] * len(self._names)
        for table, numbers in zip(self._tables, self._numbers, strict=True):
            if table.facts is None:
                continue
            kinds[numbers] = table.facts.kinds
            for number, own in zip(numbers.tolist(), table.facts.labels, strict=True):
                labels[number] = own
        return StreamFacts(kinds, tuple(labels))

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
        is_on_time = times > _latest_before(times)
        rows = rows[is_on_time]
        times = times[is_on_time]
        values = values[is_on_time]
        return LastPoint(
            row=int(rows[-1]),
            time=float(times[-1]),
            unchanged_for=_unchanged_for(times, values),
        )

    def chunk_of_stream(self, stream: str, last: int) -> Chunk:
        """The rows of one stream alone, up to ``last``, one of its rows in DATA."""
        rows, times, values = self._of_stream(stream)
        is_last = rows == last
        count = int(is_last.argmax()) + 1
        number = self._names.index(stream)
        return Chunk(
            names=(stream,),
            stream=np.zeros(count, np.int64),
            times=times[:count],
            values=values[:count],
            facts=None if self._facts is None else self._facts.of([number]),
        )

    def _of_stream(self, stream: str) -> _Columns:
        """Its rows, counted through all files, their times and values."""
        before = 0
        parts: list[_Columns] = []
        for table, order in zip(self._tables, self._orders, strict=True):
            own = _rows_of(table, stream)
            if order is not None:
                own = order[np.isin(order, own)]
            rows = before + own
            parts.append((rows, table.times[own], table.values[own]))
            before += len(table)
        return _joined(parts)


def _number_streams(tables: Sequence[Table]) -> dict[str, int]:
    """A number for each stream name, the same in all tables."""
    numbers: dict[str, int] = {}
    for table in tables:
        for name in table.streams:
            numbers.setdefault(name, len(numbers))
    return numbers


def _numbers_in(table: Table, numbers: dict[str, int]) -> I64:
    return np.array([numbers[name] for name in table.streams], np.int64)


def _joined(parts: Sequence[_Columns]) -> _Columns:
    """The parts one after another; a single part is not copied."""
    if len(parts) == 1:
        return parts[0]
    rows, times, values = zip(*parts, strict=True)
    return (
        np.concatenate(rows),
        np.concatenate(times),
        np.concatenate(values),
    )


def _latest_before(times: F64) -> F64:
    """float64 [n], the latest of the times before each one; -inf before the first."""
    latest = np.maximum.accumulate(times)
    return np.concatenate([[-np.inf], latest[:-1]])


def _rows_of(table: Table, stream: str) -> npt.NDArray[np.intp]:
    is_it = np.array([name == stream for name in table.streams], np.bool_)
    return np.flatnonzero(is_it[table.stream])


def _unchanged_for(times: F64, values: F64) -> F64:
    """Seconds [F] for which each feature of rows [n, F] has had its last value, missing
    ones aside.
    """
    last = len(times) - 1
    differs = (values != values[last]) & ~np.isnan(values)
    since_last_other = differs[::-1].argmax(axis=0)
    after_last_other = len(times) - since_last_other
    first_same = np.where(differs.any(axis=0), after_last_other, 0)
    first_same = np.minimum(first_same, last)
    seconds: F64 = times[last] - times[first_same]
    return seconds
