"""Evicting silent streams changes no score, no state and no alert."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import Partition, RecordBatch
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import to_rows
from detector.recovery.store import load_last
from detector.state.row_memory import PAGE
from tests.fakes import Incident, IncidentSet, MemoryStore, columns, fake_bundle

P = Partition("metrics", 0)
STREAMS = 3 * PAGE + 20
POLLS = 16
IDLE = 2.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"), warm_up=1)


def history() -> list[RecordBatch]:
    """Polls of one tick each, with faults.

    Thirds of the streams take turns to be silent for some polls; a few stay silent.
    """
    rng = np.random.default_rng(11)
    polls = []
    first = 0
    for t in range(POLLS):
        present = [
            s
            for s in range(STREAMS)
            if (s % 3 != t // 4 % 3 and not (s % 50 == 7 and t > 2)) or s % 89 == 0
        ]
        faulty = np.array(
            [30.0 if s % 97 == 5 and (t + s) % 9 in (2, 3, 4) else 0.0 for s in present]
        )
        values = (rng.normal(size=(len(present), 2)) + faulty[:, None]).tolist()
        polls.append(
            columns(
                [f"s{s}".encode() for s in present],
                [60.0 * (t + 1)] * len(present),
                values,
                first=first,
            )
        )
        first = polls[-1].next_offset
    return polls


HISTORY = history()


class Life:
    """A daemon that checkpoints after each poll; ``idle`` is in polls."""

    def __init__(
        self,
        bundle: Bundle,
        store: MemoryStore,
        raised: set[Incident],
        idle: float,
        now: float = 0.0,
    ) -> None:
        self.store = store
        self.idle = idle
        self.metrics = Metrics()

        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=0, clear_steps=2, min_gap=0),
            observer=IncidentSet(raised),
            metrics=self.metrics,
        )
        restored = restore(
            bundle.digest, *load_last(store, P), bundle.manifest.state_size
        )
        self.pipeline.assign(P, restored, now)
        self.offset = restored.offset or 0

    def read(self, poll: RecordBatch, now: float, durable: bool = True) -> None:
        assert self.offset in (poll.offsets[0], poll.next_offset)
        for partition, number in self.pipeline.pages.missing_pages([poll]):
            self.pipeline.pages.add_page(
                partition, number, to_rows(self.store.pages[partition][number])
            )
        self.pipeline.process([poll], now)
        capture = self.pipeline.pages.capture(P, now - self.idle)
        assert capture is not None
        if durable:
            make_durable(self.store, capture)
            self.pipeline.pages.captured(capture)
        else:
            self.pipeline.pages.uncaptured(capture)
        self.offset = poll.next_offset


def uninterrupted(
    bundle: Bundle,
) -> tuple[set[Incident], dict[str, tuple[list[float], float]]]:
    raised: set[Incident] = set()
    life = Life(bundle, MemoryStore(), raised, idle=float("inf"))
    for t, poll in enumerate(HISTORY):
        life.read(poll, float(t))
    return raised, in_the_store(bundle, life.store)


def in_the_store(
    bundle: Bundle, store: MemoryStore
) -> dict[str, tuple[list[float], float]]:
    """Each stream's row, in memory or in the store; it must be in one page only."""
    found: dict[str, tuple[list[float], float]] = {}
    for rows in restore(
        bundle.digest, *load_last(store, P), bundle.manifest.state_size
    ).pages:
        for name, state, time in zip(
            rows.names, rows.states.tolist(), rows.times.tolist(), strict=True
        ):
            assert name not in found
            found[name] = (state, time)
    return found


@settings(max_examples=25, deadline=None)
@example(set(), set())
@example({9}, {7})
@given(
    restarts=st.sets(st.integers(1, POLLS - 1), max_size=4),
    unwritten=st.sets(st.integers(0, POLLS - 2), max_size=4),
)
def test_eviction_changes_no_result(
    bundle: Bundle, restarts: set[int], unwritten: set[int]
) -> None:
    expected, states = uninterrupted(bundle)
    store = MemoryStore()
    raised = set[Incident]()
    most = 0
    life = Life(bundle, store, raised, IDLE)
    t = 0
    undisturbed = not restarts and not unwritten
    while t < POLLS:
        if t in restarts:
            restarts = restarts - {t}
            life = Life(bundle, store, raised, IDLE, float(t))
            t = next(
                i
                for i, poll in enumerate([*HISTORY, None])
                if poll is None or poll.next_offset > life.offset
            )
            continue
        life.read(HISTORY[t], float(t), durable=t not in unwritten)
        most = max(most, life.pipeline.table.silent.evicted)
        t += 1
    assert raised == expected
    assert most >= PAGE or not undisturbed
    found = in_the_store(bundle, store)
    assert found.keys() == states.keys()
    assert [found[n][1] for n in sorted(found)] == [states[n][1] for n in sorted(found)]
    np.testing.assert_allclose(
        [found[n][0] for n in sorted(found)],
        [states[n][0] for n in sorted(found)],
        atol=1e-5,
    )


def test_memory_follows_the_active_streams(bundle: Bundle) -> None:
    """Ten times as many streams pass through as are active at once."""
    life = Life(bundle, MemoryStore(), set(), IDLE)
    first = 0
    active = 2 * PAGE
    for t in range(40):
        names = [f"wave-{t // 4}-{i}" for i in range(active)]
        life.read(
            columns(
                names, [60.0 * (t + 1)] * active, [[1.0, 1.0]] * active, first=first
            ),
            float(t),
        )
        first += active
    table = life.pipeline.table
    assert len(table.states) <= 4 * active
    assert table.streams + table.silent.evicted == 10 * active
    assert (
        life.metrics.registry.get_sample_value("detector_streams_evicted")
        == table.silent.evicted
        > 6 * active
    )


def test_streams_of_a_lost_page_are_cold_starts_and_are_counted(bundle: Bundle) -> None:
    life = Life(bundle, MemoryStore(), set(), IDLE)
    names = [f"s{i}" for i in range(PAGE)]
    for time in (60.0, 120.0):  # with a single point they would stay in memory
        first = 0 if time == 60.0 else PAGE
        life.read(columns(names, [time] * PAGE, [[1.0, 1.0]] * PAGE, first), 0.0)
    life.read(columns(["other"], [120.0], [[1.0, 1.0]], first=2 * PAGE), 10.0)
    assert life.pipeline.table.silent.evicted == PAGE
    ((partition, number),) = life.pipeline.pages.missing_pages(
        [columns(["s3"], [180.0], [[1.0, 1.0]], first=2 * PAGE + 1)]
    )
    life.pipeline.pages.add_page(partition, number, None)
    life.pipeline.process(
        [columns(["s3"], [180.0], [[1.0, 1.0]], first=2 * PAGE + 1)], 11.0
    )
    assert (
        life.metrics.registry.get_sample_value(
            "detector_state_resets_total", {"cause": "page_gone"}
        )
        == PAGE
    )
    assert life.pipeline.table.silent.evicted == 0
