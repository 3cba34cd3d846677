"""The difference between two bundles that score the same points: one is in force, the
other in shadow.

Theory of operation. Both sides report what they scored and told. A stream counts from
the point on at which the shadow has warmed up for it, so that both could have told what
is compared. Two incidents of a stream are the same if they overlap, or if
:data:`APART` ticks or less are between them. What is compared follows from the records
alone, but for the time that scoring takes.
"""

from __future__ import annotations

import enum
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from detector.events import ENDS, F64, I64, Alert, Phase, Reason
from detector.pipeline.observer import ScoredBatch
from detector.state.limits import UNBOUNDED
from detector.timestamps import WEEK

#: Ticks between two incidents that count as one: as `compare` of two bundles on data.
APART: Final = 10
LISTED: Final = 20  # incidents of one side alone, and streams, that a report lists
_KEPT: Final = 1_000  # incidents of each side that are remembered for the report
_NOWHERE: Final = 0  # the place of streams that are not compared: it is never warm
_LEAST: Final = 3  # streams for a rank correlation


class Side(enum.IntEnum):
    """Which of the two bundles."""

    LIVE = 0
    SHADOW = 1


class ToldAlone(msgspec.Struct, frozen=True):
    """An incident that one side alone told; times in epoch seconds."""

    stream: str
    starts_at: float
    ends_at: float | None
    score: float
    threshold: float


class RankOfStream(msgspec.Struct, frozen=True):
    """A stream's place by how far its score got over its threshold; 1 is the furthest.

    Attributes:
        live_margin: the largest score less threshold under the bundle in force.
        shadow_margin: the same under the one in shadow.
    """

    stream: str
    live: int
    shadow: int
    live_margin: float
    shadow_margin: float


class SideReport(msgspec.Struct, frozen=True):
    """What one bundle made of the points that are compared.

    Attributes:
        incidents: that began.
        alone: how many of them the other bundle did not tell.
        open: how many are open now.
        per_week: incidents a stream-week; None before there is a day of points.
        microseconds_per_point: that scoring a point takes; None before the first.
        told_alone: the last of ``alone``, the newest first.
    """

    incidents: int
    alone: int
    open: int
    per_week: float | None
    microseconds_per_point: float | None
    told_alone: Sequence[ToldAlone]


class ComparisonReport(msgspec.Struct, frozen=True):
    """Two bundles beside each other.

    Attributes:
        streams: that had a point since the shadow began, and have not expired.
        warm: those of them for which both bundles can tell incidents.
        points: compared.
        stream_weeks: event time of these points.
        rank_correlation: of the streams' largest margins, by Spearman; None for fewer
            than three streams.
        moved: streams whose rank differs most.
    """

    streams: int
    warm: int
    points: int
    stream_weeks: float
    live: SideReport
    shadow: SideReport
    rank_correlation: float | None
    moved: Sequence[RankOfStream]


@dataclass(eq=False, slots=True)
class _Told:
    """An incident of one side; ``is_counted``: both sides could tell it."""

    stream: str
    starts_at: float
    score: float
    threshold: float
    ends_at: float | None = None
    is_counted: bool = False
    is_shared: bool = False

    def is_near(self, other: _Told, gap: float) -> bool:
        latest_start = max(self.starts_at, other.starts_at)
        ends = [told.ends_at for told in (self, other) if told.ends_at is not None]
        return latest_start <= min(ends, default=math.inf) + gap


@dataclass(slots=True)
class _SideCounts:
    """What one side told, and what it cost."""

    incidents: int = 0
    shared: int = 0
    seconds: float = 0.0
    points: int = 0
    last: dict[str, _Told] = field(default_factory=dict)
    recent: deque[_Told] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def alone(self) -> Iterator[_Told]:
        return (told for told in reversed(self.recent) if not told.is_shared)

    def open(self) -> int:
        every = self.last.values()
        return sum(told.is_counted and told.ends_at is None for told in every)


class Comparison:
    """Written by the loop, read by the HTTP thread.

    ``tick`` is in seconds. At most ``most`` streams are compared at once, those that
    came first: a topic may invent names.
    """

    def __init__(self, tick: float, most: int = UNBOUNDED) -> None:
        self._gap = APART * tick
        self._most = most
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._free: list[int] = []  # places of streams that were forgotten
        self._observed = 0.0  # seconds of these streams
        self._since: F64 = np.empty(0)
        self._until: F64 = np.empty(0)
        self._margins: F64 = np.empty((len(Side), 0))
        self._points = 0
        self._sides = [_SideCounts() for _ in Side]

    # -- the loop's side ---------------------------------------------------------------

    def scored(self, side: Side, batch: ScoredBatch) -> None:
        """A side scored these points."""
        with self._lock:
            places = self._places_of(batch)
            if side is Side.SHADOW:
                is_warm = batch.decisions.phase != Phase.WARMING
                begins = is_warm & np.isnan(self._since[places]) & (places > _NOWHERE)
                self._since[places[begins]] = batch.times[begins]
            is_compared = batch.times > self._since[places]  # NaN: False
            chosen = places[is_compared]
            margin = batch.step.score - batch.decisions.threshold
            margins = self._margins[side]
            margins[chosen] = np.fmax(margins[chosen], margin[is_compared])
            if side is Side.SHADOW:
                self._points += len(chosen)
                self._until[chosen] = batch.times[is_compared]

    def told(self, side: Side, alert: Alert) -> None:
        """A side told an alert."""
        with self._lock:
            if alert.reason is Reason.FIRED:
                self._begin(side, alert)
            elif alert.reason in ENDS:
                self._end(side, alert)

    def forget(self, names: Iterable[str]) -> None:
        """These streams are no more. What was counted of them stays."""
        with self._lock:
            for name in names:
                self._forget_told(name)
                place = self._places.pop(name, None)
                if place is not None:
                    self._leave(place)

    def took(self, side: Side, seconds: float, points: int) -> None:
        """Add the seconds that a side took, and its points."""
        with self._lock:
            self._sides[side].seconds += seconds
            self._sides[side].points += points

    def _forget_told(self, name: str) -> None:
        """Unless it is open: its end may still come."""
        for side in self._sides:
            told = side.last.get(name)
            if told is not None and told.ends_at is not None:
                del side.last[name]

    def _leave(self, place: int) -> None:
        observed = float(self._until[place] - self._since[place])
        if not math.isnan(observed):
            self._observed += observed
        self._since[place] = np.nan
        self._until[place] = np.nan
        self._margins[:, place] = np.nan
        self._free.append(place)

    def _begin(self, side: Side, alert: Alert) -> None:
        if alert.stream not in self._places:
            return
        told = _Told(alert.stream, alert.starts_at, alert.score, alert.threshold)
        self._count(side, told)
        self._sides[side].last[alert.stream] = told
        other = self._sides[1 - side].last.get(alert.stream)
        if other is None or not told.is_near(other, self._gap):
            return
        # the side in force scores a poll first, also that in which the shadow is warm
        self._count(Side(1 - side), other)
        self._share(side, told)
        self._share(Side(1 - side), other)

    def _count(self, side: Side, told: _Told) -> None:
        """Unless the shadow had not warmed up for the stream."""
        place = self._places.get(told.stream)
        is_compared = place is not None and told.starts_at > self._since[place]
        if not is_compared or told.is_counted:
            return
        told.is_counted = True
        self._sides[side].incidents += 1
        self._sides[side].recent.append(told)

    def _share(self, side: Side, told: _Told) -> None:
        """The other side told it too."""
        if told.is_counted and not told.is_shared:
            self._sides[side].shared += 1
        told.is_shared = True

    def _end(self, side: Side, alert: Alert) -> None:
        told = self._sides[side].last.get(alert.stream)
        if told is not None:
            told.ends_at = alert.at

    def _places_of(self, batch: ScoredBatch) -> I64:
        """The place of each point's stream, int64 [B]; 0 if it is not compared."""
        places = self._places
        names = [batch.names[slot] for slot in batch.slots.tolist()]
        for name in names:
            if name not in places and len(places) < self._most:
                places[name] = self._free.pop() if self._free else len(places) + 1
        missing = len(places) + 1 - len(self._since)
        if missing > 0:
            self._grow(max(missing, len(self._since)))
        found = (places.get(name, _NOWHERE) for name in names)
        return np.fromiter(found, np.int64, len(names))

    def _grow(self, more: int) -> None:
        unknown = np.full(more, np.nan)
        self._since = np.concatenate([self._since, unknown])
        self._until = np.concatenate([self._until, unknown])
        margins = np.full((len(Side), more), np.nan)
        self._margins = np.concatenate([self._margins, margins], axis=1)

    # -- the HTTP thread's side --------------------------------------------------------

    def report(self) -> ComparisonReport:
        """What was found so far."""
        with self._lock:
            names = list(self._places)
            used = self._used()
            margins = self._margins[:, used].copy()
            observed = self._until[used] - self._since[used]
            weeks = (float(np.nansum(observed)) + self._observed) / WEEK
            live, shadow = (self._side(side, weeks) for side in Side)
            warm = int(np.count_nonzero(~np.isnan(self._since[used])))
            points = self._points
        correlation, moved = _ranks(names, margins)
        return ComparisonReport(
            streams=len(names),
            warm=warm,
            points=points,
            stream_weeks=weeks,
            live=live,
            shadow=shadow,
            rank_correlation=correlation,
            moved=moved,
        )

    def warm_share(self) -> float:
        """Of the streams that had a point, those that the shadow is warm for."""
        with self._lock:
            since = self._since[self._used()]
        warm = np.count_nonzero(~np.isnan(since))
        return float(warm) / len(since) if len(since) else 0.0

    def _used(self) -> I64:
        """The places of the streams, int64 [streams], in the order of their names."""
        places = self._places.values()
        return np.fromiter(places, np.int64, len(places))

    def _side(self, side: Side, weeks: float) -> SideReport:
        found = self._sides[side]
        cost = found.seconds / found.points * 1e6 if found.points else None
        alone = [_alone(told) for told in islice(found.alone(), LISTED)]
        return SideReport(
            incidents=found.incidents,
            alone=found.incidents - found.shared,
            open=found.open(),
            per_week=found.incidents / weeks if weeks * 7 >= 1 else None,
            microseconds_per_point=cost,
            told_alone=alone,
        )


def _alone(told: _Told) -> ToldAlone:
    return ToldAlone(
        told.stream, told.starts_at, told.ends_at, told.score, told.threshold
    )


def _ranks(
    names: Sequence[str], margins: F64
) -> tuple[float | None, list[RankOfStream]]:
    """Spearman's correlation, and the streams that moved most; margins [2, streams]."""
    known: I64 = np.flatnonzero(np.isfinite(margins).all(axis=0))
    if len(known) < _LEAST:
        return None, []
    ranks: F64 = np.stack([_rank(margins[side, known]) for side in Side])
    if (ranks == ranks[:, :1]).all(axis=1).any():
        return None, []  # one side has one margin for all: there is no order
    correlation = float(np.asarray(np.corrcoef(ranks))[0, 1])
    distance: F64 = np.abs(ranks[Side.LIVE] - ranks[Side.SHADOW])
    order = np.argsort(-distance, kind="stable")[:LISTED]
    moved = [
        RankOfStream(
            stream=names[known[i]],
            live=int(ranks[Side.LIVE, i]),
            shadow=int(ranks[Side.SHADOW, i]),
            live_margin=float(margins[Side.LIVE, known[i]]),
            shadow_margin=float(margins[Side.SHADOW, known[i]]),
        )
        for i in order.tolist()
        if distance[i]
    ]
    return correlation, moved


def _rank(values: F64) -> F64:
    """1 for the largest. Equal values share the mean of their ranks."""
    _, places, counts = np.unique(-values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean = last - (counts - 1) / 2
    ranks: F64 = mean[places]
    return ranks
