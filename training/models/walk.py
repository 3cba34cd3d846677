"""Stepping many streams through their history at once, as the daemon steps them.

Theory of operation. A step takes a batch of streams, and a stream's points must come in
the order of time. So step t takes the t-th point of every stream that has one. Streams
are ordered by length, the longest first: those that go on are then always the first
rows of the state, and nothing has to be gathered or put back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64, I64
from detector.model.engine import Engine, clock_input
from training.history.history import History, Series

LocalTimes = Callable[[F64], F64]


@dataclass(frozen=True, slots=True)
class Wave:
    """The t-th point of each of the B streams that have one.

    Attributes:
        streams: int64 [B], the streams' numbers.
        rows: int64 [B], the points' numbers when all streams are laid end to end.
        x: float32 [B, F], NaN where missing.
        clock: float32 [B, 3], the graph's input of that name.
    """

    streams: I64
    rows: I64
    x: F32
    clock: F32


@dataclass(frozen=True, slots=True)
class ScoredStreams:
    """What a graph makes of N streams.

    Attributes:
        scores: float32 [n_i] of each stream.
        expected, contribution: float32 [n_i, F] of each stream.
        rows: float32 [N, S], the streams' states after their last points.
    """

    scores: tuple[F32, ...]
    expected: tuple[F32, ...]
    contribution: tuple[F32, ...]
    rows: F32


def walk(
    streams: Sequence[Series],
    first: F32,
    local_times: LocalTimes,
    step: Callable[[Wave, F32], F32],
) -> F32:
    """Step every stream from its row of ``first`` [N, S] through all its points.

    ``step`` takes a wave and its streams' states [B, S], and returns their next states.
    ``local_times`` turns event times into those of the streams' clocks. Returns the
    states after the last points, float32 [N, S].
    """
    lengths = np.array([len(s) for s in streams])
    order = np.argsort(-lengths, kind="stable")
    begins = (np.cumsum(lengths) - lengths)[order]
    ends_of_prefix = -lengths[order]
    times = np.concatenate([s.times for s in streams])
    values = np.concatenate([s.values for s in streams])
    ticks = np.array([s.tick for s in streams])[order]
    state = first[order]
    for t in range(int(lengths.max())):
        count = int(np.searchsorted(ends_of_prefix, -t, side="left"))
        rows = begins[:count] + t
        now = times[rows]
        since = now - times[rows - 1] if t else ticks[:count]
        clock = clock_input(since, local_times(now))
        wave = Wave(
            order[:count],
            rows,
            values[rows],
            clock,
        )
        state[:count] = step(wave, state[:count])
    last = np.empty_like(state)
    last[order] = state
    return last


def score_streams(
    engine: Engine,
    streams: Sequence[Series],
    first: F32,
    local_times: LocalTimes,
) -> ScoredStreams:
    """Step every stream through ``engine`` from its row of ``first`` [N, S]."""
    width = streams[0].values.shape[1]
    total = sum(map(len, streams))
    scores = np.zeros(total, np.float32)
    expected = np.zeros((total, width), np.float32)
    contribution = np.zeros((total, width), np.float32)

    def step(wave: Wave, state: F32) -> F32:
        output = engine.step(wave.x, wave.clock, state)
        scores[wave.rows] = output.score
        expected[wave.rows] = output.expected
        contribution[wave.rows] = output.contribution
        return output.next_state

    last = walk(streams, first, local_times, step)
    return ScoredStreams(
        scores=by_stream(scores, streams),
        expected=by_stream(expected, streams),
        contribution=by_stream(contribution, streams),
        rows=last,
    )


def score_history(engine: Engine, history: History, first: F32) -> ScoredStreams:
    """Step every stream of a history, each in its own time zone's clock."""
    return score_streams(engine, history.series, first, history.local_times)


def by_stream(laid: F32, streams: Sequence[Series]) -> tuple[F32, ...]:
    """Rows of all streams end to end, as one array for each stream."""
    ends = np.cumsum([len(s) for s in streams])
    return tuple(np.split(laid, ends[:-1]))
