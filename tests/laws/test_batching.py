"""Neither the size of polls nor the interleaving of streams changes a result."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.events import Alert, Partition
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.snapshot import Restored
from tests.fakes import PipelineRecorder, columns, fake_bundle

P = Partition("metrics", 0)
STREAMS = 5
TICKS = 40
SEEDS = 4
Record = tuple[str, float, list[float]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"))


def history(seed: int) -> list[list[Record]]:
    """Each stream's records in order.

    With missing cells, a fault of its own, and some late or repeated timestamps.
    """
    rng = np.random.default_rng(seed)
    streams = []
    for s in range(STREAMS):
        times = 60.0 * np.arange(1, TICKS + 1)
        times[rng.integers(1, TICKS, 3)] -= rng.choice([60.0, 90.0], 3)
        values = rng.normal(size=(TICKS, 2))
        values[10 + s : 14 + s] += 30
        values[rng.random(TICKS) < 0.1, 0] = np.nan
        names = [f"s{s}"] * TICKS
        records = zip(names, times.tolist(), values.tolist(), strict=True)
        streams.append(list(records))
    return streams


def in_time_order(streams: list[list[Record]]) -> list[Record]:
    """The streams' records tick by tick."""
    return [record for tick in zip(*streams, strict=True) for record in tick]


class Result(NamedTuple):
    """Scores and phases by stream and number of the record, and the alerts."""

    scores: dict[tuple[str, int], float]
    phases: dict[tuple[str, int], int]
    alerts: set[Alert]


def run(bundle: Bundle, records: Sequence[Record], sizes: Sequence[int]) -> Result:
    """Process ``records`` in polls that have ``sizes`` in turn."""
    tuning = AlertTuning(cooldown_ticks=2, min_gap=0)
    recorder = PipelineRecorder()
    pipeline = build_pipeline(bundle, OnnxEngine(bundle), tuning, observer=recorder)
    pipeline.assign(P, Restored((), (), 0))
    start = turn = 0
    while start < len(records):
        part = records[start : start + sizes[turn % len(sizes)]]
        names, times, values = zip(*part, strict=True)
        pipeline.process([columns(names, times, values, first=start)])
        start += len(part)
        turn += 1
    count: dict[str, int] = {}
    places = []
    for name, _, _ in records:
        places.append((name, count.setdefault(name, 0)))
        count[name] += 1
    return Result(
        {places[offset]: score for offset, score in recorder.scores.items()},
        {places[offset]: recorder.phases[offset] for offset in recorder.scores},
        set(recorder.alerts),
    )


def identities(alerts: set[Alert]) -> set[tuple[object, ...]]:
    """What must not differ; the scores that alerts show may, by rounding."""
    return {(a.stream, a.reason, a.severity, a.starts_at, a.ends_at) for a in alerts}


def assert_same(one: Result, other: Result) -> None:
    assert one.phases == other.phases
    assert one.scores == pytest.approx(other.scores, rel=1e-7, abs=1e-5)
    assert identities(one.alerts) == identities(other.alerts)
    assert one.alerts


class OneByOne:
    """The results of each history if every record is its own poll.

    Not a dataclass: hypothesis would print all of it.
    """

    def __init__(self, bundle: Bundle, found: list[Result]) -> None:
        self.bundle = bundle
        self.found = found


@pytest.fixture(scope="module")
def one_by_one(bundle: Bundle) -> OneByOne:
    by_seed = []
    for seed in range(SEEDS):
        records = list(chain.from_iterable(history(seed)))
        by_seed.append(run(bundle, records, [1]))
    return OneByOne(bundle, by_seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, SEEDS - 1), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_the_size_of_polls_changes_no_result(
    one_by_one: OneByOne, seed: int, sizes: list[int]
) -> None:
    records = in_time_order(history(seed))
    assert_same(one_by_one.found[seed], run(one_by_one.bundle, records, sizes))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, SEEDS - 1), st.randoms(use_true_random=False), st.integers(1, 200)
)
def test_the_interleaving_of_streams_changes_no_result(
    one_by_one: OneByOne, seed: int, random: Random, size: int
) -> None:
    streams = history(seed)
    turns = list(range(STREAMS)) * TICKS
    random.shuffle(turns)
    remaining = [iter(stream) for stream in streams]
    mixed = [next(remaining[stream]) for stream in turns]
    assert_same(one_by_one.found[seed], run(one_by_one.bundle, mixed, [size]))


def test_other_streams_change_no_result(bundle: Bundle) -> None:
    streams = history(3)
    together = run(bundle, in_time_order(streams), [17])
    for s, stream in enumerate(streams):
        alone = run(bundle, stream, [1])
        own = [place for place in together.scores if place[0] == f"s{s}"]
        phases = {place: together.phases[place] for place in own}
        scores = {place: together.scores[place] for place in own}
        assert alone.phases == phases
        assert alone.scores == pytest.approx(scores, abs=1e-5)
