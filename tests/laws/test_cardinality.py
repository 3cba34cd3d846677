"""Names that come once, and streams that expire: neither polls nor kills matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
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
from detector.state.limits import TableLimits
from tests.fakes import MemoryStore, PipelineRecorder, columns, fake_bundle
from tests.laws.logs import from_offset

P = Partition("metrics", 0)
LIMITS = TableLimits(max_newcomers=16, expire_after=3600.0)
RECORDS = 600
SILENCE = range(250, 400)  # records during which one stream is silent for too long
Point = tuple[str, float, list[float]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"))


def log() -> list[Point]:
    """Six streams that go on, names that come once, and some that come twice."""
    rng = np.random.default_rng(8)
    points: list[Point] = []
    for record in range(RECORDS):
        kind = record % 3
        if kind == 0:
            name = f"s{record // 3 % 6}"
        elif kind == 1:
            name = f"once-{record}"
        else:
            name = f"twice-{record // 30}-{record // 3 % 5}"
        if name == "s0" and record in SILENCE:
            name = "s1"
        points.append((name, 60.0 * (record + 1), rng.normal(size=2).tolist()))
    return points


LOG = log()


def polls(size: int) -> list[RecordBatch]:
    cut = []
    for first in range(0, RECORDS, size):
        names, times, values = zip(*LOG[first : first + size], strict=True)
        cut.append(columns(names, times, values, first=first))
    return cut


class Life:
    """One life of a daemon."""

    def __init__(self, bundle: Bundle, store: MemoryStore) -> None:
        self.store = store
        self.metrics = Metrics()
        self.recorder = PipelineRecorder()
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(),
            observer=self.recorder,
            metrics=self.metrics,
            limits=LIMITS,
        )
        head, pages = load_last(store, P)
        restored = restore(bundle.digest, head, pages, bundle.manifest.state_size)
        self.pipeline.assign(P, restored)
        self.offset = restored.offset or 0

    def read(self, batch: RecordBatch, now: float) -> None:
        for partition, number in self.pipeline.pages.missing_pages([batch]):
            rows = to_rows(self.store.pages[partition][number])
            self.pipeline.pages.add_page(partition, number, rows)
        self.pipeline.process([batch], now)
        self.offset = batch.next_offset

    def checkpoint(self, now: float) -> None:
        data = self.pipeline.pages.capture(P, now - 100)
        assert data is not None
        make_durable(self.store, data)
        self.pipeline.pages.captured(data)

    def states(self) -> dict[str, list[float]]:
        table = self.pipeline.table
        slots = enumerate(table.names)
        return {name: table.states[slot].tolist() for slot, name in slots if name}

    def forgotten(self, cause: str) -> float:
        name = "detector_streams_forgotten_total"
        return self.metrics.registry.get_sample_value(name, {"cause": cause}) or 0.0


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Life:
    life = Life(bundle, MemoryStore())
    for batch in polls(1):
        life.read(batch, 0.0)
    assert life.forgotten("newcomer") > RECORDS / 4
    assert len(life.states()) < RECORDS / 4
    return life


def check_states(found: Life, expected: Life) -> None:
    states = found.states()
    wanted = expected.states()
    # what expired may be deleted sooner or later
    for name in states.keys() & wanted.keys():
        np.testing.assert_allclose(states[name], wanted[name], atol=1e-5)
    known = {name for name in wanted if not name.startswith(("once", "twice"))}
    assert known <= states.keys()


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, RECORDS))
def test_polls_of_any_size_keep_the_same_streams(
    bundle: Bundle, expected: Life, size: int
) -> None:
    life = Life(bundle, MemoryStore())
    for batch in polls(size):
        life.read(batch, 0.0)
    assert life.states().keys() == expected.states().keys()
    assert life.recorder.scores == pytest.approx(expected.recorder.scores, abs=1e-4)
    assert life.forgotten("newcomer") == expected.forgotten("newcomer")
    check_states(life, expected)


@settings(max_examples=20, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 30), max_size=5),
    every=st.integers(1, 6),
    size=st.integers(5, 40),
)
def test_kills_keep_the_same_streams(
    bundle: Bundle, expected: Life, crashes: list[int], every: int, size: int
) -> None:
    store = MemoryStore()
    scores: dict[int, float] = {}
    for lifetime in [*crashes, RECORDS]:
        life = Life(bundle, store)
        left = list(from_offset(polls(size), life.offset))[:lifetime]
        for count, batch in enumerate(left, 1):
            now = batch.next_offset / 2
            life.read(batch, now)
            if count % every == 0:
                life.checkpoint(now)
        scores |= life.recorder.scores
    assert scores == pytest.approx(expected.recorder.scores, abs=1e-4)
    check_states(life, expected)


def test_a_stream_that_was_silent_for_too_long_starts_anew(
    bundle: Bundle, expected: Life
) -> None:
    own = [point for point in LOG if point[0] == "s0"]
    gap = np.diff([time for _, time, _ in own])
    assert gap.max() > LIMITS.expire_after
    first_after = int(gap.argmax()) + 1
    life = Life(bundle, MemoryStore())
    names, times, values = zip(*own[first_after:], strict=True)
    life.read(columns(names, times, values), 0.0)
    np.testing.assert_allclose(life.states()["s0"], expected.states()["s0"], atol=1e-5)
