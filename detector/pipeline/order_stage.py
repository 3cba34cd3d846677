"""Puts the points of a wave in the order of their times, stream by stream.

:mod:`detector.state.point_order` decides about one point. This stage finds the few that
need a decision, holds points back and releases them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from detector.errors import RejectReason
from detector.events import (
    F64,
    I64,
    MetricKind,
    Partition,
    Phase,
    RecordBatch,
    RejectedRecord,
)
from detector.names import short_tags
from detector.phrases import duration
from detector.record_clock import RecordClock
from detector.state.held_points import KEPT, HeldPoint, StreamPast
from detector.state.point_order import (
    Action,
    HeldAction,
    StreamClock,
    arrange,
    could_be_held,
)
from detector.state.row_memory import PAGE_BITS, Slots
from detector.state.table import StreamTable
from detector.timestamps import rfc3339

_Bools = npt.NDArray[np.bool_]
_U16 = npt.NDArray[np.uint16]
_U64 = npt.NDArray[np.uint64]
_Element = TypeVar("_Element", bound=np.generic)

# An odd number near 2**64 over the golden ratio: multiplying by it mixes the bits of a
# value into the upper ones (Knuth, TAOCP 3, section 6.4).
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_UPPER: Final = np.uint64(48)  # bits to shift, so that 16 are left


@dataclass(frozen=True, slots=True)
class Run:
    """One point of each of k streams, to be scored in the order of runs.

    Attributes:
        batch: what the points are in.
        records: int64 [k], their indices in it.
        slots: int64 [k], rows of the table.
    """

    batch: RecordBatch
    records: I64
    slots: Slots


@dataclass(slots=True)
class _Sorted:
    """What becomes of the points of a wave, so far.

    Attributes:
        first, after: slots and held points to score before and after the others.
        now: places in the wave of the points that are scored now.
        dropped: indices of records that are late or repeated, and why.
        rejected: records of held points that were from the future.
    """

    first: list[tuple[int, HeldPoint]] = field(default_factory=list)
    now: list[int] = field(default_factory=list)
    after: list[tuple[int, HeldPoint]] = field(default_factory=list)
    dropped: list[tuple[int, RejectReason]] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A wave in order.

    Attributes:
        runs: to be scored, one after the other.
        dropped: indices of records whose points are late or repeated, and why.
        rejected: records of points that were held and from the future.
    """

    runs: Sequence[Run]
    dropped: Sequence[tuple[int, RejectReason]] = ()
    rejected: Sequence[RejectedRecord] = ()


class OrderStage:
    """Orders waves of a table's streams. One thread."""

    def __init__(self, table: StreamTable) -> None:
        self._table = table

    def order(self, batch: RecordBatch, records: I64, slots: Slots) -> Ordered:
        """One point of each of these records' streams, in ``slots`` [n]."""
        times = batch.times[records]
        last = self._table.times[slots]
        gap = times - last
        if batch.clock is None:
            return _without_clock(batch, records, slots, gap)
        needs_decision = self._need_decision(batch.clock, records, slots, gap)
        if not needs_decision.any():
            return Ordered([Run(batch, records, slots)])
        found = _Sorted(now=np.flatnonzero(~needs_decision).tolist())
        for place in np.flatnonzero(needs_decision).tolist():
            self._decide(batch, int(records[place]), int(slots[place]), place, found)
        now = np.array(found.now, np.int64)
        runs = [
            *self._held_runs(batch.partition, found.first),
            Run(batch, records[now], slots[now]),
            *self._held_runs(batch.partition, found.after),
        ]
        return Ordered(runs, found.dropped, found.rejected)

    def note(self, run: Run) -> None:
        """The points of a run are about to be scored: know their values again."""
        values = run.batch.values[run.records]
        self._table.decisions["last_digest"][run.slots] = digest(values)

    def flush(self, partition: Partition) -> Ordered:
        """The end of the log: no point comes after those that are held.

        Those behind a hole are scored. Whether a jump goes on can't be told any more,
        so what may be from the future is rejected.
        """
        pasts = self._table.pasts
        own = self._table.slots_of(partition) & pasts.holding
        found = _Sorted()
        for slot in sorted(own):
            past = pasts.of(slot)
            assert past.held is not None
            self._set_past(slot, StreamPast(past.origin, None, past.totals))
            if past.held.is_jump:
                found.rejected.append(self._future(partition, slot, past.held))
            else:
                found.first.append((slot, past.held))
        runs = list(self._held_runs(partition, found.first))
        return Ordered(runs, (), found.rejected)

    def _need_decision(
        self, clock: RecordClock, records: I64, slots: Slots, gap: F64
    ) -> _Bools:
        """bool [n], points that are not plainly the next ones of their streams."""
        ticks = self._table.decisions["tick"][slots]
        is_odd = (gap <= 0) | could_be_held(gap, ticks, clock.bounds)
        holding = self._table.pasts.holding
        if holding:
            holds = (slot in holding for slot in slots.tolist())
            is_odd |= np.fromiter(holds, np.bool_, len(slots))
        return np.asarray(is_odd)

    def _decide(
        self, batch: RecordBatch, record: int, slot: int, place: int, found: _Sorted
    ) -> None:
        assert batch.clock is not None
        table = self._table
        past = table.pasts.of(slot)
        held = past.held
        stream = StreamClock(
            last=float(table.times[slot]),
            tick=float(table.decisions["tick"][slot]),
            origin=past.origin,
            held=None if held is None else held.time,
            holds_jump=held is not None and held.is_jump,
        )
        time = float(batch.times[record])
        clock = batch.clock.of(record)
        is_repeated = self._is_repeated(batch, record, slot, stream)
        action, of_held = arrange(time, clock, stream, is_repeated)
        origin = past.origin
        if held is not None and of_held is not HeldAction.KEEP:
            is_believed = of_held is not HeldAction.REJECT
            if is_believed and held.is_jump:
                origin = stream.last
            self._release(batch.partition, slot, held, of_held, found)
            held = None
        if action in (Action.HOLD_HOLE, Action.HOLD_JUMP):
            held = _held(batch, record, is_jump=action is Action.HOLD_JUMP)
            table.newcomers.admit(batch.partition, np.array([slot]))
        elif action is Action.RETURN:
            origin = np.inf
            self._turn_back(slot, time)
        self._set_past(slot, StreamPast(origin, held, past.totals))
        if action in (Action.SCORE, Action.RETURN):
            found.now.append(place)
        elif action is Action.LATE:
            found.dropped.append((record, RejectReason.LATE))
        elif action is Action.DUPLICATE:
            found.dropped.append((record, RejectReason.DUPLICATE))

    def _is_repeated(
        self, batch: RecordBatch, record: int, slot: int, stream: StreamClock
    ) -> bool:
        """Whether its values are those of the point that has the same time."""
        time = float(batch.times[record])
        own = digest(batch.values[[record]])[0]
        held = self._table.pasts.of(slot).held
        if held is not None and time == held.time:
            return bool(own == digest(np.array([held.values]))[0])
        is_same_time = time == stream.last
        return is_same_time and bool(own == self._table.decisions["last_digest"][slot])

    def _release(
        self,
        partition: Partition,
        slot: int,
        held: HeldPoint,
        action: HeldAction,
        found: _Sorted,
    ) -> None:
        if action is HeldAction.SCORE_FIRST:
            found.first.append((slot, held))
        elif action is HeldAction.SCORE_AFTER:
            found.after.append((slot, held))
        else:
            found.rejected.append(self._future(partition, slot, held))

    def _future(
        self, partition: Partition, slot: int, held: HeldPoint
    ) -> RejectedRecord:
        last = float(self._table.times[slot])
        name = self._table.names[slot]
        detail = (
            f"timestamp {rfc3339(held.time)} is {duration(held.time - last)} ahead of"
            f" its stream's time, and no later point confirms it: check the clock of"
            f" `{name}`"
        )
        return RejectedRecord(
            partition=partition,
            offset=held.offset,
            reason=RejectReason.FUTURE,
            detail=detail,
            key=held.key,
            value=held.value,
            stream=name,
            is_whole=False,  # a held point keeps no headers, and first bytes only
        )

    def _turn_back(self, slot: int, time: float) -> None:
        """A stream's last points were ahead; it goes on at an earlier ``time``.

        The time of an open incident's onset is known to receivers, and stays.
        """
        rows = self._table.decisions
        tick = float(rows["tick"][slot])
        before = time - tick
        self._table.times[slot] = before
        self._table.counters.turn_back(slot, before)
        for name in ("ended", "last_above", "departed", "repeats_since"):
            rows[name][slot] = min(float(rows[name][slot]), time)
        if rows["phase"][slot] != Phase.FIRING:
            rows["onset"][slot] = min(float(rows["onset"][slot]), time)

    def _set_past(self, slot: int, past: StreamPast) -> None:
        self._table.pasts.put(slot, past)
        self._table.page_dirty[slot >> PAGE_BITS] = True

    def _held_runs(
        self, partition: Partition, points: Sequence[tuple[int, HeldPoint]]
    ) -> Iterator[Run]:
        """Held points as a batch of their own; nothing if there is none."""
        if not points:
            return
        slots = np.array([slot for slot, _ in points], np.int64)
        names = [self._table.names[slot] for slot, _ in points]
        batch = _batch_of(partition, names, [held for _, held in points])
        yield Run(batch, np.arange(len(points)), slots)


def digest(values: F64) -> _U16:
    """uint16 [n] of values [n, F]: equal if they are, and hardly ever else."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    mixed: _U64 = np.zeros(len(values), np.uint64)
    for column in bits.T:
        mixed = (mixed ^ column) * _MIX
        mixed ^= mixed >> np.uint64(32)
    return (mixed >> _UPPER).astype(np.uint16)


def _without_clock(batch: RecordBatch, records: I64, slots: Slots, gap: F64) -> Ordered:
    """Times are taken as they are: each must be later than the one before."""
    late = gap <= 0
    if not late.any():
        return Ordered([Run(batch, records, slots)])
    reasons = np.where(gap[late] == 0, RejectReason.DUPLICATE, RejectReason.LATE)
    dropped = [
        (record, RejectReason(reason))
        for record, reason in zip(records[late].tolist(), reasons.tolist(), strict=True)
    ]
    return Ordered([Run(batch, records[~late], slots[~late])], dropped)


def _held(batch: RecordBatch, record: int, is_jump: bool) -> HeldPoint:
    labels = None if batch.labels is None else batch.labels[record]
    kinds = () if batch.kinds is None else batch.kinds[record].tolist()
    starts = () if batch.starts is None else batch.starts[record].tolist()
    key, value = _bytes_of(batch, record) if is_jump else (None, None)
    return HeldPoint(
        time=float(batch.times[record]),
        offset=int(batch.offsets[record]),
        values=tuple(batch.values[record].tolist()),
        is_jump=is_jump,
        kinds=tuple(kinds),
        starts=tuple(starts),
        labels=short_tags(labels or {}),
        key=key,
        value=value,
        totals=dict(batch.totals.get(record, {})),
    )


def _bytes_of(batch: RecordBatch, record: int) -> tuple[bytes | None, bytes | None]:
    """The first bytes of the key and of the value of a point's record."""
    raw = batch.raw
    if raw is None:
        return None, None
    index = bisect.bisect_left(raw.offsets, int(batch.offsets[record]))
    key = raw.keys[index]
    value = raw.values[index]
    return key and key[:KEPT], value and value[:KEPT]


def _batch_of(
    partition: Partition, names: Sequence[str], points: Sequence[HeldPoint]
) -> RecordBatch:
    """Points that were held, all with kinds and starts or none, as a batch."""
    kinds = [point.kinds for point in points]
    starts = [point.starts for point in points]
    width = len(points[0].values)
    return RecordBatch(
        partition=partition,
        names=names,
        offsets=np.array([point.offset for point in points], np.int64),
        times=np.array([point.time for point in points], np.float64),
        values=np.array([point.values for point in points], np.float64),
        next_offset=points[-1].offset + 1,
        kinds=_filled(kinds, width, MetricKind.UNKNOWN, np.uint8),
        starts=_filled(starts, width, np.nan, np.float64),
        labels=[point.labels or None for point in points],
        totals={i: point.totals for i, point in enumerate(points) if point.totals},
    )


def _filled(
    rows: Sequence[Sequence[float]], width: int, nothing: float, kind: type[_Element]
) -> npt.NDArray[_Element] | None:
    """[n, width] of rows, some of which are empty; None if all are."""
    if not any(rows):
        return None
    return np.array([row or (nothing,) * width for row in rows], kind)
