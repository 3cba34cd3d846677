"""DATA in memory: the rows of one file as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64, I64, U8, Labels

RESERVED = ("timestamp", "stream", "label")  # columns that are not features


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What records say of their streams, beside points.

    Attributes:
        kinds: uint8 [N, F], a :class:`~detector.events.MetricKind` for each feature.
        labels: of each of N streams.
    """

    kinds: U8
    labels: tuple[Labels, ...]

    def of(self, streams: Sequence[int]) -> StreamFacts:
        """Of streams [k] alone, which may repeat."""
        return StreamFacts(
            self.kinds[list(streams)],
            tuple(self.labels[i] for i in streams),
        )


@dataclass(frozen=True, slots=True)
class Table:
    """One file of DATA, in its own row order.

    Attributes:
        streams: the distinct streams [N].
        stream: int32 [n], index into ``streams``.
        times: float64 [n], epoch seconds.
        values: float64 [n, F], NaN where missing.
        label: float64 [n] of the optional ``label`` column, or None.
        parted: [N], what each stream is a metric of, if every metric is a stream; else
            None.
        aside: columns that were ignored: they are not features of the bundle.
        without_offset: rows whose time names no offset.
        notes: what was guessed of the file, and what is missing in it, for people.
        facts: of the streams; None: the file says nothing more of them.
    """

    path: Path
    features: tuple[str, ...]
    streams: tuple[str, ...]
    stream: npt.NDArray[np.int32]
    times: F64
    values: F64
    label: F64 | None = None
    parted: tuple[str, ...] | None = None
    aside: tuple[str, ...] = ()
    without_offset: int = 0
    notes: tuple[str, ...] = ()
    facts: StreamFacts | None = None

    @property
    def finite(self) -> F32:
        """float32 [n, F], NaN also where float32 can't hold a value."""
        values = as_single(self.values)
        return np.where(np.isinf(values), np.float32(np.nan), values)

    @property
    def finite_raw(self) -> F64:
        """float64 [n, F], NaN where float32 can't hold a value."""
        is_finite = np.isfinite(as_single(self.values))
        return np.where(is_finite, self.values, np.nan)

    @property
    def wholes(self) -> tuple[str, ...]:
        """The stream in the file that each of ``streams`` comes from."""
        return self.streams if self.parted is None else self.parted

    @property
    def is_newest_first(self) -> bool:
        """Whether nearly all rows come before earlier ones of their stream."""
        return self._share_of_falls() > _NEARLY_ALL

    @property
    def is_without_order(self) -> bool:
        """Whether many rows come after later ones: it was never sorted."""
        if len(self) < _LEAST_ROWS:
            return False
        return _MORE_THAN_LATE < self._share_of_falls() <= _NEARLY_ALL

    def _share_of_falls(self) -> float:
        """The share of steps between rows of one stream that go back in time."""
        order = np.argsort(self.stream, kind="stable")
        steps = np.diff(self.times[order])
        same = np.diff(self.stream[order]) == 0
        falls = int((steps[same] < 0).sum())
        rises = int((steps[same] > 0).sum())
        return falls / max(1, falls + rises)

    def order_of_time(self) -> I64 | None:
        """int64 [n], the rows in the order of time; None: they are taken as they are.

        A few rows that are late stay so: they are what the daemon would have seen.
        """
        if self.is_newest_first:
            return np.arange(len(self))[::-1]
        if self.is_without_order:
            return np.argsort(self.times, kind="stable")
        return None

    def __len__(self) -> int:
        return len(self.times)

    def by_stream(self) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
        """Each stream that has rows, and their indices, as :meth:`order_of_time` has
        them.
        """
        in_time = self.order_of_time()
        rows = np.arange(len(self)) if in_time is None else in_time
        order = rows[np.argsort(self.stream[rows], kind="stable")]
        counts = np.bincount(self.stream, minlength=len(self.streams))
        parts = np.split(order, np.cumsum(counts)[:-1])
        for name, of_stream in zip(self.streams, parts, strict=True):
            if len(of_stream):
                yield name, of_stream


# Share of a table's steps in time that go back if it is sorted newest first. A table in
# the order of arrival has a few late rows, and one without an order about half.
_NEARLY_ALL = 0.9
_MORE_THAN_LATE = 0.25
_LEAST_ROWS = 20  # of which one can tell


def as_single(values: F64) -> F32:
    """As float32, infinite where float32 can't hold a value."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
