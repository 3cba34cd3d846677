"""Whether a point is next, late, a repetition, or from a clock that is ahead.

Theory of operation. A stream's points come in the order of their times, with three
exceptions that no one point shows. So a point after a gap is *held* until its stream's
next point shows which it is. It is then scored before that one, or rejected.

- *A jump*: a gap of more than the bound for the future, and of more than ten ticks. The
  stream paused, or the clock is ahead. If the next point goes on from there, the stream
  paused. If it comes from before, as if there had been no jump, the held point was from
  the future and is rejected. Where the broker's stamp says that it is now that late,
  nothing is held.
- *A hole*: a point is missing, and may still come within the allowed lateness. If it
  comes, it is scored first. A stream without holes is never held up, and others are for
  one point.
- *A return*: two points that were ahead are believed. A point that comes later from
  between the jump and its origin shows that the clock was ahead all the time: the
  stream goes on from there, and a point that it holds was ahead too. The log's time
  refutes it, where it says that the later
  time was right.

All this follows from the stream's own points and stamps, one by one. So polls, kills
and other streams change nothing, and a replay decides alike.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64
from detector.record_clock import ClockBounds, PointClock

# Ticks of a gap that may be a jump: a minute's ticks make it the default bound.
_TICKS_OF_A_JUMP: Final = 10.0
# Ticks between two points without a hole: half a tick of jitter.
_TICKS_WITHOUT_A_HOLE: Final = 1.5


class Action(enum.Enum):
    """What becomes of a point."""

    SCORE = enum.auto()
    HOLD_HOLE = enum.auto()  # it may have a predecessor that is still to come
    HOLD_JUMP = enum.auto()  # it may be from the future
    RETURN = enum.auto()  # score it: the stream's last points were from the future
    LATE = enum.auto()
    DUPLICATE = enum.auto()


class HeldAction(enum.Enum):
    """What becomes of the point that the stream holds."""

    KEEP = enum.auto()
    SCORE_FIRST = enum.auto()  # before the new point
    SCORE_AFTER = enum.auto()  # after it
    REJECT = enum.auto()  # it is from the future


@dataclass(frozen=True, slots=True)
class StreamClock:
    """What a stream knows of time, in seconds.

    Attributes:
        last: event time of the last scored point; -inf: none yet.
        tick: its usual interval; 0: not known yet.
        origin: event time before its last jump; inf: there was none.
        held: event time of the point that it holds; None: it holds none.
        holds_jump: whether that point is held for a jump.
    """

    last: float
    tick: float
    origin: float = math.inf
    held: float | None = None
    holds_jump: bool = False

    def after_held(self) -> StreamClock:
        """The same once the held point is scored."""
        assert self.held is not None
        origin = self.last if self.holds_jump else self.origin
        return StreamClock(self.held, self.tick, origin)

    def without_held(self) -> StreamClock:
        return StreamClock(self.last, self.tick, self.origin)


def arrange(
    time: float, clock: PointClock, stream: StreamClock, is_repeated: bool
) -> tuple[Action, HeldAction]:
    """What becomes of a stream's next point at event ``time``, and of the held one.

    ``is_repeated``: its values are those of the point that has the same time.
    """
    if stream.held is None or time <= stream.last:
        action = _without_held(time, clock, stream, is_repeated)
        is_ahead = stream.held is not None and action is Action.RETURN
        return action, HeldAction.REJECT if is_ahead else HeldAction.KEEP
    if time > stream.held or (time == stream.held and not is_repeated):
        following = stream.after_held()
        return _without_held(
            time, clock, following, is_repeated
        ), HeldAction.SCORE_FIRST
    if time == stream.held:
        return Action.DUPLICATE, HeldAction.KEEP
    ahead = stream.held - time
    if stream.holds_jump and ahead > _shortest_jump(clock, stream):
        following = stream.without_held()
        return _without_held(time, clock, following, is_repeated), HeldAction.REJECT
    if is_hole(ahead, clock, stream.tick):
        return Action.SCORE, HeldAction.KEEP
    return Action.SCORE, HeldAction.SCORE_AFTER


def could_be_held(gaps: F64, ticks: F32, bounds: ClockBounds) -> npt.NDArray[np.bool_]:
    """bool [n], the points that :func:`arrange` might hold, by gaps and ticks [n].

    It looks at fewer facts, so that few points need a decision of their own.
    """
    lateness = bounds.lateness_seconds
    may_be_jump = (gaps > bounds.future_seconds) & np.isfinite(gaps)
    has_tick = (ticks > 0) & (ticks <= lateness)
    may_be_hole = (gaps > _TICKS_WITHOUT_A_HOLE * ticks) & has_tick
    return np.asarray(may_be_jump | (may_be_hole & (gaps <= 2.5 * lateness)))


def _without_held(
    time: float, clock: PointClock, stream: StreamClock, is_repeated: bool
) -> Action:
    gap = time - stream.last
    if gap == 0:
        is_another = clock.in_order or not is_repeated
        return Action.SCORE if is_another else Action.DUPLICATE
    if gap < 0:
        return Action.RETURN if _is_return(time, clock, stream) else Action.LATE
    if math.isinf(gap):
        return Action.SCORE
    if gap > _shortest_jump(clock, stream) and not _is_vouched(time, clock):
        return Action.HOLD_JUMP
    if is_hole(gap, clock, stream.tick):
        return Action.HOLD_HOLE
    return Action.SCORE


def _shortest_jump(clock: PointClock, stream: StreamClock) -> float:
    return max(clock.bounds.future_seconds, _TICKS_OF_A_JUMP * stream.tick)


def _is_vouched(time: float, clock: PointClock) -> bool:
    return clock.is_brokers and clock.bounds.vouches(clock.log_time, time)


def is_hole(gap: float, clock: PointClock, tick: float) -> bool:
    """Whether points may be missing in a gap that can still come."""
    lateness = clock.bounds.lateness_seconds
    if clock.in_order or not 0 < tick <= lateness:
        return False
    longest = lateness + _TICKS_WITHOUT_A_HOLE * tick
    return _TICKS_WITHOUT_A_HOLE * tick < gap <= longest


def _is_return(time: float, clock: PointClock, stream: StreamClock) -> bool:
    is_back = stream.last - time > _shortest_jump(clock, stream)
    if not (is_back and time > stream.origin):
        return False
    return not clock.bounds.vouches(clock.log_time, stream.last)
