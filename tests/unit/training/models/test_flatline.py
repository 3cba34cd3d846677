"""How surprising it is that a metric stands still: by what it did before, and a
constant never.
"""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
import torch

from detector.events import F32
from training.models.flatline import FADES, flatline_surprise


def surprises(values: list[float]) -> F32:
    """After each value, of one metric."""
    last, run, longest, runs = (torch.zeros(1) for _ in range(4))
    found = []
    for value in values:
        x = torch.tensor([value])
        surprise, run, longest, runs = flatline_surprise(x, last, run, longest, runs)
        last = x
        found.append(float(surprise))
    return np.array(found, np.float32)


def plain(values: list[float]) -> float:
    """After the last value, from the whole series at once, without fading."""
    lengths = [len(list(same)) - 1 for _, same in groupby(values)]
    further = max(0, lengths[-1] - max(lengths[:-1])) / (max(lengths[:-1]) + 30)
    return 1.5 * math.log10(len(lengths) + 1) * min(1.0, further / 2)


@pytest.mark.parametrize(("distinct", "frozen"), [(1000, 60), (6, 200), (2, 500)])
def test_the_surprise_equals_the_plain_writing(distinct: int, frozen: int) -> None:
    values = (
        np.random.default_rng(distinct)
        .integers(1, distinct + 1, 400)
        .astype(float)
        .tolist()
    )
    values += [0.5] * frozen
    assert surprises(values)[-1] == pytest.approx(plain(values), rel=0.02)
    assert FADES * len(values) < 0.02


def test_a_longer_run_is_more_surprising_and_a_constant_not_at_all() -> None:
    moving = np.random.default_rng(1).normal(size=300).tolist()
    found = surprises(moving + [7.0] * 200)
    assert (found[:300] == 0).all()
    assert (np.diff(found[301:]) >= 0).all()
    assert found[-1] > 3
    assert (surprises([7.0] * 5000) < 0.5).all()


def test_a_metric_that_often_rests_is_not_a_flatline() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate(
        [
            np.append(np.zeros(rng.integers(20, 60)), rng.normal(size=20))
            for _ in range(40)
        ]
    )
    assert surprises([*values.tolist(), *[0.0] * 70])[2000:].max() < 1
