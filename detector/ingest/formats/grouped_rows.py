"""Numbers that come metric by metric, put together to rows of one stream and time.

A bundle of features scores the metrics of a stream together, so they must be one row
although the message names each of them apart. A metric that comes twice for one stream
and time is a row of its own: the detector drops and counts every point that comes
again, and so this one. The rows of a message are in the order of their times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan
from typing import Final

from detector.errors import MissingReason
from detector.events import Labels, MetricKind
from detector.ingest.row_builder import RowBuilder

_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What rows say of their stream; equal only to itself, so that it is a fast key.

    Attributes:
        name: the stream without its tags.
        tags: what else tells it apart.
        labels: what alerts may say of it; all tags are in it.
    """

    name: str
    tags: Labels
    labels: Labels


# a stream, the time and the start of its point in the unit of the message (0: unknown),
# and the value, NaN where there is none
Point = tuple[Stream, float, float, float]


@dataclass(slots=True)
class _Row:
    numbers: dict[str, float] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)


class GroupedRows:
    """The rows of one message."""

    def __init__(self, units_a_second: int) -> None:
        """``units_a_second``: of the times and starts that are added."""
        self._units = units_a_second
        self._rows: dict[tuple[Stream, float], _Row] = {}
        self._repeated: list[tuple[tuple[Stream, float], _Row]] = []
        self._missing: list[str] = []
        self._has_starts = False

    def add(self, metric: str, kind: MetricKind, points: Iterable[Point]) -> None:
        """Points of one metric, of whichever streams."""
        rows = self._rows
        units = self._units
        for stream, time, start, value in points:
            if isnan(value):
                self._missing.append(metric)
                continue
            place = stream, time
            row = rows.get(place)
            if row is None:
                row = rows[place] = _Row()
            elif metric in row.numbers:
                row = _Row()
                self._repeated.append((place, row))
            row.numbers[metric] = value
            row.kinds.append(kind)
            if start:
                row.starts.append(start / units)
                self._has_starts = True
            else:
                row.starts.append(_NAN)

    def write(self, built: RowBuilder, message: int) -> None:
        """Add the rows of a message, or say that it has no point."""
        for metric in self._missing:
            built.miss(message, metric, MissingReason.NAN)
        if not self._rows:
            built.skip(message)
            return
        found = [*self._rows.items(), *self._repeated]
        found.sort(key=_time)
        for (stream, time), row in found:
            built.add(
                message,
                stream.name,
                time / self._units if time else None,
                row.numbers,
                tags=stream.tags,
                labels=stream.labels,
                kinds=row.kinds,
                starts=row.starts if self._has_starts else None,
            )


def _time(item: tuple[tuple[Stream, float], _Row]) -> float:
    return item[0][1]
