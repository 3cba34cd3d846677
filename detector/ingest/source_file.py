"""DATA as a source: the rows of files as ``replay`` feeds them to the same pipeline that reads from Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detector.errors import RejectReason
from detector.events import Columns, Partition, Rejected
from detector.ingest.each_metric import read_metrics
from detector.ingest.tables import Table, read_tables


class FileSource:
    """All files of DATA are one partition, so that a stream that spans files is one stream; a row's offset is its place.

    With ``each_metric`` a row is a metric of a row: every metric is a stream of its own. Raises DataError.
    """

    PARTITION = Partition("replay", 0)

    def __init__(self, data: Path, features: Sequence[str], each_metric: bool = False, rows: int = 16_384) -> None:
        self._tables = read_metrics(data) if each_metric else read_tables(data, features)
        self._rows = rows

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    @property
    def streams(self) -> list[str]:
        """Those that have rows, by name."""
        return sorted({table.streams[i] for table in self._tables for i in np.unique(table.stream).tolist()})

    def polls(self) -> Iterator[tuple[Columns, list[str], list[float]]]:
        """The rows in input order, in slices of at most ``rows``, each with the stream and time of all its rows."""
        offset = 0
        for table in self._tables:
            for start in range(0, len(table), self._rows):
                rows = slice(start, min(start + self._rows, len(table)))
                names = [table.streams[i] for i in table.stream[rows].tolist()]
                yield self._columns(table, rows, names, offset + start), names, table.times[rows].tolist()
            offset += len(table)

    def _columns(self, table: Table, rows: slice, names: list[str], offset: int) -> Columns:
        offsets = np.arange(offset, offset + len(names))
        values = table.values[rows]
        keep = ~np.all(np.isnan(values), axis=1)
        rejected = [Rejected(self.PARTITION, int(o), RejectReason.NO_FEATURES, "every feature is missing") for o in offsets[~keep]]
        if rejected:
            names = [n for n, k in zip(names, keep.tolist(), strict=True) if k]
        return Columns(self.PARTITION, names, offsets[keep], table.times[rows][keep], values[keep], offset + len(keep), rejected)
