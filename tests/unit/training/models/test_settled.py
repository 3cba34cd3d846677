"""What known streams begin with, from steps of their fit rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from detector.events import F32
from detector.model.onnx_engine import OnnxEngine
from training.fitting.candidate import open_graph
from training.fitting.export import graph
from training.history.history import History, Series
from training.models.autoencoder import AutoencoderNetwork
from training.models.layout import StateLayout
from training.models.multivariate import AutoencoderStep, blank_rows
from training.models.settled import settled_rows

FEATURES = 3
POINTS = 3000
OUTAGE = slice(2200, 2260)


class Served(NamedTuple):
    """An engine and the layout of its rows."""

    engine: OnnxEngine
    layout: StateLayout


def quiet(seed: int) -> F32:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(POINTS, FEATURES)).astype(np.float32)


def series(values: F32) -> Series:
    width = values.shape[1]
    return Series(
        "stream",
        np.arange(len(values), dtype=np.float64) * 60,
        values,
        np.zeros(width, np.float32),
        np.ones(width, np.float32),
        60.0,
    )


@pytest.fixture(scope="module")
def served() -> Served:
    torch.manual_seed(1)
    network = AutoencoderNetwork(FEATURES, 4, None).eval()
    step = AutoencoderStep(network, power=1.75, learning=100).eval()
    names = tuple(f"f{j}" for j in range(FEATURES))
    history = History(names, (series(quiet(0)),), 60.0, "", (), {})
    return Served(open_graph(graph(step), history, step.layout.size), step.layout)


def settled(served: Served, streams: list[F32]) -> F32:
    first = blank_rows(len(streams), served.layout)
    first[:, served.layout.slices()["seen"]] = 100
    return settled_rows(
        served.engine,
        [series(values) for values in streams],
        first,
        served.layout,
        lambda times: times,
    )


def part(rows: F32, layout: StateLayout, name: str) -> F32:
    return rows[:, layout.slices()[name]]


def test_an_incident_among_the_rows_does_not_become_what_is_usual(
    served: Served,
) -> None:
    faulty = quiet(0)
    faulty[OUTAGE] += 15
    others = [quiet(seed) for seed in range(1, 4)]
    rows = settled(served, [faulty, quiet(0), *others])
    for name, most in (("own_width", 1.2), ("energy", 1.5), ("width", 1.2)):
        of_faulty, of_clean = part(rows, served.layout, name)[:2]
        assert (of_faulty < most * of_clean).all(), name


def test_few_rows_take_their_unit_from_the_fleet(served: Served) -> None:
    others = [quiet(seed) for seed in range(1, 4)]
    bursts = quiet(5)
    bursts[::40] *= 6
    rows = settled(served, [bursts, bursts[:300], *others])
    widths = part(rows, served.layout, "own_width")[:, 0]
    fleet = np.median(widths)
    assert widths[0] > widths[1] > fleet


def test_units_are_counted_once_surprise_has_settled(served: Served) -> None:
    """The second pass meets what the first one left."""
    rows = settled(served, [quiet(seed) for seed in range(3)])
    again = settled(served, [np.tile(quiet(seed), (2, 1)) for seed in range(3)])
    median = part(rows, served.layout, "own_median")
    np.testing.assert_allclose(
        median, part(again, served.layout, "own_median"), atol=0.05
    )
