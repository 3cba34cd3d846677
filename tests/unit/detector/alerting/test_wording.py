"""Alerts in words: what was observed, and how rare it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.alerting.incident_rates import FleetRates, IncidentRates, fleet_rates
from detector.alerting.wording import (
    fleet_in_words,
    how_rare,
    observed_in_words,
    rarity_in_words,
    rate_in_words,
)
from detector.events import (
    AnomalyKind,
    FeatureDeviation,
    Rarity,
    RateBound,
    Reason,
)
from detector.notify.payload import annotations_of
from tests.unit.detector.notify.alerts import fired


@pytest.mark.parametrize(
    ("per_week", "words"),
    [
        (1000.0, "more than once an hour"),
        (168.0, "once an hour"),
        (28.0, "once in 6 hours"),
        (7.0, "once a day"),
        (1.0, "once a week"),
        (1 / 3, "once in 3 weeks"),
        (7 / 30.4 / 6, "once in 6 months"),
        (7 / 365.25, "once a year"),
        (1e-3, "less than once in 10 years"),
        (0.0, "less than once in 10 years"),
    ],
)
def test_rarity_is_in_spans_that_people_use(per_week: float, words: str) -> None:
    assert rarity_in_words(per_week) == words


@pytest.mark.parametrize(
    ("rarity", "words"),
    [
        (Rarity(1 / 3), "about once in 3 weeks on this stream"),
        (Rarity(1 / 3, RateBound.AT_MOST), "rarer than its history can tell"),
        (Rarity(7.0, RateBound.AT_LEAST), "once a day on this stream, or more often"),
        (Rarity(1000.0), "more than once an hour"),
    ],
)
def test_no_more_is_said_than_history_can_tell(rarity: Rarity, words: str) -> None:
    assert how_rare(rarity) == words


@pytest.mark.parametrize(
    ("per_week", "words"),
    [
        (100_000.0, "about 14,000 alerts a day"),
        (240.0, "about 34 alerts a day"),
        (24.0, "about 3.4 alerts a day"),
        (7.0, "about 1 alert a day"),
        (6.0, "about 6 alerts a week"),
        (0.5, "about 2.2 alerts a month"),
        (7 / 365.25, "about 1 alert a year"),
        (0.01, "less than one alert a year"),
    ],
)
def test_a_rate_is_in_the_shortest_span_with_at_least_one(
    per_week: float, words: str
) -> None:
    assert rate_in_words(per_week, "alert") == words


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        (
            FleetRates(240, 240.0, 84.0),
            "240 streams: at most about 34 false alarms a day at this budget;"
            " this data: about 12 incidents a day, true and false",
        ),
        (
            FleetRates(1, 1.0, 0.0),
            "1 stream: at most about 1 false alarm a week at this budget;"
            " this data: no incident",
        ),
        (
            FleetRates(2000, 0.002, None),
            "2,000 streams: less than one false alarm a year at this budget;"
            " this data: no rate yet, since no stream has a day of points",
        ),
        (FleetRates(0, 0.0, None), "no streams yet"),
    ],
)
def test_a_budget_is_worded_for_all_streams_beside_what_they_raised(
    fleet: FleetRates, words: str
) -> None:
    assert fleet_in_words(fleet, "this data") == words


def test_the_fleet_raises_the_mean_rate_of_its_streams_times_their_number() -> None:
    rates = IncidentRates(streams=2, mean=1.5, shares={})
    assert fleet_rates(3, 0.5, rates) == FleetRates(3, 1.5, 4.5)
    none_yet = IncidentRates(streams=0, mean=0.0, shares={})
    assert fleet_rates(3, 0.5, none_yet).incidents_per_week is None


def test_large_values_have_the_digits_that_tell_them_apart() -> None:
    large = FeatureDeviation("bytes", "", 2_000_000_640.0, 2_000_000_000.0, 1.0)
    assert observed_in_words([large]) == "bytes 2.00000064e+09 (expected 2e+09)"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            AnomalyKind.FLATLINE,
            "cpu has not changed for longer than it used to, at 3.2 % (expected 3.3 %)",
        ),
        (
            AnomalyKind.TREND,
            "cpu 3.2 % (expected 3.3 %, which would be as anomalous:"
            " its recent trend is what stands out)",
        ),
    ],
)
def test_a_flatline_and_a_trend_have_words_of_their_own(
    kind: AnomalyKind, words: str
) -> None:
    cpu = FeatureDeviation("cpu", "%", 3.2, 3.3, 1.0, kind)
    assert observed_in_words([cpu]) == words


def test_an_alert_says_what_was_observed_how_rare_and_how_sure() -> None:
    alert = replace(
        fired("host-1"),
        deviations=(
            FeatureDeviation("cpu", "%", 93.0, 41.0, 0.8),
            FeatureDeviation("disk", "", 1.5, 1.2, 0.2),
            FeatureDeviation("mem", "", 1.0, 1.0, 0.0),
        ),
        confidence=0.25,
        per_week=0.05,
    )
    texts = annotations_of(alert)
    assert texts["description"] == (
        "cpu 93 % (expected 41 %), disk 1.5 (expected 1.2)."
        " Score 7.00, threshold 6.00: about once in 5 months on this stream."
        " The stream is new: confidence 25%."
    )
    assert texts["confidence"] == "0.25"
    assert texts["rate_per_week"] == "0.05"
    at_most = replace(alert, rate_bound=RateBound.AT_MOST)
    assert annotations_of(at_most)["rate_per_week"] == "<0.05"
    ended = replace(alert, reason=Reason.ACCEPTED, ends_at=90.0)
    assert "accepted as the new normal" in annotations_of(ended)["summary"]
