"""Thresholds and quiet times of streams with a slow tick, and of large budgets."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from detector.alerting.thresholds import REFERENCE_SHARE, max_gap
from detector.events import Reason
from detector.timestamps import HOUR
from tests.unit.detector.alerting.test_thresholds import RULES, Walk, near


def test_no_tick_lowers_a_threshold_under_the_floor() -> None:
    rules = dataclasses.replace(
        RULES, reference_score=np.nan, floor=float(RULES.warning) - 0.5
    )
    slow = Walk(np.zeros(50), rules, tick=HOUR)
    assert slow.thresholds[-1, 0] == pytest.approx(rules.floor)
    # a penalty fills the gap first
    gap = math.log(60) * rules.score_scale - 0.5
    penalised = dataclasses.replace(rules, initial_penalty=0.9 * gap)
    found = Walk(np.zeros(50), penalised, tick=HOUR)
    assert found.thresholds[-1, 0] == pytest.approx(rules.floor)


def test_quiet_times_are_no_longer_than_the_budget_allows() -> None:
    rules = dataclasses.replace(RULES, tick=HOUR)
    scores = near([10, 23], 3, 60)
    assert Walk(scores, rules, HOUR).count(Reason.FIRED) == 1
    often = dataclasses.replace(rules, max_gap=max_gap(10.0))
    found = Walk(scores, often, HOUR)
    assert found.count(Reason.FIRED) == 2
    recovered = np.flatnonzero(found.reasons == Reason.RECOVERED)
    assert recovered.tolist() == [12 + 5, 25 + 5]


def test_incidents_within_the_budget_do_not_flap() -> None:
    rules = dataclasses.replace(
        RULES,
        reference_score=np.nan,
        tick=HOUR,
        max_gap=max_gap(10.0),
        alarm_penalty=0.0,
    )
    onsets = list(range(10, 150, 20))
    found = Walk(near(onsets, 3, 170), rules, HOUR)
    assert found.count(Reason.FIRED) == len(onsets)


def test_the_offset_does_not_follow_from_the_budget() -> None:
    rng = np.random.default_rng(0)
    scale = RULES.score_scale
    scores = rng.exponential(scale, (12_000, 3))
    reference = scale * np.log(1 / REFERENCE_SHARE)
    offsets = []
    for over in (0.0, 2.0, 4.0):
        rules = dataclasses.replace(
            RULES, warning=reference + over * scale, reference_score=reference
        )
        offsets.append(Walk(scores, rules).rows["stream_offset"])
    assert np.abs(offsets).max() < 0.3
    assert np.ptp(offsets, axis=0).max() < 0.1
