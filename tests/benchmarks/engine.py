"""The path after decoding against the bare graph."""

from __future__ import annotations

import numpy as np

from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from tests.benchmarks.bundles import SIZES, TICK, Size, bundle, pipeline, poll
from tests.benchmarks.rounds import Row, Run, medians, rate

STREAMS = 1024
TICKS = 40  # of one run
POLLS = 300
MOST_ROUNDS = 6  # of 40 ticks each, and one before: no poll is used twice
BAR = 0.6


def engine(rounds: int) -> list[Row]:
    """The whole path after decoding (lookup, waves, gather, step, decide, scatter)
    against bare ``session.run`` on the same batches.
    """
    return [_measured(size, min(rounds, MOST_ROUNDS)) for size in SIZES]


def _measured(size: Size, rounds: int) -> Row:
    bare, whole = _runs(size)
    whole()  # streams are opened once
    session, daemon = medians(rounds, bare, whole)
    return {
        "size": size.label,
        "session.run/s": session,
        "engine/s": daemon,
        "ratio": daemon / session,
        "bar": BAR,
    }


def _runs(size: Size) -> tuple[Run, Run]:
    made = bundle(size)
    polls = [poll(size, STREAMS, tick) for tick in range(POLLS)]
    runtime = OnnxEngine(made)
    scored = pipeline(made)
    states = np.repeat(made.initial[None], STREAMS, axis=0)
    clock = clock_input(np.full(STREAMS, TICK), np.full(STREAMS, TICK))
    following = iter(polls)
    vectors = [batch.values.astype(np.float32) for batch in polls[:TICKS]]

    def bare() -> float:
        def steps() -> None:
            for x in vectors:
                runtime.step(x, clock, states)

        return rate(STREAMS * TICKS, steps)

    def whole() -> float:
        chosen = [next(following) for _ in range(TICKS)]

        def process() -> None:
            for batch in chosen:
                scored.process([batch])

        return rate(STREAMS * TICKS, process)

    return bare, whole
