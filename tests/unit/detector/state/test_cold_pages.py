"""Streams that fell silent: which page has each, and when a page is spare."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import Partition, Phase
from detector.state.cold_pages import ColdPages
from detector.state.decisions import fresh_decisions
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.page_rows import PageRows
from detector.state.row_memory import PAGE
from detector.state.table import StreamTable

P = Partition("metrics", 0)
NAMES = [f"s{i}" for i in range(PAGE)]


def page(number: int, *names: str) -> PageRows:
    count = len(names)
    states = np.zeros((count, 2), np.float32)
    return PageRows(number, 0, names, states, fresh_decisions(count), np.zeros(count))


@pytest.fixture
def table() -> StreamTable:
    """One page full of idle streams."""
    none = np.zeros((0, 2), np.float32)
    unknown = np.zeros(2, np.float32)
    states = InitialStates(unknown, {}, none, none[:, 0], none, np.zeros(0))
    made = StreamTable(states, TableLimits(10 * PAGE))
    made.assign(P)
    slots = made.slots(P, NAMES)
    made.states[slots] = np.arange(PAGE)[:, None]
    made.touched[slots] = 0.0
    made.decisions["is_newcomer"][slots] = 0
    made.set_labels(slots, [{"name": name} for name in NAMES])
    return made


def test_a_cold_stream_needs_its_page_and_leaves_it_once() -> None:
    cold = ColdPages()
    cold.hold(3, ["a", "b"])
    assert cold.missing_pages([b"a", "b", "new"]) == {3}
    cold.add_page(page(3, "a", "b"))
    assert cold.missing_pages(["a"]) == set()
    taken = cold.take("b")
    assert taken is not None
    assert (taken[0].number, taken[1]) == (3, 1)
    assert cold.take("b") is None
    assert cold.left == {3: 1}


def test_a_page_without_streams_is_no_longer_cold() -> None:
    cold = ColdPages()
    cold.hold(3, ["a"])
    cold.add_page(page(3, "a"))
    cold.take("a")
    assert cold.left == {}


def test_a_dropped_page_loses_its_streams() -> None:
    cold = ColdPages()
    cold.hold(3, ["a", "b"])
    cold.hold(4, ["c"])
    assert len(cold.drop_page(3)) == 2
    assert cold.held == {"c": 4}


def test_an_evicted_stream_returns_with_its_state(table: StreamTable) -> None:
    (idle,) = table.silent.idle(P, before=1.0, offset=0)
    table.silent.evict(P, idle)
    assert (table.streams, table.silent.evicted) == (0, PAGE)
    table.silent.add_page(P, idle)
    slot = table.slots(P, ["s7"])[0]
    assert table.states[slot].tolist() == [7, 7]
    assert table.labels[slot] == {"name": "s7"}
    assert table.silent.evicted == PAGE - 1


def test_a_stream_with_a_later_point_is_not_evicted(table: StreamTable) -> None:
    (idle,) = table.silent.idle(P, before=1.0, offset=0)
    table.times[table.slots(P, ["s7"])] = 5.0
    table.silent.evict(P, idle)
    assert (table.streams, table.silent.evicted) == (1, PAGE - 1)


def test_a_firing_stream_is_not_idle(table: StreamTable) -> None:
    table.decisions["phase"][table.slots(P, ["s7"])] = Phase.FIRING
    assert table.silent.idle(P, before=1.0, offset=0) == []


def test_a_page_that_was_not_written_keeps_its_streams(table: StreamTable) -> None:
    (idle,) = table.silent.idle(P, before=1.0, offset=0)
    table.silent.keep(P, idle)
    (again,) = table.silent.idle(P, before=1.0, offset=0)
    assert (table.streams, again.number) == (PAGE, idle.number)


def test_an_evicted_row_leaves_no_incident_behind(table: StreamTable) -> None:
    (idle,) = table.silent.idle(P, before=1.0, offset=0)
    last = table.slots(P, NAMES)[-1]
    table.times[last] = 5.0  # it stays, and moves to the place of another
    table.decisions["phase"][last] = Phase.FIRING
    table.silent.evict(P, idle)
    assert table.firing() == 1


def test_a_page_that_is_dropped_costs_only_the_streams_that_are_still_in_it() -> None:
    cold = ColdPages()
    cold.hold(1, ("a", "b"))
    cold.add_page(page(1, "a", "b"))
    cold.take("a")
    cold.hold(2, ("a", "c"))
    assert cold.drop_page(1) == ["b"]
    assert cold.held == {"a": 2, "c": 2}
    assert cold.drop_page(1) == []
    assert cold.drop_page(2) == ["a", "c"]
    assert not cold.names
