"""Numbers that are copied out of encoded blocks, and what the other bytes say.

See :mod:`detector.ingest.formats.otlp_layouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from detector.events import F64, I64, Labels
from detector.ingest.formats.grouped_rows import Stream
from detector.ingest.formats.otlp_blocks import Place
from detector.ingest.rows import Flags

_EIGHT: Final = np.arange(8)
_ONES: Final = 0xFF
_NANOSECONDS: Final = np.uint64(1_000_000_000)  # of a second
_A_SECOND: Final = 1e9
_COMPARED: Final = 2  # layouts that all blocks are compared with

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.uint64]


class Series(NamedTuple):
    """What the rows of a layout are with one resource."""

    names: Sequence[str]
    labels: Sequence[Labels]

    @classmethod
    def of(cls, streams: Sequence[Stream]) -> Self:
        names = [stream.name for stream in streams]
        return cls(names, [stream.labels for stream in streams])


class Layout:
    """The metrics and the attributes of r rows with m points.

    Attributes:
        length: of a block without its resource.
        metrics: of each row; equal ones are one object.
        kinds: of the points, row by row.
        attributes: of each row, as they are encoded.
        series: by resource, as it is encoded.
        is_used: a second block fitted.
    """

    __slots__ = ("attributes", "is_used", "kinds", "length", "metrics", "series")

    def __init__(
        self,
        length: int,
        metrics: Sequence[Sequence[str]],
        kinds: bytes,
        attributes: Sequence[bytes],
    ) -> None:
        self.length = length
        self.metrics = metrics
        self.kinds = kinds
        self.attributes = attributes
        self.series: dict[bytes, Series] = {}
        self.is_used = False


@dataclass(frozen=True, slots=True)
class BlockNumbers:
    """The numbers of n blocks with r rows and m points.

    Attributes:
        times: float64 [n, r], epoch seconds.
        ticks: float64 [n, r], the same in nanoseconds, as near as floats are.
        values: float64 [n, m], row by row.
        starts: float64 [n, m], in nanoseconds; 0: unknown.
        fit: bool [n], the points are parted into these rows, and no value is NaN.
    """

    times: F64
    ticks: F64
    values: F64
    starts: F64
    fit: Flags

    def take(self, blocks: I64) -> BlockNumbers:
        """The numbers of some blocks, in their order."""
        if len(blocks) == len(self.fit):
            return self
        return BlockNumbers(
            times=self.times[blocks],
            ticks=self.ticks[blocks],
            values=self.values[blocks],
            starts=self.starts[blocks],
            fit=self.fit[blocks],
        )


class Grid:
    """Where the numbers of a block stand, and which of its m points are one row.

    Attributes:
        key: equal for grids that are the same.
        length: of a block without its resource.
        firsts: int64 [r], the first point of each row.
        counts: int64 [r], points of each row.
    """

    def __init__(
        self,
        length: int,
        places: Sequence[Place],
        rows: Sequence[Sequence[int]],
        streams: Sequence[int],
    ) -> None:
        """``rows``: the points of each. ``streams``: a number for that of each row."""
        self.key = grid_key(places, rows, streams)
        self.length = length
        columns = np.array(places, np.int64)
        self._bytes_at = (columns[:, :3].T.reshape(-1, 1) + _EIGHT).reshape(-1)
        self._has_start = columns[:, 2] != columns[:, 0]
        self._is_int = columns[:, 3].astype(np.bool_)
        self._mask = np.full(length, _ONES, np.uint8)
        self._mask[self._bytes_at] = 0
        self._order = np.array(list(chain.from_iterable(rows)), np.int64)
        self._is_ordered = bool((np.diff(self._order) == 1).all())
        self.firsts = np.array([points[0] for points in rows], np.int64)
        self.counts = np.array(list(map(len, rows)), np.int64)
        self._of_one_stream = _repeated(streams)
        # by the bytes of a block without its numbers
        self._layouts: dict[bytes, Layout] = {}

    def add(self, block: bytes, layout: Layout) -> None:
        """What a block's bytes beside its numbers say."""
        data = np.frombuffer(block, np.uint8)
        self._layouts[(data & self._mask).tobytes()] = layout

    def layouts_of(self, data: _Bytes) -> list[Layout | None]:
        """The layouts of blocks, uint8 [n, length]; None where none is known."""
        masked = data & self._mask
        found: list[Layout | None] = [None] * len(data)
        left = np.arange(len(data))
        # mostly all are alike: to compare bytes is cheaper than to hash them
        for _ in range(_COMPARED):
            if not len(left):
                return found
            first = masked[left[0]]
            layout = self._layouts.get(first.tobytes())
            is_alike = (masked[left] == first).all(axis=1)
            for i in left[is_alike].tolist():
                found[i] = layout
            left = left[~is_alike]
        for i in left.tolist():
            found[i] = self._layouts.get(masked[i].tobytes())
        return found

    def numbers(self, data: _Bytes) -> BlockNumbers:
        """The numbers of blocks, uint8 [n, length]."""
        copied = data.take(self._bytes_at, axis=1)
        columns = copied.view("<u8").reshape(len(data), 3, -1)
        times, encoded, starts = (columns[:, i] for i in range(3))
        values = encoded.view("<f8")
        if self._is_int.any():
            integers = encoded.view("<i8").astype(np.float64)
            values = np.where(self._is_int, integers, values)
        known_starts = np.zeros(values.shape)
        if self._has_start.any():
            known_starts = np.where(self._has_start, starts, 0).astype(np.float64)
        of_rows = times.take(self.firsts, axis=1)
        ticks = of_rows.astype(np.float64)
        return BlockNumbers(
            times=_seconds(of_rows),
            ticks=ticks,
            values=self._in_rows(values),
            starts=self._in_rows(known_starts),
            fit=self._fit(times, ticks) & ~np.isnan(values).any(axis=1),
        )

    def _fit(self, times: _Integers, ticks: F64) -> Flags:
        """bool [n]: points of one row have one time, and rows of one stream several."""
        repeated = np.repeat(ticks, self.counts, axis=1)
        fit = (self._in_rows(times.astype(np.float64)) == repeated).all(axis=1)
        for rows in self._of_one_stream:
            in_order = np.sort(ticks[:, rows], axis=2)
            is_same = in_order[:, :, 1:] == in_order[:, :, :-1]
            fit &= ~is_same.any(axis=(1, 2))
        return np.asarray(fit)

    def _in_rows(self, column: F64) -> F64:
        """A column [n, m] of points, row by row."""
        return column if self._is_ordered else column.take(self._order, axis=1)


def grid_key(
    places: Sequence[Place], rows: Sequence[Sequence[int]], streams: Sequence[int]
) -> tuple[object, ...]:
    return tuple(places), tuple(map(tuple, rows)), tuple(streams)


def _repeated(streams: Sequence[int]) -> list[I64]:
    """Rows of streams that have several, int64 [streams, k], for each k there is."""
    rows_of: dict[int, list[int]] = {}
    for row, stream in enumerate(streams):
        rows_of.setdefault(stream, []).append(row)
    by_count: dict[int, list[list[int]]] = {}
    for rows in rows_of.values():
        if len(rows) > 1:
            by_count.setdefault(len(rows), []).append(rows)
    return [np.array(rows, np.int64) for rows in by_count.values()]


def _seconds(times: _Integers) -> F64:
    """Epoch seconds, as a division of integers gives them from 1987 to 2106.

    No float holds the nanoseconds. Their share of a second is off by 2^-54 at most, and
    none of them is nearer than 2^-53 to the middle of two floats.
    """
    whole, nanoseconds = np.divmod(times, _NANOSECONDS)
    seconds: F64 = whole + nanoseconds / _A_SECOND
    return seconds
