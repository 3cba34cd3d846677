"""One step against a window recomputed, which is what a stateless detector does."""

from __future__ import annotations

import numpy as np
import torch

from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from tests.benchmarks.bundles import SIZES, TICK, Size, bundle, network, poll
from tests.benchmarks.rounds import Row, Run, medians, rate

BATCH = 1024
WINDOW = 60  # points
STEPS = 20  # of one run
BAR = 50.0


def window(rounds: int) -> list[Row]:
    """One incremental step for each of a batch of streams against the same network over
    the last 60 points, recomputed for each.
    """
    torch.set_num_threads(1)
    rows: list[Row] = []
    for size in SIZES:
        step, recompute = medians(rounds, _stepped(size), _recomputed(size))
        rows.append(
            {
                "size": size.label,
                "step/s": step,
                "window/s": recompute,
                "ratio": step / recompute,
                "bar": BAR,
            }
        )
    return rows


def _stepped(size: Size) -> Run:
    made = bundle(size)
    runtime = OnnxEngine(made)
    x = poll(size, BATCH, 0).values.astype(np.float32)
    states = np.repeat(made.initial[None], BATCH, axis=0)
    clock = clock_input(np.full(BATCH, TICK), np.full(BATCH, TICK))

    def steps() -> None:
        for _ in range(STEPS):
            runtime.step(x, clock, states)

    return lambda: rate(BATCH * STEPS, steps)


def _recomputed(size: Size) -> Run:
    net = network(size)
    history = torch.zeros(BATCH, WINDOW, size.features)

    def run() -> float:
        with torch.no_grad():
            return rate(BATCH, lambda: net(history))

    return run
