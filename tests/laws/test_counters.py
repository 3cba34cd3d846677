"""Poll sizes, the interleaving of streams and kills change no rate, no recognition and
no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.distributions import Bucket, Totals, mean_totals, quantile_totals
from detector.events import Alert, Labels, MetricKind, Partition, RecordBatch
from detector.model.bundle import Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.store import load_last
from detector.state.counters import CounterRows
from detector.state.held_points import StreamPast
from tests.fakes import (
    MemoryStore,
    PipelineRecorder,
    columns,
    write_each_metric_bundle,
)
from tests.laws.logs import from_offset

P = Partition("metrics", 0)
TICKS = 90
RESET = 75
NAN = float("nan")


@dataclass(frozen=True)
class Point:
    """One record: a value of one metric, and what its producer says of it."""

    name: str
    time: float
    value: float
    kind: MetricKind = MetricKind.UNKNOWN
    start: float = NAN
    labels: Labels | None = None
    totals: Totals | None = None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_each_metric_bundle(tmp_path_factory.mktemp("bundle")))


def histories() -> list[list[Point]]:
    """Each stream's records in order, some of them late.

    Counters by their name, by their format with and without a start time, and by their
    past; deltas; a wrap; a gauge; a gauge that its name calls a counter; a mean and a
    quantile of a cumulative histogram.
    """
    rng = np.random.default_rng(3)
    growth = 60 * np.round(rng.uniform(8, 12, TICKS))
    growth[40:44] *= 20
    total = np.cumsum(growth)
    falls = np.where(np.arange(TICKS) >= RESET, total - total[RESET - 1], total)
    starts = np.where(np.arange(TICKS) >= RESET, 60.0 * RESET + 15, -600.0)
    counter = MetricKind.COUNTER
    streams = [
        [Point("a/x_total", 0, v) for v in falls],
        [Point("b/x", 0, v, counter) for v in falls],
        [Point("c/x", 0, v, counter, s) for v, s in zip(falls, starts, strict=True)],
        [Point("d/x", 0, v, MetricKind.DELTA) for v in growth],
        [Point("e/x", 0, v) for v in falls],
        [Point("f/x", 0, v, counter) for v in (total + 2.0**32 - 40_000) % 2.0**32],
        [Point("g/x", 0, v) for v in rng.normal(size=TICKS)],
        [Point("i/x", 0, v) for v in np.maximum(total - total[20], 0) + 7],
        [
            Point("h/jobs_total", 0, v)
            for v in 50 + np.round(3 * rng.normal(size=TICKS))
        ],
        [_told(mean_totals(2.5 * v + i, v, 0.0)) for i, v in enumerate(falls)],
        [_told(totals) for totals in _quantiles(falls, rng)],
    ]
    return [_in_time(stream, rng) for stream in streams]


def _told(totals: Totals) -> Point:
    name = "j/x.mean" if totals.share is None else "k/x.p95"
    return Point(name, 0, totals.metric(), MetricKind.GAUGE, totals=totals)


def _quantiles(counts: npt.NDArray[Any], rng: np.random.Generator) -> Iterator[Totals]:
    """Of histograms with two buckets, the share of which varies."""
    slow = 0.0
    before = 0.0
    for count in counts.tolist():
        if count < before:
            slow = before = 0.0
        slow += (count - before) * rng.uniform(0.1, 0.2)
        before = count
        buckets = [Bucket(0, 1, count - slow), Bucket(1, 10, slow)]
        totals = quantile_totals(buckets, 0.95, 0.0)
        assert totals is not None
        yield totals


def _in_time(stream: list[Point], rng: np.random.Generator) -> list[Point]:
    times = 60.0 * np.arange(1, TICKS + 1)
    late = rng.integers(1, TICKS, 3)
    times[late] -= 90.0
    versions = np.arange(TICKS) // 30
    return [
        replace(point, time=time, labels={"version": str(version)} if version else None)
        for point, time, version in zip(
            stream, times.tolist(), versions.tolist(), strict=True
        )
    ]


HISTORIES = histories()
IN_TIME = [point for tick in zip(*HISTORIES, strict=True) for point in tick]


def poll_of(points: Sequence[Point], first: int) -> RecordBatch:
    batch = columns(
        [point.name for point in points],
        [point.time for point in points],
        [[point.value] for point in points],
        first=first,
    )
    kinds = np.array([[point.kind] for point in points], np.uint8)
    starts = np.array([[point.start] for point in points])
    # a poll in which nobody says anything of counters has no such columns
    return replace(
        batch,
        kinds=kinds if kinds.any() else None,
        starts=None if np.isnan(starts).all() else starts,
        labels=[point.labels for point in points],
        totals={
            row: {0: point.totals}
            for row, point in enumerate(points)
            if point.totals is not None
        },
    )


def polls_of(points: Sequence[Point], sizes: Sequence[int]) -> Iterator[RecordBatch]:
    """Polls that have ``sizes`` in turn."""
    start = turn = 0
    while start < len(points):
        part = points[start : start + sizes[turn % len(sizes)]]
        yield poll_of(part, start)
        start += len(part)
        turn += 1


class Life:
    """One life of a daemon; ``recorder`` outlives it, as a receiver does."""

    def __init__(
        self, bundle: Bundle, store: MemoryStore, recorder: PipelineRecorder
    ) -> None:
        self.store = store
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=0, min_gap=0),
            observer=recorder,
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

    def rows(self) -> dict[str, tuple[CounterRows, float, Labels, StreamPast]]:
        """Counter row, state, labels and past of each stream."""
        table = self.pipeline.table
        slots = [(slot, name) for slot, name in enumerate(table.names) if name]
        return {
            name: (
                table.counters.rows[slot],
                float(table.states[slot, 0]),
                table.labels[slot],
                table.pasts.of(slot),
            )
            for slot, name in slots
        }


def identities(alerts: Sequence[Alert]) -> set[tuple[object, ...]]:
    return {(a.stream, a.reason, a.severity, a.starts_at, a.ends_at) for a in alerts}


@dataclass(frozen=True)
class Result:
    """What must not differ: scores by stream and number of the record, and the end."""

    scores: dict[tuple[str, int], float]
    alerts: set[tuple[object, ...]]
    rows: dict[str, tuple[CounterRows, float, Labels, StreamPast]]


def run(bundle: Bundle, points: Sequence[Point], sizes: Sequence[int]) -> Result:
    recorder = PipelineRecorder()
    life = Life(bundle, MemoryStore(), recorder)
    life.read(list(polls_of(points, sizes)))
    return result(points, recorder, life)


def result(points: Sequence[Point], recorder: PipelineRecorder, life: Life) -> Result:
    count: dict[str, int] = {}
    places = []
    for point in points:
        places.append((point.name, count.setdefault(point.name, 0)))
        count[point.name] += 1
    scores = {places[offset]: score for offset, score in recorder.scores.items()}
    return Result(scores, identities(recorder.alerts), life.rows())


def assert_same(one: Result, other: Result) -> None:
    assert one.scores == pytest.approx(other.scores, rel=1e-6, abs=1e-5)
    assert one.alerts == other.alerts
    assert one.rows.keys() == other.rows.keys()
    for name, (counters, state, labels, past) in one.rows.items():
        same_counters, same_state, same_labels, same_past = other.rows[name]
        assert counters.tobytes() == same_counters.tobytes()
        assert state == pytest.approx(same_state, rel=1e-6, abs=1e-5)
        assert labels == same_labels
        assert past == same_past


class OneByOne:
    """The result if every record is its own poll. Hypothesis does not print it."""

    def __init__(self, found: Result) -> None:
        self.found = found


@pytest.fixture(scope="module")
def one_by_one(bundle: Bundle) -> OneByOne:
    return OneByOne(run(bundle, IN_TIME, [1]))


def test_the_history_has_every_kind_of_counter(one_by_one: OneByOne) -> None:
    found = one_by_one.found
    kinds = {name: int(rows["kind"][0]) for name, (rows, *_) in found.rows.items()}
    assert kinds == {
        "a/x_total": MetricKind.COUNTER,
        "b/x": MetricKind.COUNTER,
        "c/x": MetricKind.COUNTER,
        "d/x": MetricKind.DELTA,
        "e/x": MetricKind.COUNTER,
        "f/x": MetricKind.COUNTER,
        "g/x": MetricKind.GAUGE,
        "h/jobs_total": MetricKind.GAUGE,
        "i/x": MetricKind.COUNTER,
        "j/x.mean": MetricKind.GAUGE,
        "k/x.p95": MetricKind.GAUGE,
    }
    assert {labels["version"] for _, _, labels, _ in found.rows.values()} == {"2"}
    reasons = {reason for _, reason, *_ in found.alerts}
    assert len(reasons) >= 3
    rated = [score for place, score in found.scores.items() if place[0][0] in "abc"]
    assert max(rated, default=0) < 1000


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_the_size_of_polls_changes_no_rate(
    bundle: Bundle, one_by_one: OneByOne, sizes: list[int]
) -> None:
    assert_same(one_by_one.found, run(bundle, IN_TIME, sizes))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_the_interleaving_of_streams_changes_no_rate(
    bundle: Bundle, one_by_one: OneByOne, seed: int, size: int
) -> None:
    turns = np.repeat(np.arange(len(HISTORIES)), TICKS)
    np.random.default_rng(seed).shuffle(turns)
    remaining = [iter(stream) for stream in HISTORIES]
    mixed = [next(remaining[stream]) for stream in turns.tolist()]
    assert_same(one_by_one.found, run(bundle, mixed, [size]))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    crashes=st.lists(st.integers(1, 20), max_size=6),
    every=st.integers(1, 6),
    size=st.integers(1, 60),
)
def test_a_kill_changes_no_rate(
    bundle: Bundle,
    one_by_one: OneByOne,
    crashes: list[int],
    every: int,
    size: int,
) -> None:
    polls = list(polls_of(IN_TIME, [size]))
    store = MemoryStore()
    recorder = PipelineRecorder()
    for until_crash in crashes:
        life = Life(bundle, store, recorder)
        left = list(from_offset(polls, life.offset))[:until_crash]
        for number, batch in enumerate(left, 1):
            life.read([batch])
            if number % every == 0:
                life.checkpoint()
    life = Life(bundle, store, recorder)
    life.read(polls)
    assert_same(one_by_one.found, result(IN_TIME, recorder, life))
