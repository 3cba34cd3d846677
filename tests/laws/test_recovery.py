"""A kill at any poll changes no alert and no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import Alert, Partition, RecordBatch
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.outbox import Outbox
from detector.notify.routes import Routing
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.store import load_last
from tests.fakes import Incident, MemoryStore, PipelineRecorder, columns, fake_bundle
from tests.laws.logs import from_offset

P = Partition("metrics", 0)
STREAMS = 7
TICKS = 60
POLL = 21  # records
FAULT = 30.0
FOREVER = 10_000  # polls


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(Path(tmp_path_factory.mktemp("bundle")))


Point = tuple[str, float, list[float]]


def points() -> list[Point]:
    """Streams that join one after another, with two faults each."""
    rng = np.random.default_rng(5)
    found: list[Point] = []
    for tick in range(TICKS):
        for stream in range(STREAMS):
            if tick < 4 * stream:
                continue
            is_faulty = (tick + 5 * stream) % 25 in (10, 11, 12)
            fault = FAULT if is_faulty else 0.0
            values = [rng.normal() + fault, rng.normal()]
            found.append((f"s{stream}", 60.0 * (tick + 1), values))
    return found


def poll_of(chunk: Sequence[Point], first: int) -> RecordBatch:
    names, times, values = zip(*chunk, strict=True)
    return columns(names, times, values, first=first)


POINTS = points()
POLLS = [poll_of(POINTS[i : i + POLL], i) for i in range(0, len(POINTS), POLL)]


class Life:
    """One life of a daemon; ``raised`` outlives it, as a receiver does."""

    def __init__(self, bundle: Bundle, store: MemoryStore, raised: list[Alert]) -> None:
        self.store = store
        self.outbox = Outbox(Routing(["hook"]))
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=0, min_gap=0),
            observer=PipelineRecorder(alerts=raised),
            outbox=self.outbox,
        )
        head, pages = load_last(store, P)
        restored = restore(bundle.digest, head, pages, bundle.manifest.state_size)
        self.pipeline.assign(P, restored)
        self.offset = restored.offset or 0

    def read(self, polls: Sequence[RecordBatch]) -> None:
        for batch in from_offset(polls, self.offset):
            self.pipeline.process([batch])
            self.offset = batch.next_offset

    def checkpoint(self) -> None:
        data = self.pipeline.pages.capture(P)
        if data is not None:
            make_durable(self.store, data)

    def checkpoint_without_head(self) -> None:
        """A checkpoint cut off between the pages and the head."""
        data = self.pipeline.pages.capture(P)
        if data is not None:
            self.store.write_pages(P, data.pages())

    def states(self) -> dict[str, list[float]]:
        table = self.pipeline.table
        slots = enumerate(table.names)
        return {name: table.states[slot].tolist() for slot, name in slots if name}


def incidents(raised: list[Alert]) -> set[Incident]:
    return {(a.stream, a.starts_at, a.reason.label) for a in raised}


@dataclass(frozen=True)
class Uninterrupted:
    """The expected result."""

    incidents: set[Incident]
    states: dict[str, list[float]]

    def check(self, raised: list[Alert], life: Life) -> None:
        assert incidents(raised) == self.incidents
        states = life.states()
        assert states.keys() == self.states.keys()
        for name, state in self.states.items():
            np.testing.assert_allclose(states[name], state, atol=1e-5)


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Uninterrupted:
    raised: list[Alert] = []
    life = Life(bundle, MemoryStore(), raised)
    life.read(POLLS)
    found = incidents(raised)
    assert len(found) > STREAMS
    return Uninterrupted(found, life.states())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    crashes=st.lists(st.integers(1, 12), max_size=6),
    every=st.integers(1, 6),
    torn=st.booleans(),
)
def test_kills_change_no_alert_and_no_state(
    bundle: Bundle,
    expected: Uninterrupted,
    crashes: list[int],
    every: int,
    torn: bool,
) -> None:
    store = MemoryStore()
    raised: list[Alert] = []
    for lifetime in [*crashes, FOREVER]:
        life = Life(bundle, store, raised)
        left = list(from_offset(POLLS, life.offset))[:lifetime]
        for count, batch in enumerate(left, 1):
            life.pipeline.process([batch])
            if count % every == 0:
                life.checkpoint()
        if torn and lifetime < FOREVER:
            life.checkpoint_without_head()
    expected.check(raised, life)


def test_a_stale_page_only_lengthens_the_replay(
    bundle: Bundle, expected: Uninterrupted
) -> None:
    store = MemoryStore()
    raised: list[Alert] = []
    life = Life(bundle, store, raised)
    life.read(POLLS[:5])
    life.checkpoint()
    stale = dict(store.pages[P])
    life.read(POLLS[:10])
    life.checkpoint()
    store.pages[P].update(stale)
    again = Life(bundle, store, raised)
    assert again.offset == POLLS[4].next_offset
    again.read(POLLS)
    expected.check(raised, again)


def test_a_lost_page_is_learned_again_from_the_beginning(
    bundle: Bundle, expected: Uninterrupted
) -> None:
    store = MemoryStore()
    raised: list[Alert] = []
    life = Life(bundle, store, raised)
    life.read(POLLS[:8])
    life.checkpoint()
    store.pages[P].clear()
    again = Life(bundle, store, raised)
    assert again.offset == 0
    again.read(POLLS)
    expected.check(raised, again)


def test_another_bundle_keeps_alerts_and_offset_but_no_state(bundle: Bundle) -> None:
    store = MemoryStore()
    raised: list[Alert] = []
    life = Life(bundle, store, raised)
    life.read(POLLS)
    life.checkpoint()
    head, pages = load_last(store, P)
    restored = restore("another", head, pages, bundle.manifest.state_size)
    assert restored.offset == POLLS[-1].next_offset
    undelivered = {pending.alert.stream for _, pending in restored.alerts}
    assert undelivered == {alert.stream for alert in raised}
    assert all(not rows.names for rows in restored.pages)


def test_a_checkpoint_leaves_out_delivered_alerts(bundle: Bundle) -> None:
    store = MemoryStore()
    raised: list[Alert] = []
    life = Life(bundle, store, raised)
    life.read(POLLS)
    life.checkpoint()
    assert undelivered(store) == len(raised)
    while (attempt := life.outbox.take("hook", timeout=0)) is not None:
        life.outbox.settle(attempt)
    life.checkpoint()
    assert undelivered(store) == 0


def undelivered(store: MemoryStore) -> int:
    return sum(len(page.alerts) for page in store.pages[P].values())


def test_polls_of_any_size_give_the_same_scores(
    bundle: Bundle, expected: Uninterrupted
) -> None:
    raised: list[Alert] = []
    life = Life(bundle, MemoryStore(), raised)
    life.read([poll_of(POINTS, 0)])
    expected.check(raised, life)
