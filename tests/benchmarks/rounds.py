"""Rates taken in turn: the machine is shared, and what disturbs one disturbs all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Row = dict[str, float | str]
Run = Callable[[], float]  # a rate, per second


def medians(rounds: int, *runs: Run) -> list[float]:
    """The median rate of each run, over ``rounds`` in which each has its turn."""
    rates: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for found, run in zip(rates, runs, strict=True):
            found.append(run())
    return [statistics.median(found) for found in rates]


def rate(points: int, work: Callable[[], object]) -> float:
    """Points a second."""
    began = time.perf_counter()
    work()
    return points / (time.perf_counter() - began)
