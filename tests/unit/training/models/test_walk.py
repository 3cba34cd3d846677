"""Many streams stepped at once are each stepped as it would be alone."""

from __future__ import annotations

import numpy as np

from detector.events import F32
from training.history.history import Series
from training.models.walk import Wave, by_stream, walk

LENGTHS = (3, 0, 7, 5, 7)
AHEAD = 3600.0


def series(number: int, length: int) -> Series:
    """Points at uneven intervals; a stream's values are its own."""
    rng = np.random.default_rng(number)
    times = 1_000_000.0 + np.cumsum(rng.integers(1, 100, length)).astype(float)
    values = rng.normal(size=(length, 2)).astype(np.float32)
    one = np.ones(2, np.float32)
    return Series(f"s{number}", times, values, one, one, 10.0 + number)


def walked(streams: list[Series]) -> tuple[tuple[F32, ...], F32]:
    """A step whose state follows all that it is given; its states, and the last."""
    states = np.zeros((sum(map(len, streams)), 1), np.float32)

    def step(wave: Wave, state: F32) -> F32:
        inputs = np.concatenate([wave.x, wave.clock], axis=1)
        moved: F32 = 0.5 * state + inputs.sum(axis=1, keepdims=True)
        states[wave.rows] = moved
        return moved

    first = np.arange(len(streams), dtype=np.float32)[:, None]
    last = walk(streams, first, lambda times: times + AHEAD, step)
    return by_stream(states, streams), last


def test_each_stream_is_stepped_as_it_would_be_alone() -> None:
    streams = [series(i, length) for i, length in enumerate(LENGTHS)]
    states, last = walked(streams)
    for i, stream in enumerate(streams):
        state = float(i)
        for t in range(len(stream)):
            now = stream.times[t] + AHEAD
            since = stream.times[t] - stream.times[t - 1] if t else stream.tick
            day = (now // 86_400 + 3) % 7
            inputs = [*stream.values[t], since, now % 86_400, day]
            state = 0.5 * state + float(np.sum(inputs))
            np.testing.assert_allclose(states[i][t], state, rtol=1e-5)
        np.testing.assert_allclose(last[i], state, rtol=1e-5)


def test_a_wave_holds_every_stream_that_goes_on() -> None:
    streams = [series(i, length) for i, length in enumerate(LENGTHS)]
    waves: list[set[int]] = []

    def step(wave: Wave, state: F32) -> F32:
        waves.append(set(wave.streams.tolist()))
        return state

    walk(streams, np.zeros((5, 1), np.float32), lambda times: times, step)
    expected = [{i for i, n in enumerate(LENGTHS) if n > t} for t in range(7)]
    assert waves == expected
