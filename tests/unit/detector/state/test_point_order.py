"""What becomes of one point, by its time and its stream's past."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.record_clock import ClockBounds, PointClock
from detector.state.point_order import (
    Action,
    HeldAction,
    StreamClock,
    arrange,
    could_be_held,
)

DAY = 86_400.0
FILE = PointClock(ClockBounds())
STREAM = StreamClock(last=1000.0, tick=60.0)


def action(
    time: float,
    stream: StreamClock = STREAM,
    clock: PointClock = FILE,
    is_repeated: bool = False,
) -> Action:
    return arrange(time, clock, stream, is_repeated)[0]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1060.0, Action.SCORE),
        (1090.0, Action.SCORE),  # jitter
        (1120.0, Action.HOLD_HOLE),
        (1180.0, Action.SCORE),  # what is missing comes too late in any case
        (1600.0, Action.SCORE),
        (1601.0, Action.HOLD_JUMP),
        (4e9, Action.HOLD_JUMP),
        (999.0, Action.LATE),
    ],
)
def test_a_point_of_a_minutes_stream(time: float, expected: Action) -> None:
    assert action(time) is expected


def test_a_first_point_is_scored() -> None:
    assert action(4e9, StreamClock(last=-math.inf, tick=0.0)) is Action.SCORE


def test_an_hourly_stream_is_not_held_at_each_point() -> None:
    stream = StreamClock(last=0.0, tick=3600.0)
    assert action(3600.0, stream) is Action.SCORE
    assert action(9 * 3600.0, stream) is Action.SCORE
    assert action(11 * 3600.0, stream) is Action.HOLD_JUMP


def test_equal_times_are_repetitions_only_if_the_values_are_too() -> None:
    in_order = PointClock(ClockBounds(), in_order=True)
    assert action(1000.0, is_repeated=False) is Action.SCORE
    assert action(1000.0, is_repeated=True) is Action.DUPLICATE
    assert action(1000.0, clock=in_order, is_repeated=True) is Action.SCORE


def test_the_brokers_time_vouches_for_a_pause_and_the_producers_does_not() -> None:
    now = 1000.0 + DAY
    for is_brokers in (True, False):
        clock = PointClock(ClockBounds(), log_time=now, is_brokers=is_brokers)
        expected = Action.SCORE if is_brokers else Action.HOLD_JUMP
        assert action(now, clock=clock) is expected


HOLDING_JUMP = StreamClock(last=1000.0, tick=60.0, held=9000.0, holds_jump=True)
HOLDING_HOLE = StreamClock(last=1000.0, tick=60.0, held=1120.0)


@pytest.mark.parametrize(
    ("stream", "time", "expected"),
    [
        (HOLDING_JUMP, 1060.0, (Action.SCORE, HeldAction.REJECT)),
        (HOLDING_JUMP, 9060.0, (Action.SCORE, HeldAction.SCORE_FIRST)),
        (HOLDING_JUMP, 8940.0, (Action.SCORE, HeldAction.SCORE_AFTER)),
        (HOLDING_JUMP, 990.0, (Action.LATE, HeldAction.KEEP)),
        (HOLDING_JUMP, 5000.0, (Action.HOLD_JUMP, HeldAction.REJECT)),
        (HOLDING_HOLE, 1060.0, (Action.SCORE, HeldAction.SCORE_AFTER)),
        (HOLDING_HOLE, 1180.0, (Action.SCORE, HeldAction.SCORE_FIRST)),
        (HOLDING_HOLE, 1240.0, (Action.HOLD_HOLE, HeldAction.SCORE_FIRST)),
    ],
)
def test_a_held_point_is_settled_by_the_next_one(
    stream: StreamClock, time: float, expected: tuple[Action, HeldAction]
) -> None:
    assert arrange(time, FILE, stream, False) == expected


def test_a_held_point_that_comes_again_is_one_point() -> None:
    again = arrange(9000.0, FILE, HOLDING_JUMP, True)
    other = arrange(9000.0, FILE, HOLDING_JUMP, False)
    assert again == (Action.DUPLICATE, HeldAction.KEEP)
    assert other == (Action.SCORE, HeldAction.SCORE_FIRST)


def test_a_clock_that_was_ahead_goes_on_from_where_it_is_right_again() -> None:
    ahead = StreamClock(last=9000.0, tick=60.0, origin=1000.0)
    assert action(1060.0, ahead) is Action.RETURN
    assert action(990.0, ahead) is Action.LATE
    assert action(8500.0, ahead) is Action.LATE  # merely late


def test_a_return_rejects_the_point_that_the_wrong_clock_left_behind() -> None:
    ahead = StreamClock(last=9000.0, tick=60.0, origin=1000.0, held=9120.0)
    returned = arrange(1060.0, FILE, ahead, False)
    late = arrange(8900.0, FILE, ahead, False)
    assert returned == (Action.RETURN, HeldAction.REJECT)
    assert late == (Action.LATE, HeldAction.KEEP)


def test_the_logs_time_tells_a_backfill_from_a_clock_that_was_ahead() -> None:
    ahead = StreamClock(last=9000.0, tick=60.0, origin=1000.0)
    for log_time, expected in ((9010.0, Action.LATE), (1070.0, Action.RETURN)):
        clock = PointClock(ClockBounds(), log_time=log_time)
        assert action(1060.0, ahead, clock) is expected


@given(
    gap=st.floats(0.001, 1e6),
    tick=st.floats(0, 1e5),
    lateness=st.floats(0, 1e4),
    future=st.floats(0, 1e5),
)
def test_the_quick_look_misses_no_point_that_is_held(
    gap: float, tick: float, lateness: float, future: float
) -> None:
    bounds = ClockBounds(future, lateness)
    ticks = np.array([tick], np.float32)
    stream = StreamClock(last=0.0, tick=float(ticks[0]))
    decided = action(gap, stream, PointClock(bounds))
    if decided is not Action.SCORE:
        assert could_be_held(np.array([gap]), ticks, bounds)[0]
