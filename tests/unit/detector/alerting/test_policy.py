"""From the operator's numbers and a tail fit to the policy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detector.alerting.policy import (
    CRITICAL_SHARE,
    AlertTuning,
    alert_policy,
    candidate_policy,
    fleet_thresholds,
)
from detector.alerting.thresholds import effective_budget
from detector.settings.alerting import AlertingSettings
from tests.fakes import TAIL

TUNING = AlertTuning(false_alarms_per_week=2, hysteresis=0.25)


def test_the_fleets_thresholds_follow_from_the_budget() -> None:
    found = fleet_thresholds(TUNING, TAIL)
    budget = effective_budget(2)
    assert found.warning == TAIL.threshold(budget)
    assert found.critical == TAIL.threshold(CRITICAL_SHARE * budget)
    assert found.clear == found.warning - 0.25


def test_a_policy_without_a_reference_score_learns_no_offset() -> None:
    assert TAIL.reference_score is None
    policy = alert_policy(TUNING, TAIL, 60.0, warm_up=5)
    assert math.isnan(policy.reference_score)
    assert (policy.tick, policy.warm_up) == (60.0, 5)


def test_a_candidate_policy_has_neither_penalty_nor_critical_alerts() -> None:
    thresholds = np.array([1.0, 2.0])
    policy = candidate_policy(TUNING, thresholds, np.inf, warm_up=0)
    assert policy.warning is thresholds
    assert policy.alarm_penalty == policy.initial_penalty == 0.0
    assert policy.critical_above == math.inf


def test_the_settings_have_the_defaults_of_the_tuning() -> None:
    assert AlertingSettings().tuning() == AlertTuning()
    assert AlertingSettings().tuning(240) == AlertTuning()


def test_hours_in_the_settings_are_seconds_in_the_tuning() -> None:
    settings = AlertingSettings(min_hours_between_incidents=3, max_incident_hours=5)
    tuning = settings.tuning()
    assert tuning.min_gap == pytest.approx(3 * 3600)
    assert tuning.max_incident == pytest.approx(5 * 3600)
