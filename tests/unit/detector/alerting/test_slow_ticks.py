"""Thresholds and quiet times of slow ticks and large budgets, and habits of a day."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from detector.alerting.thresholds import CAUTION, REFERENCE_SHARE, max_gap
from detector.events import Reason
from detector.timestamps import DAY, HOUR, MINUTE
from tests.unit.detector.alerting.test_thresholds import RULES, Walk, bursts, near


def test_no_tick_lowers_a_threshold_under_the_floor() -> None:
    rules = dataclasses.replace(
        RULES, reference_score=np.nan, floor=float(RULES.warning) - 0.5
    )
    slow = Walk(np.zeros(50), rules, tick=HOUR)
    assert slow.thresholds[-1, 0] == pytest.approx(rules.floor)
    # a penalty fills the gap first
    gap = (math.log(60) - CAUTION) * rules.score_scale - 0.5
    penalised = dataclasses.replace(rules, initial_penalty=0.9 * gap)
    found = Walk(np.zeros(50), penalised, tick=HOUR)
    assert found.thresholds[-1, 0] == pytest.approx(rules.floor)


def test_a_slow_tick_lowers_the_threshold_of_a_stream_that_is_quiet() -> None:
    rules = dataclasses.replace(RULES, floor=-np.inf)
    by_points = math.log(60) * rules.score_scale
    cautious = by_points - CAUTION * rules.score_scale
    quiet = Walk(np.full(1500, -5.0), rules, tick=HOUR)
    thresholds = quiet.thresholds[:, 0]
    offset = quiet.rows["stream_offset"][0]
    assert rules.warning - thresholds[1] == pytest.approx(cautious, abs=0.05)
    lowered = rules.warning + offset - thresholds[-1]
    assert lowered == pytest.approx(by_points, abs=0.05)
    # a stream that is louder than the fleet has all of the caution, and no more
    loud = np.random.default_rng(0).exponential(2 * rules.score_scale, 1500)
    found = Walk(rules.reference_score + loud, rules, tick=HOUR)
    offset = found.rows["stream_offset"][0]
    assert offset > 0
    lowest = found.thresholds[-1, 0] - found.rows["alarm_penalty"][0] - offset
    assert rules.warning - lowest <= cautious + 0.05


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


def test_what_comes_at_the_same_time_of_day_is_told_once() -> None:
    rules = dataclasses.replace(RULES, reference_score=np.nan, alarm_penalty=0.0)
    tick = 10 * MINUTE
    day = int(DAY / tick)
    onsets = [day * k + 20 + (k % 3) for k in range(1, 6)]
    slow = dataclasses.replace(rules, tick=tick)
    same_time = Walk(near(onsets, 3, 7 * day), slow, tick)
    assert same_time.count(Reason.FIRED) == 1
    assert same_time.count(Reason.HABITUAL) == 3 * (len(onsets) - 1)
    other_times = [day * k + 20 + 15 * k for k in range(1, 6)]
    found = Walk(near(other_times, 3, 7 * day), slow, tick)
    assert found.count(Reason.FIRED) == len(onsets)


def test_a_far_score_is_no_habit() -> None:
    rules = dataclasses.replace(RULES, reference_score=np.nan, tick=HOUR)
    onsets = [24 * k + 20 for k in range(1, 5)]
    found = Walk(bursts(onsets, 3, 150, height=9.0), rules, HOUR)
    assert found.count(Reason.FIRED) == len(onsets)
