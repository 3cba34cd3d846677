"""Exports that are the same as before but for their resource, times and values.

An exporter sends the same series in the same order at each interval, and so do its
like on other hosts. In protobuf times and values have a fixed length and so a fixed
place. A *grid* says where these stand in the bytes behind a block's resource. A
*layout* is what the other bytes say: which metrics, of which attributes. All blocks of
a batch that lie on one grid are read together, by copying numbers out of them. What
fits no layout is decoded as ever, so a layout saves time and changes nothing.

A layout is learnt from a block that was decoded, if all its points are plain numbers.
Metrics of a stream that have one time are one row. So a block fits only if its times
part its points into the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Final

import numpy as np

from detector.errors import BadRecord
from detector.events import I64
from detector.ingest.formats.grouped_rows import BuiltRows, GroupedRows, Stream
from detector.ingest.formats.otlp_blocks import Block, Blocks, Place, places_of
from detector.ingest.formats.otlp_grid import (
    BlockNumbers,
    Grid,
    Layout,
    Series,
    grid_key,
)
from detector.ingest.formats.otlp_streams import Resource
from detector.ingest.protobuf_wire import BrokenWire
from detector.ingest.rows import Flags

#: Points of all layouts, once for each resource. Each takes 300 bytes at first, and 30
#: with another resource.
MAX_POINTS: Final = 200_000
_MAX_LENGTHS: Final = 50_000
_GRIDS_OF_A_LENGTH: Final = 4
# Blocks of a length that are learnt from in vain: what differs every time, as lists of
# processes do, is not learnt for ever.
_IN_VAIN: Final = 16
_BLOCK: Final = 1 << 32  # more than the points of any block

# The streams of attributes with a resource, both encoded. It may raise BadRecord.
StreamsOf = Callable[[bytes, Sequence[bytes]], Sequence[Stream]]


@dataclass(frozen=True, slots=True)
class _OnGrid:
    """Blocks that fit layouts of one grid: n of them, in columns.

    Attributes:
        blocks: int64 [n], which of all blocks.
    """

    grid: Grid
    blocks: I64
    layouts: Sequence[Layout]
    series: Sequence[Series]
    numbers: BlockNumbers

    def where(self, kept: Flags) -> _OnGrid:
        """Some of them; bool [n]."""
        if kept.all():
            return self
        return _OnGrid(
            self.grid,
            self.blocks[kept],
            list(compress(self.layouts, kept)),
            list(compress(self.series, kept)),
            self.numbers.take(np.flatnonzero(kept)),
        )


class Layouts:
    """The layouts that were learnt.

    Attributes:
        points: of all layouts, once for each resource; a batch adds its own to at most
            :data:`MAX_POINTS`.
    """

    def __init__(self) -> None:
        self._grids: dict[int, list[Grid]] = {}
        self._in_vain: dict[int, int] = {}
        self.points = 0

    def read(
        self, rows: GroupedRows, blocks: Blocks, streams_of: StreamsOf
    ) -> tuple[Blocks, Blocks]:
        """Add the rows of messages all of whose blocks fit.

        The others are those that do not fit, and those with a block of an unknown
        length.
        """
        self._forget_if_many()
        messages = np.array(blocks.messages, np.int64)
        lengths = np.fromiter(map(len, blocks.rests), np.int64, len(messages))
        distinct = np.unique(lengths).tolist()
        known = [length for length in distinct if length in self._grids]
        is_known = _are_whole(messages, np.isin(lengths, known))
        on_grids = [
            on_grid
            for length in known
            for on_grid in self._on_grids(
                np.flatnonzero(is_known & (lengths == length)), blocks, streams_of
            )
        ]
        fits = np.zeros(len(messages), np.bool_)
        for on_grid in on_grids:
            fits[on_grid.blocks] = True
        fits = _are_whole(messages, fits)
        mixed = _mixed(_built(on_grids, messages, fits), blocks)
        if mixed:
            fits &= ~np.isin(messages, list(mixed))
        for part in _built(on_grids, messages, fits):
            rows.add_whole(part)
        return blocks.where(is_known & ~fits), blocks.where(~is_known)

    def _on_grids(
        self, places: I64, blocks: Blocks, streams_of: StreamsOf
    ) -> Iterator[_OnGrid]:
        """Blocks of one length, at these places."""
        if not len(places):
            return
        rests = [blocks.rests[i] for i in places.tolist()]
        resources = [blocks.resources[i] for i in places.tolist()]
        length = len(rests[0])
        data = np.frombuffer(b"".join(rests), np.uint8).reshape(-1, length)
        for grid in self._grids[length]:
            layouts = grid.layouts_of(data)
            series = [
                None if each is None else self._series(each, resource, streams_of)
                for each, resource in zip(layouts, resources, strict=True)
            ]
            numbers = grid.numbers(data)
            is_read = np.fromiter(map(bool, series), np.bool_, len(series))
            fits = np.flatnonzero(is_read & numbers.fit)
            if len(fits):
                yield _OnGrid(
                    grid,
                    places[fits],
                    [layout for i in fits.tolist() if (layout := layouts[i])],
                    [found for i in fits.tolist() if (found := series[i])],
                    numbers.take(fits),
                )
            if len(fits) == len(places):
                return
            is_left = np.ones(len(places), np.bool_)
            is_left[fits] = False
            places = places[is_left]
            resources = list(compress(resources, is_left))
            data = data[is_left]

    def _series(
        self, layout: Layout, resource: bytes, streams_of: StreamsOf
    ) -> Series | None:
        """The rows of a layout with a resource; None if that can't be read."""
        found = layout.series.get(resource)
        if found is None:
            found = self._learn_series(layout, resource, streams_of)
        if not layout.is_used:
            layout.is_used = True
            self._in_vain[layout.length] -= 1
        return found

    def _learn_series(
        self, layout: Layout, encoded: bytes, streams_of: StreamsOf
    ) -> Series | None:
        try:
            streams = streams_of(encoded, layout.attributes)
        except BadRecord:
            return None
        series = Series.of(streams)
        layout.series[encoded] = series
        self.points += len(streams)
        return series

    def learn(
        self, block: Block, resource: Resource, rows: GroupedRows, first: int
    ) -> None:
        """Learn from a block whose points are the rows' from ``first`` on."""
        field, rest = block
        length = len(rest)
        in_vain = self._in_vain.get(length, 0)
        if in_vain >= _IN_VAIN:
            return
        self._in_vain[length] = in_vain + 1
        streams = rows.points.streams[first:]
        try:
            places, attributes = places_of(rest, streams, resource)
        except (BrokenWire, IndexError):
            return
        metrics, kinds = rows.names_from(first)
        points = _points_of_rows(streams, rows.points.times[first:], metrics)
        if points is None:
            return
        of_rows = [streams[of_row[0]] for of_row in points]
        grid = self._grid(length, places, points, of_rows)
        if grid is None:
            return
        layout = Layout(
            length,
            _shared([tuple(metrics[i] for i in of_row) for of_row in points]),
            bytes(kinds[i] for of_row in points for i in of_row),
            [attributes[of_row[0]] for of_row in points],
        )
        layout.series[field] = Series.of(of_rows)
        grid.add(rest, layout)
        self.points += len(streams)

    def _grid(
        self,
        length: int,
        places: Sequence[Place],
        points: Sequence[Sequence[int]],
        streams: Sequence[Stream],
    ) -> Grid | None:
        """The grid of these rows; None if blocks of its length have many others."""
        numbers: dict[Stream, int] = {}
        of_rows = [numbers.setdefault(stream, len(numbers)) for stream in streams]
        key = grid_key(places, points, of_rows)
        grids = self._grids.setdefault(length, [])
        for grid in grids:
            if grid.key == key:
                return grid
        if len(grids) == _GRIDS_OF_A_LENGTH:
            return None
        grids.append(Grid(length, places, points, of_rows))
        return grids[-1]

    def _forget_if_many(self) -> None:
        if self.points <= MAX_POINTS and len(self._in_vain) <= _MAX_LENGTHS:
            return
        self._grids.clear()
        self._in_vain.clear()
        self.points = 0


def _are_whole(messages: I64, are: Flags) -> Flags:
    """bool [n]: it holds for all blocks of the block's message."""
    if are.all():
        return are
    return np.asarray(~np.isin(messages, messages[~are]))


def _built(on_grids: Sequence[_OnGrid], messages: I64, fits: Flags) -> list[BuiltRows]:
    """The rows of the blocks that fit, grid by grid."""
    kept = [on_grid.where(fits[on_grid.blocks]) for on_grid in on_grids]
    return [_rows(on_grid, messages) for on_grid in kept if len(on_grid.blocks)]


def _rows(on_grid: _OnGrid, messages: I64) -> BuiltRows:
    grid = on_grid.grid
    blocks = on_grid.blocks
    layouts = on_grid.layouts
    series = on_grid.series
    numbers = on_grid.numbers
    firsts = blocks[:, None] * _BLOCK + grid.firsts
    return BuiltRows(
        records=np.repeat(messages[blocks], len(grid.firsts)),
        times=numbers.times.reshape(-1),
        ticks=numbers.ticks.reshape(-1),
        firsts=firsts.reshape(-1),
        names=list(chain.from_iterable([each.names for each in series])),
        labels=list(chain.from_iterable([each.labels for each in series])),
        metrics=list(chain.from_iterable([each.metrics for each in layouts])),
        counts=np.tile(grid.counts, len(blocks)),
        values=numbers.values.reshape(-1),
        kinds=np.frombuffer(b"".join([each.kinds for each in layouts]), np.uint8),
        starts=numbers.starts.reshape(-1),
    )


def _mixed(built: Sequence[BuiltRows], blocks: Blocks) -> set[int]:
    """Messages with a stream and time that two of their blocks have.

    Their metrics belong in one row.
    """
    mixed: set[int] = set()
    suspects = _with_twins(blocks)
    if not suspects:
        return mixed
    seen: set[tuple[int, float, str]] = set()
    for rows in built:
        columns = rows.records.tolist(), rows.ticks.tolist(), rows.names
        for row in zip(*columns, strict=True):
            if row[0] not in suspects:
                continue
            if row in seen:
                mixed.add(row[0])
            seen.add(row)
    return mixed


def _with_twins(blocks: Blocks) -> set[int]:
    """Messages with two blocks of one resource."""
    messages = blocks.messages
    if len(set(messages)) == len(messages):
        return set()
    counts = Counter(zip(messages, blocks.resources, strict=True))
    return {message for (message, _), count in counts.items() if count > 1}


def _points_of_rows(
    streams: Sequence[Stream], times: Sequence[float], metrics: Sequence[str]
) -> list[list[int]] | None:
    """The points of each row; None if a row has a metric twice."""
    rows: dict[tuple[Stream, float], list[int]] = {}
    for i, stream in enumerate(streams):
        rows.setdefault((stream, float(times[i])), []).append(i)
    for points in rows.values():
        if len({metrics[i] for i in points}) < len(points):
            return None
    return list(rows.values())


def _shared(metrics: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The same, equal ones as one object."""
    known = {of_row: of_row for of_row in metrics}
    return [known[of_row] for of_row in metrics]
