"""Streams without a point for too long are forgotten, in the store too."""

from __future__ import annotations

import numpy as np

from detector.events import F32, Partition, Phase
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.row_memory import PAGE
from detector.state.table import StreamTable

P = Partition("metrics", 0)
WEEK = 604_800.0
OLD = [f"old{i}" for i in range(PAGE)]


def table() -> StreamTable:
    none: F32 = np.zeros((0, 2), np.float32)
    states = InitialStates(
        np.zeros(2, np.float32), {}, none, none[:, 0], none, np.zeros(0)
    )
    made = StreamTable(states, TableLimits(expire_after=WEEK))
    made.assign(P)
    give_point(made, OLD, time=0.0, now=0.0)
    made.newcomers.admit(P, made.slots(P, OLD))
    return made


def give_point(made: StreamTable, streams: list[str], time: float, now: float) -> None:
    slots = made.slots(P, streams)
    made.times[slots] = time
    made.touched[slots] = now


def expire(made: StreamTable, before: float) -> list[int]:
    return [rows.number for rows in made.silent.expire(P, before, offset=0)]


def test_idle_streams_expire_by_the_time_of_the_others() -> None:
    made = table()
    give_point(made, ["a", "b", "c"], time=WEEK - 1, now=50.0)
    assert expire(made, before=10.0) == []
    assert made.streams == PAGE + 3
    give_point(made, ["a", "b", "c"], time=WEEK + 1, now=60.0)
    assert expire(made, before=10.0) == []
    assert made.streams == 3
    assert len(made.silent.expired) == PAGE


def test_one_clock_that_is_ahead_makes_no_stream_expire() -> None:
    made = table()
    give_point(made, ["a", "b"], time=100.0, now=50.0)
    give_point(made, ["liar"], time=100 * WEEK, now=50.0)
    expire(made, before=10.0)
    assert made.streams == PAGE + 3


def test_names_that_came_once_do_not_move_to_the_store() -> None:
    made = table()
    once = [f"once{i}" for i in range(PAGE)]
    give_point(made, once, time=0.0, now=0.0)
    (idle,) = made.silent.idle(P, before=10.0, offset=0)
    assert set(idle.names) == set(OLD)


def test_a_page_in_the_store_expires_as_a_whole() -> None:
    made = table()
    (idle,) = made.silent.idle(P, before=10.0, offset=0)
    made.silent.evict(P, idle)
    give_point(made, ["a", "b", "c"], time=2 * WEEK, now=50.0)
    emptied = made.silent.expire(P, 10.0, offset=7)
    assert [(rows.number, rows.offset, rows.names) for rows in emptied] == [
        (idle.number, 7, ())
    ]
    assert made.silent.evicted == 0
    assert not made.silent.cold(P)
    assert made.silent.missing_pages(P, OLD) == set()
    made.silent.evict(P, emptied[0])  # it is durable
    give_point(made, [f"more{i}" for i in range(PAGE)], 2 * WEEK, now=0.0)
    numbers = [number for number, _ in made.pages(P)]
    assert idle.number in numbers


def test_a_restored_page_in_the_store_expires_too() -> None:
    made = table()
    (idle,) = made.silent.idle(P, before=10.0, offset=0)
    made.silent.evict(P, idle)
    hot = made.copy_page(P, 0, offset=0)
    made.assign(P, [hot, idle], offset=0, cold={1})
    give_point(made, ["a", "b", "c"], time=2 * WEEK, now=50.0)
    assert expire(made, before=10.0) == [1]


def test_a_stream_in_an_incident_does_not_expire() -> None:
    made = table()
    made.decisions["phase"][made.slots(P, ["old7"])] = Phase.FIRING
    give_point(made, ["a", "b", "c"], time=2 * WEEK, now=50.0)
    expire(made, before=10.0)
    assert made.streams == 4


def test_without_a_stream_that_moves_nothing_expires() -> None:
    made = table()
    expire(made, before=10.0)
    assert made.streams == PAGE


def test_a_stream_that_comes_back_too_late_starts_anew() -> None:
    made = table()
    slot = made.slots(P, ["old7"])
    made.states[slot] = 5.0
    made.decisions["steps"][slot] = 100
    made.begin_expired(P, slot, np.array([WEEK]))
    assert made.decisions["steps"][slot] == 100
    made.begin_expired(P, slot, np.array([2 * WEEK]))
    assert made.states[slot].tolist() == [[0.0, 0.0]]
    assert made.decisions["steps"][slot] == 0


def test_its_open_incident_stays_open_for_the_receiver() -> None:
    made = table()
    slot = made.slots(P, ["old7"])
    made.decisions["phase"][slot] = Phase.FIRING
    made.decisions["onset"][slot] = 3.0
    made.begin_expired(P, slot, np.array([2 * WEEK]))
    assert made.decisions["phase"][slot] == Phase.FIRING
    assert made.decisions["onset"][slot] == 3.0
    assert made.decisions["steps"][slot] == 0
