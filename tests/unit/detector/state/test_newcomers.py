"""Streams with a single point make room; known streams never do."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import F32, Partition, Phase
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.partition_pages import CROWDED, NO_SLOT
from detector.state.row_memory import PAGE
from detector.state.table import StreamTable

P = Partition("metrics", 0)
BOUND = 16


def table(max_streams: int = 10_000) -> StreamTable:
    one_known: F32 = np.ones((1, 2), np.float32)
    states = InitialStates(
        np.zeros(2, np.float32),
        {"trained": 0},
        one_known,
        one_known[:, 0],
        one_known,
        np.zeros(1),
    )
    made = StreamTable(states, TableLimits(max_streams, BOUND))
    made.assign(P)
    return made


def names(count: int, prefix: str = "s") -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


def give_point(made: StreamTable, streams: list[str], time: float = 60.0) -> None:
    """As the pipeline does: another point of each."""
    slots = made.slots(P, streams)
    made.newcomers.admit(P, slots)
    made.times[slots] = time


def test_a_second_point_makes_a_newcomer_known() -> None:
    made = table()
    give_point(made, ["a"])
    assert len(made.newcomers) == 1
    give_point(made, ["a"], 120.0)
    assert len(made.newcomers) == 0


def test_a_stream_that_training_knows_is_no_newcomer() -> None:
    made = table()
    made.slots(P, ["trained"])
    assert len(made.newcomers) == 0


def test_the_oldest_newcomers_make_room_for_others() -> None:
    made = table()
    give_point(made, names(BOUND))
    assert made.slots(P, ["new"]) == CROWDED
    assert made.newcomers.make_room(P) == BOUND // 8
    assert made.slots(P, ["new"]) >= 0
    assert "s0" not in made.names
    assert "s2" in made.names


def test_known_streams_never_make_room() -> None:
    made = table()
    give_point(made, ["a"])
    give_point(made, ["a"], 120.0)
    for start in range(10 * BOUND):
        if made.slots(P, [f"n{start}"])[0] == CROWDED:
            made.newcomers.make_room(P)
    assert "a" in made.names
    assert made.streams <= BOUND + 1


def test_a_newcomer_in_an_incident_stays_and_is_known() -> None:
    made = table()
    give_point(made, names(BOUND))
    made.decisions["phase"][made.slots(P, ["s0"])] = Phase.FIRING
    assert made.newcomers.make_room(P) == BOUND // 8 - 1
    assert "s0" in made.names
    assert len(made.newcomers) == BOUND - BOUND // 8


def test_a_full_table_takes_the_place_of_newcomers_first() -> None:
    made = table(max_streams=PAGE)
    known = names(PAGE - 1, "k")
    for start in range(0, len(known), BOUND):
        give_point(made, known[start : start + BOUND])
        give_point(made, known[start : start + BOUND], 120.0)
    give_point(made, ["newcomer"])
    assert made.slots(P, ["next"]) == CROWDED
    made.newcomers.make_room(P)
    give_point(made, ["next"])
    give_point(made, ["next"], 120.0)
    assert made.slots(P, ["one more"]) == NO_SLOT


def test_an_evicted_stream_has_a_row_in_a_full_table() -> None:
    made = table(max_streams=PAGE)
    first = names(PAGE, "a")
    for start in range(0, PAGE, BOUND):
        give_point(made, first[start : start + BOUND])
        give_point(made, first[start : start + BOUND], 120.0)
    (idle,) = made.silent.idle(P, before=1.0, offset=0)
    made.silent.evict(P, idle)
    second = names(PAGE, "b")
    for start in range(0, PAGE, BOUND):
        give_point(made, second[start : start + BOUND])
        give_point(made, second[start : start + BOUND], 120.0)
    assert made.slots(P, ["new"]) == NO_SLOT
    made.silent.add_page(P, idle)
    assert made.slots(P, ["a7"]) >= 0


def test_a_restart_knows_the_newcomers_in_their_order() -> None:
    made = table()
    for tick, stream in enumerate(["c", "a", "b"], 1):
        give_point(made, [stream], 60.0 * tick)
    give_point(made, ["a"], 240.0)
    page = made.copy_page(P, 0, offset=4)
    again = table()
    again.assign(P, [page], offset=4)
    assert len(again.newcomers) == 2
    give_point(again, names(BOUND - 2), 300.0)
    again.newcomers.make_room(P)
    assert "c" not in again.names
    assert "a" in again.names


@pytest.mark.parametrize("leave", ["revoke", "make_room", "evict"])
def test_the_census_follows_the_streams(leave: str) -> None:
    made = table()
    give_point(made, names(BOUND, "web-"))
    give_point(made, names(4, "web-"), 120.0)
    counted = [(count.prefix, count.streams) for count in made.census.largest(3)]
    assert counted == [("web", BOUND)]
    if leave == "revoke":
        made.revoke(P)
        assert made.census.largest(3) == []
    elif leave == "make_room":
        made.newcomers.make_room(P)
        assert made.census.largest(3)[0].streams == BOUND - 1
    else:
        slots = made.slots(P, names(4, "web-"))
        idle = made.silent.idle(P, before=1.0, offset=0)
        assert not idle  # less than a page
        assert made.census.largest(1)[0].streams == BOUND
        assert len(slots) == 4
