"""The counter rows of all streams, in memory."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import MetricKind
from detector.state.counter_column import CounterColumn
from detector.state.counter_defaults import known_metrics, single_metrics
from tests.unit.detector.state.counter_series import START, stepped

NAMES = ["a/x", "b/x_total", "c/x", ""]


@pytest.fixture
def column() -> CounterColumn:
    made = CounterColumn(single_metrics())
    made.grow(len(NAMES))
    for slot, name in enumerate(NAMES[:3]):
        made.put(slot, name)
    return made


def test_a_constant_is_passed_as_it_would_be_stepped(column: CounterColumn) -> None:
    before = stepped([7.0, 7.0])
    column.rows[[0], 0] = before.row
    column.rows["value"][1] = 7.0
    slots = np.array([0, 1, 2])
    times = np.full(3, START + 120.0)
    is_idle = column.pass_idle(slots, np.full(3, 7.0), times)
    # one that its name calls a counter, and one without a value, are stepped
    assert is_idle.tolist() == [True, False, False]
    after = stepped([7.0, 7.0, 7.0])
    assert column.rows[0, 0].tobytes() == after.row[0].tobytes()


def test_a_run_that_began_ahead_of_a_corrected_clock_begins_by_then(
    column: CounterColumn,
) -> None:
    column.rows["run_time"][:2, 0] = (START + 3600.0, START)
    for slot in (0, 1):
        column.turn_back(slot, START + 60.0)
    assert column.rows["run_time"][:2, 0].tolist() == [START + 60.0, START]


@pytest.mark.parametrize("values", [[7.0, 8.0], [7.0, 7.0, 9.0, 9.0]])
def test_what_has_changed_is_not_passed(
    column: CounterColumn, values: list[float]
) -> None:
    column.rows[[0], 0] = stepped(values).row
    times = np.array([START + 900.0])
    assert not column.pass_idle(np.array([0]), np.array(values[-1:]), times).any()


def test_a_gauge_is_not_tracked_any_more(column: CounterColumn) -> None:
    gauge = stepped([5.0, 3.0]).row
    column.store(np.array([0]), gauge[:, None])
    assert column.is_tracked.tolist() == [False, True, True, False]
    column.move(0, 1)
    assert column.is_tracked.tolist() == [False, False, True, False]


def test_rows_of_a_network_are_kept_from_the_first_counter_on() -> None:
    kinds = np.full(2, MetricKind.GAUGE, np.uint8)
    column = CounterColumn(known_metrics(kinds))
    column.grow(3)
    column.put(0, "a")
    assert (column.is_kept, column.rows.shape) == (False, (3, 0))
    column.widen(["a", "", ""])
    assert (column.is_kept, column.rows.shape) == (True, (3, 2))
    assert column.rows["kind"].tolist() == [[MetricKind.GAUGE] * 2] * 3
