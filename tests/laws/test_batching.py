"""Neither the size of polls nor the interleaving of streams changes a result."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

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
        streams.append(
            [
                (f"s{s}", float(t), v.tolist())
                for t, v in zip(times, values, strict=True)
            ]
        )
    return streams


Found = tuple[dict[tuple[str, int], tuple[float, int]], set[Alert]]


def run(bundle: Bundle, records: Sequence[Record], sizes: Sequence[int]) -> Found:
    """Score and phase of each stream's k-th record, and the alerts.

    Polls have ``sizes`` in turn.
    """
    tuning = AlertTuning(cooldown_ticks=2, min_gap=0)
    recorder = PipelineRecorder()
    pipeline = build_pipeline(bundle, OnnxEngine(bundle), tuning, observer=recorder)
    pipeline.assign(P, Restored((), (), 0))
    start = turn = 0
    while start < len(records):
        part = records[start : start + sizes[turn % len(sizes)]]
        pipeline.process(
            [
                columns(
                    [r[0] for r in part],
                    [r[1] for r in part],
                    [r[2] for r in part],
                    first=start,
                )
            ]
        )
        start = start + len(part)
        turn = turn + 1
    count: dict[str, int] = {}
    places = []
    for name, _, _ in records:
        places.append((name, count.setdefault(name, 0)))
        count[name] += 1
    points = {
        places[o]: (recorder.scores[o], recorder.phases[o]) for o in recorder.scores
    }
    return points, set(recorder.alerts)


def same(one: Found, other: Found) -> None:
    assert one[0].keys() == other[0].keys()
    places = sorted(one[0])
    assert [one[0][p][1] for p in places] == [other[0][p][1] for p in places]
    np.testing.assert_allclose(
        [one[0][p][0] for p in places], [other[0][p][0] for p in places], atol=1e-5
    )
    names = [
        {(a.stream, a.reason, a.severity, a.starts_at, a.ends_at) for a in found[1]}
        for found in (one, other)
    ]
    assert names[0] == names[1]
    assert names[0]


class OneByOne:
    """The results of each history if every record is its own poll.

    Not a dataclass: hypothesis would print all of it.
    """

    def __init__(self, bundle: Bundle, found: list[Found]) -> None:
        self.bundle = bundle
        self.found = found


@pytest.fixture(scope="module")
def one_by_one(bundle: Bundle) -> OneByOne:
    return OneByOne(
        bundle,
        [
            run(bundle, [record for stream in history(seed) for record in stream], [1])
            for seed in range(SEEDS)
        ],
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, SEEDS - 1), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_the_size_of_polls_changes_no_result(
    one_by_one: OneByOne, seed: int, sizes: list[int]
) -> None:
    records = [record for tick in zip(*history(seed), strict=True) for record in tick]
    same(one_by_one.found[seed], run(one_by_one.bundle, records, sizes))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, SEEDS - 1), st.randoms(use_true_random=False), st.integers(1, 200)
)
def test_the_interleaving_of_streams_changes_no_result(
    one_by_one: OneByOne, seed: int, random: Random, size: int
) -> None:
    streams = history(seed)
    turns = [s for s in range(STREAMS) for _ in range(TICKS)]
    random.shuffle(turns)
    left = [iter(stream) for stream in streams]
    mixed = [next(left[s]) for s in turns]
    same(one_by_one.found[seed], run(one_by_one.bundle, mixed, [size]))


def test_other_streams_change_no_result(bundle: Bundle) -> None:
    streams = history(3)
    together, _ = run(
        bundle, [record for tick in zip(*streams, strict=True) for record in tick], [17]
    )
    for name, stream in zip((f"s{s}" for s in range(STREAMS)), streams, strict=True):
        alone, _ = run(bundle, stream, [1])
        mine = {k: v for k, v in together.items() if k[0] == name}
        assert {k: v[1] for k, v in alone.items()} == {k: v[1] for k, v in mine.items()}
        assert {k: v[0] for k, v in alone.items()} == pytest.approx(
            {k: v[0] for k, v in mine.items()}, abs=1e-5
        )
