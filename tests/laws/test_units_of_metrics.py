"""Units do not matter: streams in per cent, or in bytes, score alike.

Random weights, metrics that follow one load: what is tested is scaling and step. A fit
sees scaled values only, so its weights are the same in any units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from detector.events import F32, F64
from training.fitting.candidate import open_graph
from training.fitting.export import graph
from training.fitting.train import projection
from training.history.history import History, Series
from training.history.scales import scales
from training.models.autoencoder import AutoencoderNetwork
from training.models.multivariate import AutoencoderStep, first_rows, new_stream_row
from training.models.settled import settled_rows
from training.models.walk import score_history, score_streams

TICK = 60.0
FIT_ROWS = 1200
LIVE_ROWS = 500
OUTAGE = slice(300, 340)
LEARNING = 300
NAMES = ("x", "y", "z", "constant")
KNOWN = 3
# Each metric in other units: shares as bytes, bytes as GiB, ms as hours, celsius.
FACTORS = np.array([85_899_345.92, 2.0**-30, 1 / 3_600_000, 9 / 5])


class Scored(NamedTuple):
    """Scores [LIVE_ROWS] of each known stream, and of one that is new."""

    known: tuple[F32, ...]
    unseen: F32


def metrics(stream: int, rows: int, seed: int) -> F64:
    """A share, bytes, milliseconds and a constant that follow one load, [rows, 4]."""
    rng = np.random.default_rng([stream, seed])
    load = 1 + 0.4 * np.sin(np.arange(rows) / 40) + 0.05 * rng.normal(size=rows)
    noise = 1 + 0.02 * rng.normal(size=(rows, 4))
    usual = np.array([40.0, 3e9, 120.0, 0.0]) * (1 + stream)
    values = usual * load[:, None] * noise
    values[:, 3] = 7.0
    return np.asarray(values)


def series(name: str, values: F64, center: F32, scale: F32) -> Series:
    times = 1.7e9 + TICK * np.arange(len(values), dtype=np.float64)
    return Series(
        name,
        times,
        values.astype(np.float32),
        center,
        scale,
        TICK,
    )


def live(stream: int) -> F64:
    """A stream with a total outage, or one with a doubling."""
    values = metrics(stream, LIVE_ROWS, 1)
    values[OUTAGE] *= 2.0 * (stream % 2)
    return values


def scored(factors: F64) -> Scored:
    raw = [metrics(stream, FIT_ROWS, 0) * factors for stream in range(KNOWN)]
    found = scales([values.astype(np.float32) for values in raw])
    assert found is not None
    streams = tuple(
        series(f"s{i}", values, found.center[i], found.scale[i])
        for i, values in enumerate(raw)
    )
    history = History(NAMES, streams, TICK, "", (), {})
    torch.manual_seed(2)
    plane = projection([own.scaled() for own in streams])
    network = AutoencoderNetwork(len(NAMES), 6, plane).eval()
    step = AutoencoderStep(network, power=1.75, learning=LEARNING).eval()
    engine = open_graph(graph(step), history, step.layout.size)
    blank = first_rows(history, step.layout, LEARNING)
    clock = history.local_times
    first = settled_rows(engine, streams, blank, step.layout, clock)
    last = score_history(engine, history, first).rows
    unseen = new_stream_row(history, step.layout, last)
    later = [
        series(f"s{i}", live(i) * factors, streams[0].center, streams[0].scale)
        for i in range(KNOWN + 1)
    ]
    rows = np.concatenate([last, unseen[None]])
    scores = score_streams(engine, later, rows, clock).scores
    return Scored(scores[:KNOWN], scores[KNOWN])


@pytest.fixture(scope="module")
def both() -> tuple[Scored, Scored]:
    return scored(np.ones(4)), scored(FACTORS)


def test_known_streams_score_alike_in_other_units(both: tuple[Scored, Scored]) -> None:
    one, other = both
    for own, same in zip(one.known, other.known, strict=True):
        assert own[OUTAGE].max() > 2 * own[: OUTAGE.start].max()
        np.testing.assert_allclose(same, own, atol=0.02)


def test_a_new_stream_scores_alike_in_other_units(both: tuple[Scored, Scored]) -> None:
    one, other = both
    np.testing.assert_allclose(other.unseen, one.unseen, atol=0.05)
