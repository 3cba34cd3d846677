"""Areas under precision-recall curves: hand-worked cases, and the volume written out
point by point.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from training.evaluation.metrics import (
    DEFAULT_BUFFER,
    THRESHOLDS,
    average_precision,
    buffer_length,
    vus_pr,
)
from training.history.labels import runs


def truth(*bits: int) -> npt.NDArray[np.bool_]:
    return np.array(bits, bool)


def volume(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], longest: int
) -> float:
    """The definition, one buffer, threshold and point at a time."""
    n, firsts, lasts = len(scores), *runs(labels)
    events = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
    ordered = sorted(scores.tolist(), reverse=True)
    areas = []
    for width in range(longest + 1):
        half = width // 2
        soft = labels.astype(float)
        for first, last in events:
            for d in range(1, half + 1):
                for i in (first - d, last + d):
                    if 0 <= i < n and not labels[i]:
                        soft[i] = min(1.0, soft[i] + math.sqrt(1 - d / width))
        wide: list[tuple[int, int]] = []
        for first, last in events:
            if wide and wide[-1][1] >= first - half:
                wide[-1] = (wide[-1][0], last + half)
            else:
                wide.append((first - half, last + half))
        area = 0.0
        before = 0.0
        for rank in np.linspace(0, n - 1, THRESHOLDS).astype(int):
            alerted = scores >= ordered[rank]
            found = float(soft[alerted].sum())
            positives = labels.sum() + float(soft[alerted & ~labels].sum()) / 2
            share = float(np.mean([alerted[max(0, a) : b + 1].any() for a, b in wide]))
            recall = min(1.0, found / positives) * share
            area += (recall - before) * found / alerted.sum()
            before = recall
        areas.append(area)
    return float(np.mean(areas))


def test_average_precision_of_a_hand_worked_ranking() -> None:
    # hits at ranks 1 and 3: (1/1 + 2/3) / 2
    assert average_precision(
        np.array([0.9, 0.8, 0.7, 0.1]), truth(1, 0, 1, 0)
    ) == pytest.approx((1 + 2 / 3) / 2)


def test_points_of_equal_score_are_taken_together() -> None:
    scores = np.array([1.0, 1.0, 1.0, 1.0])
    for labels in (truth(1, 0, 0, 0), truth(0, 0, 0, 1)):
        assert average_precision(scores, labels) == pytest.approx(0.25)


def test_a_perfect_ranking_is_one_and_no_anomaly_is_nan() -> None:
    labels = truth(0, 1, 1, 0, 0)
    assert average_precision(labels.astype(float), labels) == 1
    assert math.isnan(average_precision(np.ones(3), truth(0, 0, 0)))
    assert math.isnan(vus_pr(np.ones(3), truth(0, 0, 0), 10))


@pytest.mark.parametrize("seed", range(12))
def test_the_volume_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 90))
    scores = rng.normal(size=n).round(int(rng.integers(0, 4)))
    labels = np.zeros(n, bool)
    for start in rng.integers(0, n, 3):
        labels[start : start + int(rng.integers(1, 12))] = True
    longest = int(rng.integers(0, 25))
    assert vus_pr(scores, labels, longest) == pytest.approx(
        volume(scores, labels, longest), abs=1e-12
    )


def test_a_near_miss_counts_in_the_volume_and_not_in_the_average_precision() -> None:
    labels = np.zeros(300, bool)
    near = np.zeros(300)
    far = np.zeros(300)
    labels[100:110] = True
    near[95:105] = far[200:210] = 1
    assert average_precision(near, labels) < 0.6
    assert (
        vus_pr(near, labels, 40)
        > average_precision(near, labels)
        > vus_pr(far, labels, 40)
    )


def test_the_buffer_is_the_period_and_a_default_without_one() -> None:
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(2000) / 48) + 0.1 * rng.normal(size=2000)
    flat = np.ones(2000)
    values = np.stack([flat, wave], axis=1).astype(np.float32)
    assert abs(buffer_length(values) - 48) <= 4
    values[::7, 1] = np.nan
    assert abs(buffer_length(values) - 48) <= 4
    assert buffer_length(flat[:, None].astype(np.float32)) == DEFAULT_BUFFER
