"""What one metric costs that is scored by its own past."""

from __future__ import annotations

import numpy as np
import torch

from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from tests.benchmarks.bundles import TICK, bundle_of
from tests.benchmarks.rounds import Row, Run, medians, rate
from training.fitting.export import graph
from training.models.autoencoder import AutoencoderNetwork
from training.models.shapes import BOOKS
from training.models.surprise import Front
from training.models.univariate import UnivariateStep, first_row

PROFILES = {"full": BOOKS, "lean": ()}
BATCHES = (1024, 2048)
HIDDEN = 16
STEPS = 20  # of one run; states go on from run to run


def front(rounds: int) -> list[Row]:
    """One metric scored by its own past, microseconds a point on one thread: in full,
    and lean.
    """
    rows: list[Row] = []
    for batch in BATCHES:
        runs = [_run(Front(shapes), batch) for shapes in PROFILES.values()]
        rates = medians(2 * rounds, *runs)
        for profile, found in zip(PROFILES, rates, strict=True):
            rows.append(
                {"profile": profile, "batch": str(batch), "µs a point": 1e6 / found}
            )
    return rows


def _run(one: Front, batch: int) -> Run:
    runtime, states = _engine(one, batch)
    rng = np.random.default_rng(0)
    clock = clock_input(np.full(batch, TICK), np.full(batch, TICK))

    def run() -> float:
        points = rng.normal(size=(STEPS, batch, 1)).astype(np.float32)

        def steps() -> None:
            nonlocal states
            for x in points:
                states = runtime.step(x, clock, states).next_state

        return rate(STEPS * batch, steps)

    return run


def _engine(one: Front, batch: int) -> tuple[OnnxEngine, np.ndarray]:
    torch.manual_seed(0)
    width = one.inputs
    net = AutoencoderNetwork(width, HIDDEN, torch.eye(width) / width).eval()
    step = UnivariateStep(net, 1.75, 1, one).eval()
    initial = first_row(step)
    made = bundle_of(("value",), graph(step), initial)
    return OnnxEngine(made), np.repeat(initial[None], batch, axis=0)
