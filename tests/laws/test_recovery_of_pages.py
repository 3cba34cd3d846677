"""A page that is stale, newer than its head or lost changes no state and no alert."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import ENDS, Partition, RecordBatch
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.store import load_last
from detector.state.row_memory import PAGE
from tests.fakes import Incident, IncidentSet, MemoryStore, columns, fake_bundle
from tests.laws.logs import from_offset

P = Partition("metrics", 0)
STREAMS = 2 * PAGE + 40
POLLS = 14
FAULT = 10.0
States = dict[str, tuple[list[float], float, int]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"), warm_up=1)


def history() -> list[RecordBatch]:
    """Polls of one tick each; each page has faults."""
    rng = np.random.default_rng(3)
    polls: list[RecordBatch] = []
    for tick in range(POLLS):
        present = [stream for stream in range(STREAMS) if is_present(stream, tick)]
        faults = [FAULT * is_faulty(stream, tick) for stream in present]
        noise = rng.normal(size=(len(present), 2))
        values = (noise + np.array(faults)[:, None]).tolist()
        names = [f"s{stream}" for stream in present]
        times = [60.0 * (tick + 1)] * len(present)
        first = polls[-1].next_offset if polls else 0
        polls.append(columns(names, times, values, first=first))
    return polls


def is_present(stream: int, tick: int) -> bool:
    """Page 0's streams fall silent halfway, page 2's join late."""
    if stream < PAGE:
        return tick < 7
    return stream < 2 * PAGE or tick >= 4


def is_faulty(stream: int, tick: int) -> bool:
    return stream % 97 == 5 and (tick + stream) % 9 in (2, 3, 4)


HISTORY = history()


class Life:
    """One life of a daemon on a store; ``raised`` outlives it, as a receiver does."""

    def __init__(
        self, bundle: Bundle, store: MemoryStore, raised: set[Incident]
    ) -> None:
        tuning = AlertTuning(
            false_alarms_per_week=2,
            cooldown_ticks=0,
            clear_steps=2,
            min_gap=0,
        )
        self.store = store
        self.pipeline = build_pipeline(
            bundle, OnnxEngine(bundle), tuning, observer=IncidentSet(raised)
        )
        head, pages = load_last(store, P)
        restored = restore(bundle.digest, head, pages, bundle.manifest.state_size)
        self.pipeline.assign(P, restored)
        self.offset = restored.offset or 0

    def read(self, upto: int) -> None:
        """Poll on to the end of poll ``upto``."""
        for batch in from_offset(HISTORY[:upto], self.offset):
            self.pipeline.process([batch])
            self.offset = batch.next_offset

    def checkpoint(self) -> None:
        data = self.pipeline.pages.capture(P)
        if data is not None:
            make_durable(self.store, data)

    def states(self) -> States:
        table = self.pipeline.table
        found: States = {}
        for slot, name in enumerate(table.names):
            if name:
                assert name not in found, "a stream has two rows"
                found[name] = (
                    table.states[slot].tolist(),
                    float(table.times[slot]),
                    int(table.decisions["phase"][slot]),
                )
        return found


class Uninterrupted:
    """The expected result. Not a dataclass: hypothesis would print all of it."""

    def __init__(self, bundle: Bundle, raised: set[Incident], states: States) -> None:
        self.bundle = bundle
        self.raised = raised
        self.states = states


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Uninterrupted:
    raised: set[Incident] = set()
    life = Life(bundle, MemoryStore(), raised)
    life.read(POLLS)
    reasons = {reason for _, _, reason in raised}
    assert "fired" in reasons
    assert reasons & {reason.label for reason in ENDS}
    return Uninterrupted(bundle, raised, life.states())


def check_alike(life: Life, raised: set[Incident], expected: Uninterrupted) -> None:
    assert raised == expected.raised
    states = life.states()
    names = sorted(expected.states)
    assert sorted(states) == names
    found = [states[name] for name in names]
    wanted = [expected.states[name] for name in names]
    assert [row[1:] for row in found] == [row[1:] for row in wanted]
    np.testing.assert_allclose(
        [row[0] for row in found],
        [row[0] for row in wanted],
        atol=1e-5,
    )


ACCIDENTS = st.sampled_from(["none", "stale", "newer", "gone", "head", "head and page"])


@settings(max_examples=60, deadline=None)
# a lost page whose streams are learned again, and then a page newer than its head
@example([(4, 0, "gone"), (3, 2, "newer")])
@example([(3, 1, "head and page"), (3, 0, "none"), (2, 1, "stale")])
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), ACCIDENTS), max_size=5))
def test_no_fault_of_a_page_changes_a_result(
    expected: Uninterrupted, lives: list[tuple[int, int, str]]
) -> None:
    store = MemoryStore()
    raised = set[Incident]()
    reached = 0
    for polls, number, accident in lives:
        before = dict(store.pages.get(P, {}))
        head = store.heads.get(P)
        life = Life(expected.bundle, store, raised)
        reached = min(POLLS, reached + polls)
        life.read(reached)
        life.checkpoint()
        pages = store.pages[P]
        # from a member that wrote on, or from a backup
        if accident == "stale" and number in before:
            pages[number] = before[number]
        # cut off between the pages and the head
        if accident == "newer" and head is not None:
            store.heads[P] = head
        if accident in ("gone", "head and page"):
            pages.pop(number, None)
        if accident in ("head", "head and page"):
            store.heads.pop(P, None)
    last = Life(expected.bundle, store, raised)
    last.read(POLLS)
    check_alike(last, raised, expected)


def test_clean_restarts_read_nothing_twice(
    expected: Uninterrupted,
) -> None:
    store = MemoryStore()
    raised = set[Incident]()
    for reached in range(1, POLLS + 1):
        life = Life(expected.bundle, store, raised)
        assert life.offset == (HISTORY[reached - 2].next_offset if reached > 1 else 0)
        life.read(reached)
        life.checkpoint()
    check_alike(life, raised, expected)
