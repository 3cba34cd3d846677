"""Clocks that are wrong, points out of order, and equal times, over files and records.

Neither polls nor kills change what comes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import Partition, RecordBatch, TimestampType
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.record_clock import ClockBounds
from detector.recovery.restore import restore
from detector.recovery.store import load_last
from detector.replay.chunks import Chunk
from tests.fakes import MemoryStore, PipelineRecorder, fake_bundle, raw_batch
from tests.laws.logs import from_offset

P = Partition("metrics", 0)
T0 = 1_699_833_600.0
NOW = 1_790_000_000_000  # when the records are produced, milliseconds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"))


@dataclass
class Series:
    """Times and values of one stream, in the order of their coming."""

    times: list[float]
    values: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        self.values = self.values or rng.normal(50, 2, len(self.times)).tolist()

    def sorted(self) -> Series:
        order = np.argsort(self.times, kind="stable").tolist()
        return Series([self.times[i] for i in order], [self.values[i] for i in order])


def minutes(count: int) -> list[float]:
    return [T0 + 60 * k for k in range(count)]


def one_from_2099() -> Series:
    times = minutes(600)
    return Series([*times[:300], 4_070_908_800.0, *times[300:]])


def an_hour_ahead() -> Series:
    times = minutes(300)
    return Series([*times[:100], *(t + 3600 for t in times[100:160]), *times[160:]])


def neighbours_swapped() -> Series:
    times = minutes(300)
    for k in (7, 41, 43, 100, 250):
        times[k], times[k + 1] = times[k + 1], times[k]
    return Series(times)


def three_a_second() -> Series:
    return Series([T0 + k // 3 for k in range(300)])


def a_pause_and_one_month_ahead() -> Series:
    times = minutes(200)
    later = [t + 7 * 3600 for t in times[100:]]
    return Series([*times[:100], later[0], later[1] + 30 * 86400, *later[1:]])


ALL = {
    "one_from_2099": one_from_2099(),
    "an_hour_ahead": an_hour_ahead(),
    "neighbours_swapped": neighbours_swapped(),
    "three_a_second": three_a_second(),
    "a_pause_and_one_month_ahead": a_pause_and_one_month_ahead(),
}


class Life:
    """One life of a daemon."""

    def __init__(self, bundle: Bundle, store: MemoryStore) -> None:
        self.store = store
        self.recorder = PipelineRecorder()
        self.pipeline = build_pipeline(
            bundle, OnnxEngine(bundle), AlertTuning(), observer=self.recorder
        )
        head, pages = load_last(store, P)
        restored = restore(bundle.digest, head, pages, bundle.manifest.state_size)
        self.pipeline.assign(P, restored)
        self.offset = restored.offset or 0

    def checkpoint(self) -> None:
        data = self.pipeline.pages.capture(P)
        assert data is not None
        make_durable(self.store, data)

    def reasons(self) -> list[tuple[int, str]]:
        rejects = self.recorder.rejects
        return sorted((record.offset, record.reason.value) for record in rejects)


def polls(
    bundle: Bundle,
    series: Series,
    size: int,
    when: int = NOW,
    of: TimestampType = TimestampType.CREATE_TIME,
) -> list[RecordBatch]:
    decoder = feature_decoder(
        FORMATS["json"], bundle.feature_names, bounds=ClockBounds()
    )
    cut = []
    for first in range(0, len(series.times), size):
        points = slice(first, first + size)
        records = [
            msgspec.json.encode({"timestamp": t, "stream": "s", "cpu": v})
            for t, v in zip(series.times[points], series.values[points], strict=True)
        ]
        raw = raw_batch(records, first=first, partition=P, timestamp=when)
        raw = replace(raw, timestamp_types=[of] * len(records))
        cut.append(decoder.decode(raw))
    return cut


def run(bundle: Bundle, batches: Sequence[RecordBatch]) -> Life:
    life = Life(bundle, MemoryStore())
    life.pipeline.process(batches)
    return life


def replayed(bundle: Bundle, series: Series) -> Life:
    life = Life(bundle, MemoryStore())
    count = len(series.times)
    values = np.array([series.values, [np.nan] * count]).T
    chunk = Chunk(["s"], np.zeros(count, np.int64), np.array(series.times), values)
    life.pipeline.assign(Partition("replay", 0), restore("", None, (), 2))
    life.pipeline.process(list(chunk.polls(ClockBounds())))
    return life


def scores(life: Life) -> list[float]:
    found = life.recorder.scores
    return [found[offset] for offset in sorted(found)]


@pytest.mark.parametrize("name", ALL)
def test_a_file_and_its_records_give_the_same(bundle: Bundle, name: str) -> None:
    ran = run(bundle, polls(bundle, ALL[name], 64))
    again = replayed(bundle, ALL[name])
    assert again.recorder.scores == pytest.approx(ran.recorder.scores, abs=1e-6)
    assert again.reasons() == ran.reasons()


def test_one_stamp_from_the_future_costs_one_point(bundle: Bundle) -> None:
    series = one_from_2099()
    life = replayed(bundle, series)
    assert life.reasons() == [(300, "future")]
    assert len(life.recorder.scores) == 600
    assert "`s`" in life.recorder.rejects[0].detail
    without = Series(
        [*series.times[:300], *series.times[301:]],
        [*series.values[:300], *series.values[301:]],
    )
    assert scores(life) == pytest.approx(scores(replayed(bundle, without)), abs=1e-6)


def test_a_stream_goes_on_with_its_first_right_record(bundle: Bundle) -> None:
    life = replayed(bundle, an_hour_ahead())
    assert life.reasons() == []
    assert len(life.recorder.scores) == 300


def test_a_stream_with_a_hole_goes_on_when_its_clock_is_corrected(
    bundle: Bundle,
) -> None:
    times = [T0 + 30 * k for k in range(300)]
    ahead = [t + 3600 for t in times[100:160]]
    behind_a_hole = ahead[-1] + 60
    series = Series([*times[:100], *ahead, behind_a_hole, *times[160:]])
    life = replayed(bundle, series)
    assert life.reasons() == [(160, "future")]
    assert len(life.recorder.scores) == 300


def test_swapped_neighbours_score_like_the_sorted_series(bundle: Bundle) -> None:
    series = neighbours_swapped()
    life = replayed(bundle, series)
    assert life.reasons() == []
    in_order = scores(replayed(bundle, series.sorted()))
    by_time = np.argsort(series.times)
    found = [life.recorder.scores[int(k)] for k in by_time]
    assert found == pytest.approx(in_order, abs=1e-6)


def test_several_points_of_one_second_all_count(bundle: Bundle) -> None:
    life = replayed(bundle, three_a_second())
    assert life.reasons() == []
    assert len(life.recorder.scores) == 300


def test_a_record_that_is_sent_twice_is_one_point(bundle: Bundle) -> None:
    series = Series([T0, T0 + 60, T0 + 60, T0 + 120], [1.0, 2.0, 2.0, 3.0])
    assert run(bundle, polls(bundle, series, 4)).reasons() == [(2, "duplicate")]
    by_broker = polls(bundle, series, 4, of=TimestampType.LOG_APPEND_TIME)
    assert run(bundle, by_broker).reasons() == []


def test_a_pause_loses_nothing_and_a_jump_after_it_is_still_found(
    bundle: Bundle,
) -> None:
    life = replayed(bundle, a_pause_and_one_month_ahead())
    assert life.reasons() == [(101, "future")]


def test_the_end_of_a_file_settles_what_waits(bundle: Bundle) -> None:
    hole = replayed(bundle, Series([*minutes(10), T0 + 660]))
    jump = replayed(bundle, Series([*minutes(10), T0 + 86400]))
    assert len(hole.recorder.scores) == len(jump.recorder.scores) == 10
    hole.pipeline.finish()
    jump.pipeline.finish()
    assert len(hole.recorder.scores) == 11
    assert jump.reasons() == [(10, "future")]


def test_a_stamp_ahead_of_the_logs_time_is_rejected_with_its_bytes(
    bundle: Bundle,
) -> None:
    series = Series([T0, T0 + 60, T0 + 2000, T0 + 120])
    for of in TimestampType:
        life = run(bundle, polls(bundle, series, 2, int(T0 + 120) * 1000, of))
        assert life.reasons() == [(2, "future")]
        (rejected,) = life.recorder.rejects
        assert b'"timestamp":' in (rejected.value or b"")
        assert "`s`" in rejected.detail


def test_a_late_record_keeps_its_bytes(bundle: Bundle) -> None:
    series = Series([T0, T0 + 60, T0 + 120, T0 + 30])
    (rejected,) = run(bundle, polls(bundle, series, 3)).recorder.rejects
    assert rejected.reason.value == "late"
    assert b'"cpu"' in (rejected.value or b"")


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(ALL)),
    size=st.integers(1, 50),
    crashes=st.lists(st.integers(1, 12), max_size=5),
    every=st.integers(1, 4),
)
def test_polls_and_kills_change_nothing(
    bundle: Bundle, name: str, size: int, crashes: list[int], every: int
) -> None:
    expected = run(bundle, polls(bundle, ALL[name], 1))
    store = MemoryStore()
    found: dict[int, float] = {}
    reasons: set[tuple[int, str]] = set()
    for lifetime in [*crashes, 10_000]:
        life = Life(bundle, store)
        cut = polls(bundle, ALL[name], size)
        for count, batch in enumerate(list(from_offset(cut, life.offset))[:lifetime]):
            life.pipeline.process([batch])
            if count % every == 0:
                life.checkpoint()
        found |= life.recorder.scores
        reasons |= set(life.reasons())
    assert found == pytest.approx(expected.recorder.scores, abs=1e-5)
    assert sorted(reasons) == expected.reasons()
