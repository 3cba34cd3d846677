"""Calibration: thresholds spend the budget, rules matter, and a prior counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F32
from detector.model.tail import TailFit
from training.fitting.calibrate import HeldOut, Prior, calibrate, incidents
from training.fitting.many_metrics_prior import many_metrics_prior

MINUTE = 60.0
WEEK_OF_MINUTES = 10_080


def smoothed_noise(weeks: int, seed: int) -> HeldOut:
    """A stream for each week, a point every minute, smoothed as a score is."""
    rng = np.random.default_rng(seed)
    kernel = np.ones(20) / np.sqrt(20)
    scores: list[F32] = []
    for _ in range(weeks):
        steps = rng.normal(size=WEEK_OF_MINUTES + 20)
        noise = np.convolve(steps, kernel, "valid")[:WEEK_OF_MINUTES]
        scores.append((4 + noise).astype(np.float32))
    return HeldOut(scores, [MINUTE] * weeks)


def test_a_threshold_raises_about_as_many_incidents_as_the_budget() -> None:
    tuning = AlertTuning()
    tail = calibrate(smoothed_noise(6, seed=3), tuning).tail
    budgets = np.array([50.0, 10.0, 2.0])
    thresholds = np.array([tail.threshold(budget) for budget in budgets])
    fresh = smoothed_noise(6, seed=4)
    counts = incidents(fresh, thresholds, tuning, tail)
    realised = counts.sum(axis=0) / fresh.weeks
    assert ((realised / budgets > 0.5) & (realised / budgets < 2)).all()


@pytest.mark.parametrize(
    "changed", [{"breach_steps": 3}, {"clear_steps": 60}, {"min_gap": 0.0}]
)
def test_incidents_are_counted_with_the_rules_that_are_given(
    changed: dict[str, float],
) -> None:
    held_out = smoothed_noise(2, seed=5)
    default = calibrate(held_out, AlertTuning())
    other = calibrate(held_out, replace(AlertTuning(), **changed))  # type: ignore[arg-type]
    np.testing.assert_array_equal(other.thresholds, default.thresholds)
    assert (other.counts != default.counts).any()
    assert other.tail != default.tail


def test_more_steps_over_the_threshold_make_fewer_incidents() -> None:
    held_out = smoothed_noise(2, seed=5)
    thresholds = np.array([6.0])
    at_once = incidents(held_out, thresholds, AlertTuning())
    patient = incidents(held_out, thresholds, AlertTuning(breach_steps=10))
    assert 0 < patient.sum() < at_once.sum()


def test_a_short_history_keeps_to_the_prior_and_a_long_one_does_not() -> None:
    known = TailFit(
        thresholds=(6.0, 8.0), rates=(10.0, 1.0), slope=-1.15, stream_weeks=100.0
    )

    def threshold(points: int) -> float:
        """At one a week, of a fleet whose scores are far lower."""
        scores = [
            np.random.default_rng(k).exponential(0.3, points).astype(np.float32)
            for k in range(4)
        ]
        held_out = HeldOut(scores, [300.0] * 4)
        tail = calibrate(held_out, AlertTuning(), prior=Prior(known, 300.0)).tail
        assert tail.stream_weeks == pytest.approx(4 * points / 2016)
        return tail.threshold(1.0)

    short = threshold(200)
    assert known.threshold(1.0) - 1.0 < short <= known.threshold(1.0)
    assert threshold(8_000) < short - 0.5


def test_a_few_hundred_points_of_many_metrics_move_no_threshold_far() -> None:
    prior = many_metrics_prior(MINUTE)
    known = prior.tail.threshold(1.0)
    rng = np.random.default_rng(8)

    def threshold(points: int, scale: float) -> float:
        noise = rng.exponential(scale, size=points).astype(np.float32)
        held_out = HeldOut([noise], [MINUTE])
        return calibrate(held_out, AlertTuning(), prior=prior).tail.threshold(1.0)

    short = np.array([threshold(200, scale) for scale in (0.2, 0.4, 0.4, 0.6)])
    assert np.abs(short - known).max() < 1.0
    assert threshold(4_000, 1.2) > known + 1.0
