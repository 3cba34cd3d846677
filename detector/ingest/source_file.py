"""DATA as a source: the rows of files as ``replay`` feeds them to the same pipeline that reads from Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detector.errors import DataError, RejectReason
from detector.events import Columns, Partition, Rejected
from detector.ingest.tables import Table, read_tables


class FileSource:
    """Every file is partition 0 of a topic of its own in order of reading; a row's offset is its place in the file.

    All files are one partition, so that a stream that spans files is one stream. Raises DataError.
    """

    PARTITION = Partition("replay", 0)

    def __init__(self, data: Path, features: Sequence[str], rows: int = 16_384) -> None:
        self._tables = read_tables(data)
        self._rows = rows
        have = self._tables[0].features
        missing = [f for f in features if f not in have]
        if missing:
            raise DataError(f"{self._tables[0].path} lacks the bundle's features {', '.join(missing)}: it has {', '.join(have)}")
        self._order = [have.index(f) for f in features]

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def streams(self) -> list[str]:
        """The stream of every row, in input order."""
        return [t.streams[i] for t in self._tables for i in t.stream.tolist()]

    def times(self) -> Iterator[float]:
        for table in self._tables:
            yield from table.times.tolist()

    def polls(self) -> Iterator[Columns]:
        """The rows in input order, in slices of at most ``rows``."""
        offset = 0
        for table in self._tables:
            for start in range(0, len(table), self._rows):
                yield self._columns(table, start, offset + start)
            offset += len(table)

    def _columns(self, table: Table, start: int, offset: int) -> Columns:
        rows = slice(start, min(start + self._rows, len(table)))
        offsets = np.arange(offset, offset + rows.stop - rows.start)
        names = [table.streams[i] for i in table.stream[rows].tolist()]
        values = np.ascontiguousarray(table.values[rows][:, self._order])
        vacant = np.isnan(values).all(axis=1)
        rejected = [Rejected(self.PARTITION, int(o), RejectReason.NO_FEATURES, "every feature is missing") for o in offsets[vacant]]
        keep = ~vacant
        if rejected:
            names = [n for n, k in zip(names, keep, strict=True) if k]
        return Columns(self.PARTITION, names, offsets[keep], table.times[rows][keep], values[keep], int(offsets[-1]) + 1, rejected)
