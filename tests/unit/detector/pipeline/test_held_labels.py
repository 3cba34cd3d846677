"""A point that is held keeps what it says, as far as a page can hold it."""

from __future__ import annotations

import numpy as np

from detector.distributions import mean_totals
from detector.events import Partition, RecordBatch
from detector.names import MOST_TAGS
from detector.pipeline.order_stage import OrderStage
from detector.record_clock import ANY_TIME, without_log
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.table import StreamTable

P = Partition("metrics", 0)
LAST = 1_700_000_000.0
WIDTH = 3


def table() -> StreamTable:
    rows = np.zeros((1, WIDTH), np.float32)
    states = InitialStates(
        np.zeros(WIDTH, np.float32),
        {"known": 0},
        rows,
        np.full(1, 0.5, np.float32),
        rows,
        np.full(1, 100.0),
    )
    made = StreamTable(states, TableLimits(10))
    made.assign(P)
    return made


def test_labels_of_a_held_point_are_bounded_and_encodable() -> None:
    made = table()
    slots = made.slots(P, ["known"])
    made.times[slots] = LAST
    labels = {f"tag {n}": "a\ud800" * 1000 for n in range(2 * MOST_TAGS)}
    batch = RecordBatch(
        partition=P,
        names=["known"],
        offsets=np.array([5]),
        times=np.array([LAST + 100 * 86_400]),
        values=np.zeros((1, 1)),
        next_offset=6,
        labels=[labels],
        totals={0: {0: mean_totals(3.0, 2, 0.0)}},
        clock=without_log(1, ANY_TIME),
    )
    OrderStage(made).order(batch, np.array([0]), slots)
    held = made.pasts.of(int(slots[0])).held
    assert held is not None
    assert held.totals == {0: mean_totals(3.0, 2, 0.0)}
    assert len(held.labels) == MOST_TAGS
    for text in held.labels.values():
        assert len(text.encode()) < 4000
