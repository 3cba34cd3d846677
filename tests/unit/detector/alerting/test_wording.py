"""Alerts in words: what was observed, and how rare it is."""

from __future__ import annotations

import dataclasses

import pytest

from detector.alerting.wording import observed_in_words, rarity_in_words
from detector.events import (
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Partition,
    Reason,
    Severity,
)
from detector.notify.payload import annotations_of


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
    alert = Alert(
        partition=Partition("m", 0),
        stream="host-1",
        severity=Severity.WARNING,
        reason=Reason.FIRED,
        starts_at=60.0,
        ends_at=None,
        at=60.0,
        score=7.0,
        threshold=6.0,
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
    ended = dataclasses.replace(alert, reason=Reason.ACCEPTED, ends_at=90.0)
    assert "accepted as the new normal" in annotations_of(ended)["summary"]
