"""Waves, and the table's rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.alerting.incident_rates import incident_rates
from detector.events import Partition
from detector.state.decisions import KNOWN_STEPS
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.partition_pages import NO_SLOT
from detector.state.row_memory import PAGE
from detector.state.table import StreamTable
from detector.state.waves import waves
from detector.timestamps import WEEK

P = Partition("metrics", 0)
Q = Partition("metrics", 1)


def table(max_streams: int = 10_000) -> StreamTable:
    trained = np.ones((1, 3), np.float32)
    first = np.full((1, 3), 2, np.float32)
    initial_states = InitialStates(
        np.zeros(3, np.float32),
        {"known": 0},
        trained,
        np.full(1, 0.5, np.float32),
        first,
        np.full(1, 100.0),
    )
    made = StreamTable(initial_states, TableLimits(max_streams))
    made.assign(P)
    made.assign(Q)
    return made


@given(st.lists(st.integers(0, 6), max_size=60))
def test_a_wave_has_each_stream_once_and_in_order(slots: list[int]) -> None:
    found = [wave.tolist() for wave in waves(np.array(slots, np.int64))]
    assert sorted(i for wave in found for i in wave) == list(range(len(slots)))
    for k, wave in enumerate(found):
        assert len({slots[i] for i in wave}) == len(wave)
        assert all(slots[:i].count(slots[i]) == k for i in wave)


def test_a_known_stream_starts_from_its_own_row() -> None:
    made = table()
    known, unknown = made.slots(P, ["known", "new"]).tolist()
    assert made.states[known].tolist() == [1, 1, 1]
    assert made.states[unknown].tolist() == [0, 0, 0]
    assert made.decisions["steps"][[known, unknown]].tolist() == [KNOWN_STEPS, 0]
    assert made.decisions["alarm_penalty"][[known, unknown]].tolist() == [0.5, 0]


def test_a_stream_in_its_training_data_starts_from_the_beginning() -> None:
    made = table()
    again = made.slots(P, ["known"])[0]
    later = made.slots(Q, ["known"])[0]
    unknown = made.slots(P, ["new"])[0]
    made.begin(np.array([again, later, unknown]), np.array([99.0, 100.0, 0.0]))
    assert made.states[[again, later, unknown], 0].tolist() == [2, 1, 0]
    assert made.decisions["steps"][[again, later, unknown]].tolist() == [
        0,
        KNOWN_STEPS,
        0,
    ]


def test_a_key_in_bytes_and_a_name_in_text_are_one_stream() -> None:
    made = table()
    assert made.slots(P, [b"a"]) == made.slots(P, ["a"])
    assert made.streams == 1


def test_a_stream_on_two_partitions_is_two_rows() -> None:
    made = table()
    assert made.slots(P, ["a"]) != made.slots(Q, ["a"])


def test_growth_keeps_every_row() -> None:
    made = table()
    slots = made.slots(P, [f"s{i}" for i in range(3000)])
    assert len(set(slots.tolist())) == 3000
    assert [made.names[s] for s in slots.tolist()] == [f"s{i}" for i in range(3000)]


def test_a_full_table_has_no_slot_for_a_new_stream() -> None:
    made = table(max_streams=PAGE)
    slots = made.slots(P, [f"s{i}" for i in range(PAGE)])
    made.times[slots] = 60.0
    made.newcomers.admit(P, slots)
    assert made.slots(P, ["new"]) == NO_SLOT
    assert made.slots(P, ["s0"]) == slots[0]
    made.revoke(P)
    assert made.slots(Q, ["s0"]) != NO_SLOT


def test_the_rows_of_a_revoked_partition_are_reused() -> None:
    made = table()
    made.slots(P, ["a", "b"])
    capacity = len(made.times)
    for _ in range(50):
        made.revoke(P)
        made.assign(P)
        made.slots(P, ["a", "b"])
    assert (made.streams, len(made.times)) == (2, capacity)


def test_a_page_ahead_of_the_records_takes_no_new_streams() -> None:
    made = table()
    made.slots(P, ["a"])
    page = made.copy_page(P, 0, offset=100)
    made.assign(P, [page], offset=100)
    assert made.slots(P, ["b"]) >> 8 == made.slots(P, ["a"]) >> 8
    made.assign(P, [page], offset=50)
    assert made.slots(P, ["b"]) >> 8 != made.slots(P, ["a"]) >> 8


def test_streams_of_a_revoked_partition_count_in_no_rate() -> None:
    made = table()
    slots = made.slots(P, ["a"])
    made.decisions["observed_seconds"][slots] = WEEK
    assert incident_rates(made.decisions).streams == 1
    made.revoke(P)
    assert incident_rates(made.decisions).streams == 0


def test_labels_are_those_of_the_last_point() -> None:
    made = table()
    slots = made.slots(P, ["a", "b"])
    made.set_labels(slots, [{"v": "1"}, {}])
    made.page_dirty[:] = False
    made.set_labels(slots, [{"v": "1"}, {}])
    assert not made.page_dirty.any()
    made.set_labels(slots, [{"v": "2"}, {}])
    assert [made.labels[slot] for slot in slots.tolist()] == [{"v": "2"}, {}]
    assert made.page_dirty.sum() == 1


def test_labels_leave_with_a_page_and_come_back() -> None:
    made = table()
    made.set_labels(made.slots(P, ["a", "b"]), [{"v": "1"}, {"v": "2"}])
    page = made.copy_page(P, 0, offset=2)
    made.assign(P, [page], offset=2)
    slots = made.slots(P, ["b", "a", "new"]).tolist()
    assert [made.labels[slot] for slot in slots] == [{"v": "2"}, {"v": "1"}, {}]
    made.revoke(P)
    slots = made.slots(Q, ["x", "y", "z"]).tolist()
    assert [made.labels[slot] for slot in slots] == [{}, {}, {}]
