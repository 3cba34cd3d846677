"""Exports that are the same as before but for times and values.

An exporter sends the same series in the same order at each interval. In protobuf its
times and values have a fixed length and so a fixed place. A *shape* is what else the
bytes of one resource hold, and whose points stand where: a block of bytes that fits a
shape is read by copying numbers out of it. What does not fit is decoded as ever, so a
shape saves time and changes nothing.

A shape is learnt from a block that was decoded, if all its points are plain numbers.
Shapes are kept by the resource and the length of the block, and a few for each: what
differs every time, as lists of processes do, is not learnt for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from detector.events import F64
from detector.ingest.formats.grouped_rows import BuiltRows, GroupedRows, Stream
from detector.ingest.formats.otlp_streams import Resource
from detector.ingest.protobuf_wire import BLOCK, FIXED, BrokenWire, fields, varint

# Tags of fields: the field's number, then how it is written.
_RESOURCE: Final = 1 << 3 | BLOCK
_SCOPE_METRICS: Final = 2 << 3 | BLOCK
_METRICS: Final = 2 << 3 | BLOCK
_NUMBERS: Final = (5 << 3 | BLOCK, 7 << 3 | BLOCK)  # a gauge, a sum
_OTHERS: Final = tuple(number << 3 | BLOCK for number in (9, 10, 11))  # histograms
_DATA_POINTS: Final = 1 << 3 | BLOCK
START: Final = 2 << 3 | FIXED
TIME: Final = 3 << 3 | FIXED
DOUBLE: Final = 4 << 3 | FIXED
INT: Final = 6 << 3 | FIXED
_FIELD: Final = 9  # bytes of such a field, its tag included

# Points of a block from which rows are cheaper than points one by one, by
# docs/experiments/decoding-otlp.md.
_ROWS_FROM: Final = 32
_SHAPES_OF_A_KEY: Final = 4
_TRIES_OF_A_KEY: Final = 8  # blocks that are learnt from; shapes take turns then
_MAX_POINTS: Final = 200_000  # of all shapes; each takes about 300 bytes
_MAX_KEYS: Final = 50_000
_EIGHT: Final = np.arange(8)
_ONES: Final = 0xFF
_NANOSECONDS: Final = 1_000_000_000  # of a second
_Key = tuple[int, bytes]
_Span = tuple[int, int]


class _Place(NamedTuple):
    """Where a point's numbers begin; without a start, ``start`` is its time's."""

    time: int
    value: int
    start: int
    is_int: bool


class Shape:
    """What a block of n points holds beside their times and values."""

    def __init__(
        self,
        block: bytes,
        places: Sequence[_Place],
        streams: list[Stream],
        metrics: list[str],
        kinds: bytes,
    ) -> None:
        columns = np.array(places, np.int64)
        self._bytes_at = columns[:, :3].T.reshape(-1, 1) + _EIGHT
        self._has_start = columns[:, 2] != columns[:, 0]
        self._is_int = columns[:, 3].astype(np.bool_)
        self._has_starts = bool(self._has_start.any())
        self._has_ints = bool(self._is_int.any())
        self._no_starts = np.zeros(len(places), np.uint64)
        self._mask = np.full(len(block), _ONES, np.uint8)
        self._mask[self._bytes_at] = 0
        self._rest = self._masked(np.frombuffer(block, np.uint8))
        self._streams = streams
        self._metrics = metrics
        self._kinds = kinds
        self._rows: _RowsOfOneTime | None = None
        if len(streams) >= _ROWS_FROM:
            self._rows = _RowsOfOneTime.of(streams, metrics, kinds)

    def __len__(self) -> int:
        return len(self._streams)

    def add_to(self, rows: GroupedRows, block: bytes, alone: bool) -> bool:
        """Add the points of a block of the same length; False if it does not fit.

        ``alone``: no other block of the message has its resource.
        """
        data = np.frombuffer(block, np.uint8)
        if self._masked(data) != self._rest:
            return False
        numbers = data[self._bytes_at].view("<u8").reshape(3, -1)
        times, encoded, starts = numbers
        values = encoded.view("<f8")
        if self._has_ints:
            integers = encoded.view("<i8").astype(np.float64)
            values = np.where(self._is_int, integers, values)
        if not self._has_starts:
            starts = self._no_starts
        elif not self._has_start.all():
            starts = np.where(self._has_start, starts, 0)
        if alone and self._rows is not None and _can_be_rows(times, values):
            rows.add_whole(self._rows.built(int(times[0]), values, starts))
            return True
        rows.points.streams.extend(self._streams)
        rows.points.times.extend(times.tolist())
        rows.points.values.extend(values.tolist())
        rows.points.starts.extend(starts.tolist())
        rows.name_each(self._metrics, self._kinds)
        return True

    def _masked(self, data: npt.NDArray[np.uint8]) -> bytes:
        return (data & self._mask).tobytes()


def _can_be_rows(times: npt.NDArray[np.uint64], values: F64) -> bool:
    """Whether all points have one time, and a value."""
    return bool((times == times[0]).all()) and not np.isnan(values).any()


class _RowsOfOneTime:
    """The rows of a shape's points, if all have one time."""

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        streams: Sequence[Stream],
        metrics: Sequence[str],
        kinds: bytes,
    ) -> None:
        """``rows``: for each, its points in their order."""
        self._order = np.array(list(chain.from_iterable(rows)), np.int64)
        self._firsts = np.array([points[0] for points in rows], np.int64)
        self._counts = np.array(list(map(len, rows)), np.int64)
        self._records = np.zeros(len(rows), np.int64)
        self._streams = [streams[points[0]] for points in rows]
        self._metrics = [[metrics[i] for i in points] for points in rows]
        self._kinds = np.frombuffer(kinds, np.uint8)[self._order]

    @classmethod
    def of(
        cls, streams: Sequence[Stream], metrics: Sequence[str], kinds: bytes
    ) -> Self | None:
        """None if a stream has a metric twice."""
        points_of: dict[Stream, list[int]] = {}
        for i, stream in enumerate(streams):
            points_of.setdefault(stream, []).append(i)
        for points in points_of.values():
            if len({metrics[i] for i in points}) < len(points):
                return None
        return cls(list(points_of.values()), streams, metrics, kinds)

    def built(self, time: int, values: F64, starts: npt.NDArray[Any]) -> BuiltRows:
        """The rows at a time in nanoseconds."""
        return BuiltRows(
            records=self._records,
            times=np.full(len(self._records), time / _NANOSECONDS),
            firsts=self._firsts,
            streams=self._streams,
            metrics=self._metrics,
            counts=self._counts,
            values=values[self._order],
            kinds=self._kinds,
            starts=starts[self._order].astype(np.float64),
        )


class Shapes:
    """The shapes that were learnt."""

    def __init__(self) -> None:
        self._shapes: dict[_Key, list[Shape]] = {}
        self._tries: dict[_Key, int] = {}
        self._points = 0

    def add_to(self, rows: GroupedRows, block: bytes, alone: bool) -> bool:
        """Add the points of a block; False if it is of no shape that is known.

        ``alone``: no other block of the message has its resource.
        """
        known = self._shapes.get(key_of(block), ())
        return any(shape.add_to(rows, block, alone) for shape in known)

    def learn(
        self, block: bytes, resource: Resource, rows: GroupedRows, first: int
    ) -> None:
        """Learn from a block whose points are the rows' from ``first`` on."""
        key = key_of(block)
        tries = self._tries.get(key, 0)
        if tries >= _TRIES_OF_A_KEY:
            return
        if self._points > _MAX_POINTS or len(self._tries) > _MAX_KEYS:
            self._forget()
        self._tries[key] = tries + 1
        streams = rows.points.streams[first:]
        try:
            places = _places(block, streams, resource)
        except (BrokenWire, IndexError):
            return
        shape = Shape(block, places, streams, *rows.names_from(first))
        shapes = self._shapes.setdefault(key, [])
        self._points += len(shape)
        if len(shapes) == _SHAPES_OF_A_KEY:
            self._points -= len(shapes.pop(0))
        shapes.append(shape)

    def _forget(self) -> None:
        self._shapes.clear()
        self._tries.clear()
        self._points = 0


def key_of(block: bytes) -> _Key:
    """Its length, and the resource, with which exporters begin it."""
    if block[:1] != bytes([_RESOURCE]):
        return len(block), b""
    length, start = varint(block, 1) if len(block) > 2 else (0, 0)
    return len(block), block[: start + length]


def _points(block: bytes) -> Iterator[_Span]:
    """The data points of gauges and sums. Raises BrokenWire or IndexError."""
    for tag, *scope in fields(block, 0, len(block)):
        if tag != _SCOPE_METRICS:
            continue
        for scope_tag, *metric in fields(block, *scope):
            if scope_tag == _METRICS:
                yield from _points_of_metric(block, *metric)


def _points_of_metric(block: bytes, start: int, end: int) -> Iterator[_Span]:
    for tag, *data in fields(block, start, end):
        if tag in _OTHERS:
            raise BrokenWire
        if tag not in _NUMBERS:
            continue
        for data_tag, *point in fields(block, *data):
            if data_tag == _DATA_POINTS:
                yield point[0], point[1]


def _places(
    block: bytes, streams: Sequence[Stream], resource: Resource
) -> list[_Place]:
    """The places of the points that became those of these streams.

    What follows a point's value must be its attributes alone: they name its stream.
    Raises BrokenWire or IndexError.
    """
    spans = list(_points(block))
    if not spans or len(spans) != len(streams):
        raise BrokenWire
    places = []
    for (first, end), stream in zip(spans, streams, strict=True):
        place = _place(block, first, end)
        attributes = block[place.value + 8 : end]
        if resource.known.get(attributes) is not stream:
            raise BrokenWire
        places.append(place)
    return places


def _place(block: bytes, first: int, end: int) -> _Place:
    """Raises BrokenWire, or IndexError, if the point begins in another way."""
    time = first + _FIELD if block[first] == START else first
    value = time + _FIELD
    kind = block[value]
    if block[time] != TIME or kind not in (DOUBLE, INT) or value + _FIELD > end:
        raise BrokenWire
    return _Place(time + 1, value + 1, first + 1, kind == INT)
