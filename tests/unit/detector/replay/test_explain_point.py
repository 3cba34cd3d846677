"""A point in sentences: seen against expected, how rare, and why it fired or did not."""

from __future__ import annotations

import dataclasses

import pytest

from detector.alerting.policy import AlertTuning, alert_policy
from detector.alerting.wording import observed_in_words, rarity_in_words
from detector.events import (
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Partition,
    Phase,
    Reason,
    Severity,
)
from detector.notify.payload import annotations_of
from detector.replay.explain_point import Point, explained
from detector.state.decisions import fresh_decisions
from tests.fakes import TAIL

RULES = alert_policy(AlertTuning(breach_steps=2), TAIL, 60.0, warm_up=120)
SEEN = (
    FeatureDeviation("cpu", "%", 93.0, 41.0, 0.8),
    FeatureDeviation("disk", "", 1.5, 1.2, 0.2),
    FeatureDeviation("mem", "", 1.0, 1.0, 0.0),
)
ROW = fresh_decisions(1)[0]


def point(reason: Reason, score: float = 2.0, level: float = 3.0) -> Point:
    return Point("host-1", 1.7e9, score, level, reason, ROW, 1 / 3, SEEN)


@pytest.mark.parametrize(
    ("per_week", "said"),
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
def test_rarity_is_said_in_spans_that_people_use(per_week: float, said: str) -> None:
    assert rarity_in_words(per_week) == said


def test_large_values_are_told_in_as_many_digits_as_it_takes_to_tell_them_apart() -> (
    None
):
    large = FeatureDeviation("bytes", "", 2_000_000_640.0, 2_000_000_000.0, 1.0)
    assert observed_in_words([large]) == "bytes 2.00000064e+09 (expected 2e+09)"


def test_what_stands_still_is_told_and_for_how_long() -> None:
    frozen = FeatureDeviation("cpu", "%", 3.2, 3.3, 1.0, AnomalyKind.FLATLINE)
    assert (
        observed_in_words([frozen])
        == "cpu has not changed for longer than it used to, at 3.2 % (expected 3.3 %)"
    )
    row = ROW.copy()
    row["tick"] = 60.0
    for stood, said in (
        (
            2700.0,
            "(expected 41 %), disk 1.5 (expected 1.2); cpu has stood at this value for 45 min.",
        ),
        (540.0, "(expected 1.2)."),
    ):
        assert said in explained(
            dataclasses.replace(point(Reason.BELOW_THRESHOLD), row=row, stood=stood),
            RULES,
        )


def test_an_odd_course_is_told_beside_a_value_that_is_not() -> None:
    wavy = FeatureDeviation("cpu", "%", 3.2, 3.3, 1.0, AnomalyKind.TREND)
    assert (
        observed_in_words([wavy])
        == "cpu 3.2 % (expected 3.3 %, which would be as anomalous: "
        "its recent trend is what stands out)"
    )


def test_it_says_what_was_seen_expected_and_how_rare_that_is() -> None:
    text = explained(point(Reason.BELOW_THRESHOLD), RULES)
    assert "cpu 93 % (expected 41 %), disk 1.5 (expected 1.2)" in text
    assert "mem" not in text
    assert "about once in 3 weeks on this stream" in text
    assert "cpu 80%, disk 20%" in text


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason.WARMING, "has had 7 of the 120 points"),
        (Reason.BELOW_THRESHOLD, "1.00 under the level"),
        (Reason.UNCONFIRMED, "for 1 of the 2 points"),
        (
            Reason.COOLDOWN,
            "too soon after the incident that ended at 2023-11-14T22:00:00Z",
        ),
        (Reason.FIRED, "began at 2023-11-14T22:13:20Z"),
        (Reason.ACCEPTED, "accepted as the new normal"),
        (Reason.RECOVERED, "is over"),
    ],
)
def test_it_says_why(reason: Reason, said: str) -> None:
    row = ROW.copy()
    row["steps"] = 7
    row["breach_streak"] = 1
    row["ended"] = 1_699_999_200
    row["onset"] = 1.7e9
    row["phase"] = Phase.FIRING if reason is Reason.FIRED else Phase.OK
    text = explained(dataclasses.replace(point(reason), row=row), RULES)
    assert said in text
    assert ("It fires" in text) == (reason is Reason.FIRED)


def test_every_reason_has_its_words() -> None:
    # fired and still firing are told alike
    assert (
        len({explained(point(reason), RULES).splitlines()[-1] for reason in Reason})
        == len(Reason) - 1
    )


def test_it_says_what_the_level_is_made_of() -> None:
    row = ROW.copy()
    row["stream_offset"] = -0.25
    row["alarm_penalty"] = 0.5
    row["plateau"] = 6.0
    row["tick"] = 60.0
    text = explained(
        dataclasses.replace(point(Reason.BELOW_THRESHOLD, level=6.0), row=row), RULES
    )
    assert (
        "3.00 for the fleet and the budget, -0.25 from this stream's own past, +0.50 for recent incidents or being new"
        in text
    )
    assert "raised to stand above the state accepted as the new normal" in text


def test_an_alert_bears_the_sentence_its_rarity_and_how_well_the_stream_is_known() -> (
    None
):
    alert = Alert(
        Partition("m", 0),
        "host-1",
        Severity.WARNING,
        Reason.FIRED,
        60.0,
        None,
        60.0,
        7.0,
        6.0,
        SEEN,
        0.25,
        0.05,
    )
    texts = annotations_of(alert)
    assert texts["description"] == (
        "cpu 93 % (expected 41 %), disk 1.5 (expected 1.2). Score 7.00, threshold 6.00: about once in 5 months on this stream. "
        "The stream is new: confidence 25%."
    )
    assert (texts["confidence"], texts["rate_per_week"]) == ("0.25", "0.05")
    assert (
        "accepted as the new normal"
        in annotations_of(
            dataclasses.replace(alert, reason=Reason.ACCEPTED, ends_at=90.0)
        )["summary"]
    )
