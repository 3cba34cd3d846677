"""The rates that alerts name are true: scores of a rate come that often.

The streams are synthetic ones of all kinds, from a seed of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from detector.alerting.policy import AlertTuning
from detector.alerting.thresholds import max_gap, min_gap
from detector.events import F32, F64, RateBound, RecordBatch
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.replay.chunks import PARTITION
from detector.replay.offline import offline_pipeline
from detector.timestamps import HOUR, WEEK
from training.synthetic.streams import START, made_history

TICK = 300.0
STREAMS = 50
DRAWN = 8 * STREAMS  # one in seven has this tick
WEEKS = 2
POINTS = int(WEEKS * WEEK / TICK)
RATES = (4.0, 2.0, 1.0)  # whoever is a week old may name them
# Score under the threshold from which rates are asked for: below, they are larger.
BELOW = 1.0


class Rates(NullObserver):
    """The rate of each high score, NaN for others: float64 [T, N]."""

    def __init__(self) -> None:
        self.composer: AlertComposer | None = None
        self.per_week = np.full((POINTS, STREAMS), np.nan)
        self.bounds: set[RateBound] = set()

    def scored(self, batch: ScoredBatch) -> None:
        assert self.composer is not None
        scores = batch.step.score
        high = np.flatnonzero(scores > batch.decisions.threshold - BELOW)
        for i in high.tolist():
            name = batch.names[int(batch.slots[i])]
            row = batch.decisions.rows[i]
            rarity = self.composer.rarity(name, float(scores[i]), row)
            tick = int(batch.offsets[i]) // STREAMS
            self.per_week[tick, int(batch.offsets[i]) % STREAMS] = rarity.per_week
            self.bounds.add(rarity.bound)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUILTIN)


@pytest.fixture(scope="module")
def rates(bundle: Bundle) -> F64:
    """float64 [T, N], of new streams."""
    values = made_values()
    observer = Rates()
    pipeline = offline_pipeline(bundle, OnnxEngine(bundle), AlertTuning(), observer)
    observer.composer = pipeline.alerts
    for t, row in enumerate(values):
        seen = np.flatnonzero(np.isfinite(row))
        pipeline.process([batch_of(t, seen.tolist(), row[seen])])
    assert RateBound.ABOUT in observer.bounds
    return observer.per_week


def made_values() -> F32:
    """Values of streams with a point each ``TICK``: float32 [T, N], NaN if missing."""
    drawn = made_history(DRAWN, 4242, (POINTS, POINTS)).series
    chosen = [series for series in drawn if series.tick == TICK][:STREAMS]
    values = np.full((POINTS, STREAMS), np.nan, np.float32)
    for column, series in enumerate(chosen):
        rows = np.round((series.times - series.times[0]) / TICK).astype(np.int64)
        values[rows, column] = series.values[:, 0]
    return values


def batch_of(t: int, streams: Sequence[int], values: F32) -> RecordBatch:
    offsets = t * STREAMS + np.array(streams)
    return RecordBatch(
        PARTITION,
        [f"host-{i}/value" for i in streams],
        offsets,
        np.full(len(offsets), START + t * TICK),
        values[:, None].astype(np.float64),
        (t + 1) * STREAMS,
    )


def episodes(is_rare: npt.NDArray[np.bool_], gap: float) -> int:
    """How many runs of rare scores begin at least ``gap`` ticks after another one."""
    count = 0
    for stream in is_rare.T:
        last = -np.inf
        for t in np.flatnonzero(stream).tolist():
            if t - last > gap:
                count += 1
                last = t
    return count


@pytest.mark.parametrize("rate", RATES)
def test_scores_of_a_rate_come_as_often_as_it_says(rates: F64, rate: float) -> None:
    later = rates[int(WEEK / TICK) :]
    tick = np.array([TICK])
    gap = float(min_gap(12 * HOUR, tick, max_gap(rate))[0]) / TICK
    stream_weeks = STREAMS * (WEEKS - 1)
    seen = episodes(later <= rate, gap) / stream_weeks
    assert rate / 2 <= seen <= 2 * rate


def test_no_stream_claims_a_rate_that_its_age_can_not_bear_out(rates: F64) -> None:
    for day in range(1, 7 * WEEKS):
        upto = int(day * 24 * HOUR / TICK)
        assert np.nanmin(rates[:upto]) >= 7 / day
