"""Killed after any poll, the same alerts come out and the same states stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import Alert, Partition, RecordBatch
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.outbox import Outbox
from detector.notify.routes import Routing
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from tests.fakes import MemoryStore, PipelineRecorder, columns, fake_bundle

P = Partition("metrics", 0)
STREAMS = 7
TICKS = 60
POLL = 21


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(Path(tmp_path_factory.mktemp("bundle")))


def polls() -> list[RecordBatch]:
    """Streams that join one after another, with two faults each."""
    rng = np.random.default_rng(5)
    rows = []
    for t in range(TICKS):
        for s in range(STREAMS):
            if t >= 4 * s:
                fault = 30.0 if (t + 5 * s) % 25 in (10, 11, 12) else 0.0
                rows.append(
                    (f"s{s}", 60.0 * (t + 1), [rng.normal() + fault, rng.normal()])
                )
    chunks = [rows[i : i + POLL] for i in range(0, len(rows), POLL)]
    return [
        columns([r[0] for r in c], [r[1] for r in c], [r[2] for r in c], first=i * POLL)
        for i, c in enumerate(chunks)
    ]


class Run:
    """A daemon's pipeline and its log of notifications, which survives crashes as a
    receiver does.
    """

    def __init__(self, bundle: Bundle, store: MemoryStore, raised: list[Alert]) -> None:
        self.bundle = bundle
        self.store = store
        self.outbox = Outbox(Routing(["hook"]))
        self.metrics = Metrics()
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=0, min_gap=0),
            observer=PipelineRecorder(alerts=raised),
            outbox=self.outbox,
            metrics=self.metrics,
        )
        restored = restore(bundle.digest, *store.load(P), bundle.manifest.state_size)
        self.pipeline.assign(P, restored)
        self.offset = restored.offset or 0

    def checkpoint(self) -> None:
        capture = self.pipeline.checkpoints.capture(P)
        if capture is not None:
            make_durable(self.store, capture)

    def states(self) -> dict[str, list[float]]:
        table = self.pipeline.table
        return {n: table.states[i].tolist() for i, n in enumerate(table.names) if n}


def ids(raised: list[Alert]) -> set[tuple[str, float, str]]:
    return {(a.stream, a.starts_at, a.reason.label) for a in raised}


def from_offset(offset: int) -> list[RecordBatch]:
    """The polls of a consumer that seeks to ``offset``, which may lie within one."""
    found = []
    for c in polls():
        keep = c.offsets >= offset
        if keep.any():
            names = [n for n, k in zip(c.names, keep.tolist(), strict=True) if k]
            found.append(
                RecordBatch(
                    P,
                    names,
                    c.offsets[keep],
                    c.times[keep],
                    c.values[keep],
                    c.next_offset,
                )
            )
    return found


def uninterrupted(
    bundle: Bundle,
) -> tuple[set[tuple[str, float, str]], dict[str, list[float]]]:
    raised: list[Alert] = []
    run = Run(bundle, MemoryStore(), raised)
    for c in polls():
        run.pipeline.process([c])
    return ids(raised), run.states()


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
def test_killed_anywhere_the_same_alerts_come_out_and_the_same_states_stand(
    bundle: Bundle, crashes: list[int], every: int, torn: bool
) -> None:
    expected, states = uninterrupted(bundle)
    assert len(expected) > STREAMS
    store = MemoryStore()
    raised = list[Alert]()
    for lifetime in [*crashes, 10_000]:
        run = Run(bundle, store, raised)
        for k, c in enumerate(from_offset(run.offset)[:lifetime], 1):
            run.pipeline.process([c])
            if k % every == 0:
                run.checkpoint()
        if torn and lifetime < 10_000:  # cut off between the pages and the head
            head = store.heads.get(P)
            run.checkpoint()
            if head is None:
                store.heads.pop(P, None)
            else:
                store.heads[P] = head
    assert ids(raised) == expected
    assert run.states().keys() == states.keys()
    for name, state in states.items():
        np.testing.assert_allclose(run.states()[name], state, atol=1e-5)


def test_a_stale_page_costs_a_longer_replay_and_no_wrong_state(bundle: Bundle) -> None:
    expected, states = uninterrupted(bundle)
    store = MemoryStore()
    raised = list[Alert]()
    run = Run(bundle, store, raised)
    all_polls = polls()
    for c in all_polls[:5]:
        run.pipeline.process([c])
    run.checkpoint()
    stale = dict(store.pages[P])
    for c in all_polls[5:10]:
        run.pipeline.process([c])
    run.checkpoint()
    store.pages[P].update(stale)
    again = Run(bundle, store, raised)
    assert again.offset == all_polls[4].next_offset
    for c in from_offset(again.offset):
        again.pipeline.process([c])
    assert ids(raised) == expected
    for name, state in states.items():
        np.testing.assert_allclose(again.states()[name], state, atol=1e-5)


def test_a_lost_page_is_learned_again_from_the_beginning(bundle: Bundle) -> None:
    expected, states = uninterrupted(bundle)
    store = MemoryStore()
    raised = list[Alert]()
    run = Run(bundle, store, raised)
    for c in polls()[:8]:
        run.pipeline.process([c])
    run.checkpoint()
    store.pages[P].clear()
    again = Run(bundle, store, raised)
    assert again.offset == 0
    for c in polls():
        again.pipeline.process([c])
    assert ids(raised) == expected
    for name, state in states.items():
        np.testing.assert_allclose(again.states()[name], state, atol=1e-5)


def test_another_bundles_states_are_never_loaded_but_its_alerts_and_offset_are(
    bundle: Bundle,
) -> None:
    store = MemoryStore()
    raised = list[Alert]()
    run = Run(bundle, store, raised)
    for c in polls():
        run.pipeline.process([c])
    run.checkpoint()
    restored = restore("another", *store.load(P), bundle.manifest.state_size)
    assert restored.offset == polls()[-1].next_offset
    assert {waiting.alert.stream for _, waiting in restored.alerts} == {
        a.stream for a in raised
    }
    assert all(not rows.names for rows in restored.pages)


def test_what_was_delivered_is_left_out_of_the_next_checkpoint(bundle: Bundle) -> None:
    store = MemoryStore()
    raised = list[Alert]()
    run = Run(bundle, store, raised)
    for c in polls():
        run.pipeline.process([c])
    run.checkpoint()
    assert sum(len(p.alerts) for p in store.pages[P].values()) == len(raised)
    while (parcel := run.outbox.take("hook", timeout=0)) is not None:
        run.outbox.settle(parcel)
    run.checkpoint()
    assert sum(len(p.alerts) for p in store.pages[P].values()) == 0


def test_polls_of_any_size_give_the_same_scores(bundle: Bundle) -> None:
    expected, states = uninterrupted(bundle)
    raised: list[Alert] = []
    run = Run(bundle, MemoryStore(), raised)
    every = polls()
    rows = [
        (n, t, v)
        for c in every
        for n, t, v in zip(c.names, c.times.tolist(), c.values.tolist(), strict=True)
    ]
    run.pipeline.process(
        [columns([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])]
    )
    assert ids(raised) == expected
    for name, state in states.items():
        np.testing.assert_allclose(run.states()[name], state, atol=1e-5)
