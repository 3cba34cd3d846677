"""The interval of a difference: wide where little is known, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import F64, I64
from training.evaluation.interval import Interval
from training.evaluation.interval import mean_interval as of_kinds


def mean_interval(differences: F64, streams: I64, seed: int) -> Interval:
    """Of cases of one kind."""
    return of_kinds(differences, streams, ["spike"] * len(streams), seed)


def test_differences_that_all_agree_decide() -> None:
    found = mean_interval(np.linspace(0.1, 0.2, 10), np.arange(10), seed=0)
    assert found.mean == pytest.approx(0.15)
    assert found.is_above
    assert found.low < 0.15 < found.high
    assert found.over == "streams"
    lower = mean_interval(-np.linspace(0.1, 0.2, 10), np.arange(10), seed=0)
    assert lower.is_below


def test_the_cases_of_one_stream_are_not_evidence_of_many() -> None:
    rng = np.random.default_rng(0)
    of_streams = rng.normal(0.05, 0.1, 6)
    differences = np.repeat(of_streams, 100)
    streams = np.repeat(np.arange(6), 100)
    found = mean_interval(differences, streams, seed=0)
    once = mean_interval(of_streams, np.arange(6), seed=0)
    assert found == pytest.approx(once)


def test_each_stream_counts_once() -> None:
    differences = np.array([1.0] * 50 + [0.0] * 4)
    streams = np.array([0] * 50 + [1, 2, 3, 4])
    assert mean_interval(differences, streams, seed=0).mean == pytest.approx(0.2)


def test_of_few_streams_the_kinds_are_resampled() -> None:
    """The sizes of a kind are no evidence of their own."""
    differences = np.array([0.1, 0.3, 0.2, 0.15])
    streams = np.array([0, 0, 0, 1])
    found = of_kinds(differences, streams, ["a", "b", "c", "a"], seed=0)
    assert found.over == "kinds of fault"
    sizes = np.repeat(differences, 3)
    again = of_kinds(sizes, np.repeat(streams, 3), list("aaabbbcccaaa"), seed=0)
    assert again == pytest.approx(found)


def test_one_case_says_nothing() -> None:
    found = mean_interval(np.array([0.9]), np.array([3]), seed=0)
    assert (found.low, found.high, found.over) == (-1.0, 1.0, "")
    assert not found.is_above


@pytest.mark.parametrize("streams", [5, 12])
def test_the_interval_holds_the_mean_as_often_as_it_says(streams: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(400):
        differences = rng.normal(0.03, 0.1, streams)
        found = mean_interval(differences, np.arange(streams), seed)
        held += found.low <= 0.03 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_same_seed_same_interval() -> None:
    differences = np.random.default_rng(2).normal(size=12)
    streams = np.arange(12)
    one = mean_interval(differences, streams, seed=5)
    assert one == mean_interval(differences, streams, seed=5)
    assert one != mean_interval(differences, streams, seed=6)
