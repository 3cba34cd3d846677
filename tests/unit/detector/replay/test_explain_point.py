"""One point in words: what was observed, how rare it is, and why it did or did not
alert.
"""

from __future__ import annotations

import dataclasses

import pytest

from detector.alerting.policy import AlertTuning, alert_policy
from detector.events import FeatureDeviation, Phase, Rarity, Reason
from detector.replay.explain_point import Point, explained
from detector.state.decisions import fresh_decisions
from tests.fakes import TAIL

POLICY = alert_policy(AlertTuning(breach_steps=2), TAIL, 60.0, warm_up=120)
OBSERVED = (
    FeatureDeviation("cpu", "%", 93.0, 41.0, 0.8),
    FeatureDeviation("disk", "", 1.5, 1.2, 0.2),
    FeatureDeviation("mem", "", 1.0, 1.0, 0.0),
)


def point(reason: Reason = Reason.BELOW_THRESHOLD, **row: float) -> Point:
    """A score of 2 under a threshold of 3, and these fields of the decision row."""
    decision = fresh_decisions(1)[0]
    for name, value in row.items():
        decision[name] = value
    return Point(
        stream="host-1",
        at=1.7e9,
        score=2.0,
        threshold=3.0,
        reason=reason,
        row=decision,
        rarity=Rarity(1 / 3),
        deviations=OBSERVED,
    )


def test_it_says_what_was_observed_and_how_rare_that_is() -> None:
    text = explained(point(), POLICY)
    assert "cpu 93 % (expected 41 %), disk 1.5 (expected 1.2)" in text
    assert "mem" not in text
    assert "about once in 3 weeks on this stream" in text
    assert "cpu 80%, disk 20%" in text


@pytest.mark.parametrize(
    ("seconds", "ending"),
    [
        (2700.0, "(expected 1.2); cpu has had this value for 45 min."),
        (540.0, "(expected 1.2)."),
    ],
)
def test_a_value_that_is_unchanged_for_ten_ticks_is_mentioned(
    seconds: float, ending: str
) -> None:
    unchanged = dataclasses.replace(point(tick=60.0), unchanged_for=seconds)
    assert explained(unchanged, POLICY).splitlines()[0].endswith(ending)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.WARMING, "has had 7 of the 120 points of its warm-up"),
        (Reason.BELOW_THRESHOLD, "the score is 1.00 below the threshold"),
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
def test_it_says_why(reason: Reason, words: str) -> None:
    row = {"steps": 7, "breach_streak": 1, "ended": 1_699_999_200, "onset": 1.7e9}
    fires = reason is Reason.FIRED
    phase = Phase.FIRING if fires else Phase.OK
    text = explained(point(reason, **row, phase=phase), POLICY)
    assert words in text
    assert ("It fires" in text) == fires


def test_every_reason_has_its_words() -> None:
    verdicts = [explained(point(reason), POLICY).splitlines()[-1] for reason in Reason]
    assert len(set(verdicts)) == len(Reason) - 1  # fired and still firing share theirs


def test_it_says_what_the_threshold_is_made_of() -> None:
    above_plateau = dataclasses.replace(
        point(stream_offset=-0.25, alarm_penalty=0.5, plateau=6.0, tick=60.0),
        threshold=6.0,
    )
    text = explained(above_plateau, POLICY)
    assert (
        "Threshold 6.00: 3.00 for the fleet and the budget,"
        " -0.25 from this stream's own past,"
        " +0.50 for recent incidents or being new" in text
    )
    assert "raised above the incident that is no longer reported" in text
