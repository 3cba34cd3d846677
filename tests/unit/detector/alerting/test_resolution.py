"""An incident recovers if its metric came back, and is accepted if it stayed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from detector.alerting.decide import Decisions
from detector.alerting.deviations import are_negligible
from detector.alerting.policy import AlertTuning, candidate_policy
from detector.alerting.resolution import Values, follow_values, record_and_judge
from detector.events import AnomalyKind, Phase, Reason, Severity
from detector.state.decisions import DecisionState, fresh_decisions
from detector.timestamps import HOUR, MINUTE

POLICY = candidate_policy(AlertTuning(), 5.0, np.inf, 0)
FAR_FROM_2 = dataclasses.replace(POLICY, critical_above=4.0)


def judged(
    rows: DecisionState,
    reason: Reason,
    x: list[float],
    expected: list[float],
    contribution: list[float],
    cause: AnomalyKind = AnomalyKind.VALUE,
    before: DecisionState | None = None,
    lasted: float = 6 * HOUR,
) -> Reason:
    parts = (x, expected, contribution)
    if reason is Reason.RECOVERED:
        rows["departed"] = 0.0
        rows["ended"] = lasted
        rows["tick"] = MINUTE
    decided = Decisions(
        np.zeros(1, np.uint8),
        np.array([reason], np.uint8),
        np.zeros(1, np.float32),
        rows,
        np.zeros(1, np.bool_),
    )
    values = Values(*(np.array([part], np.float32) for part in parts))
    before = fresh_decisions(1) if before is None else before
    times = np.zeros(1)
    record_and_judge(decided, before, times, np.zeros(1, np.int64), {0: cause}, values)
    return Reason(decided.reason[0])


@pytest.mark.parametrize(
    ("observed", "expected", "reason"),
    [
        (4.2, 4.0, Reason.RECOVERED),
        (5.9, 5.5, Reason.RECOVERED),
        (8.1, 8.0, Reason.ACCEPTED),
        (6.5, 6.0, Reason.ENDED),  # between the two
        (7.5, 7.4, Reason.ENDED),
        (9.8, 9.9, Reason.ACCEPTED),
        (1.0, -1.5, Reason.ACCEPTED),  # the daily pattern fell, and the metric with it
        (1.0, 3.5, Reason.RECOVERED),
        (float("nan"), 9.0, Reason.ENDED),
    ],
)
def test_the_end_depends_on_where_the_metric_is(
    observed: float, expected: float, reason: Reason
) -> None:
    rows = fresh_decisions(1)
    assert (
        judged(rows, Reason.FIRED, [5.0, 10.0], [5.0, 4.0], [0.1, 0.9]) is Reason.FIRED
    )
    assert (
        judged(rows, Reason.RECOVERED, [77.0, observed], [0.0, expected], [0.9, 0.1])
        is reason
    )


def test_what_ends_within_hours_is_no_new_normal() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    stayed = [10.0], [10.0], [1.0]
    soon = judged(rows, Reason.RECOVERED, *stayed, lasted=HOUR)
    late = judged(rows, Reason.RECOVERED, *stayed, lasted=2 * HOUR)
    assert (soon, late) == (Reason.ENDED, Reason.ACCEPTED)


@pytest.mark.parametrize("kind", [AnomalyKind.FLATLINE, AnomalyKind.TREND])
def test_how_a_flatline_or_a_trend_ended_is_not_told(kind: AnomalyKind) -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0], kind)
    for value in (4.0, 10.0):
        assert judged(rows, Reason.RECOVERED, [value], [value], [1.0]) is Reason.ENDED


def test_one_of_several_leading_metrics_does_not_speak_for_all() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0, 9.0], [4.0, 5.0], [0.55, 0.45])
    back = [4.0, 5.0]
    assert judged(rows, Reason.RECOVERED, back, back, [0.5, 0.5]) is Reason.ENDED


def test_an_incident_that_returned_ends_as_its_last_return_did() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    judged(rows, Reason.RETURNED, [30.0], [20.0], [1.0])
    assert judged(rows, Reason.RECOVERED, [20.0], [20.0], [1.0]) is Reason.RECOVERED


def test_other_reasons_change_nothing() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    before = rows.copy()
    assert judged(rows, Reason.ACCEPTED, [4.0], [4.0], [1.0]) is Reason.ACCEPTED
    assert judged(rows, Reason.STILL_FIRING, [4.0], [4.0], [1.0]) is Reason.STILL_FIRING
    assert rows.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("observed", "reason"),
    [(5.0, Reason.STILL_FIRING), (9.0, Reason.ESCALATED), (-9.0, Reason.ESCALATED)],
)
def test_a_metric_on_its_way_back_never_escalates(
    observed: float, reason: Reason
) -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    rows["severity"] = Severity.CRITICAL
    assert judged(rows, Reason.ESCALATED, [observed], [7.0], [1.0]) is reason
    assert rows["severity"][0] == (
        Severity.CRITICAL if reason is Reason.ESCALATED else Severity.WARNING
    )


def severity_of(x: list[float], expected: list[float], by_score: Severity) -> Severity:
    """Of an incident that fires with this severity by its score."""
    rows = fresh_decisions(1)
    rows["severity"] = by_score
    share = [1 / len(x)] * len(x)
    assert judged(rows, Reason.FIRED, x, expected, share) is Reason.FIRED
    return Severity(int(rows["severity"][0]))


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 2000.0), (30.0, 2000.0), (0.0, 1.0), (0.0, -40.0), (1e-5, 1e-3)],
)
def test_a_total_loss_is_critical_at_once(x: float, expected: float) -> None:
    found = severity_of([x], [expected], Severity.WARNING)
    assert found is Severity.CRITICAL


@pytest.mark.parametrize(("x", "expected"), [(50.0, 2000.0), (0.0, 0.0), (9.0, 0.0)])
def test_what_is_left_makes_the_score_decide(x: float, expected: float) -> None:
    for by_score in (Severity.WARNING, Severity.CRITICAL):
        assert severity_of([x], [expected], by_score) is by_score


@pytest.mark.parametrize(
    ("x", "expected"),
    [(1001.0, 1000.0), (-1001.0, -1000.0), (1.0, 0.0), (1.0, 0.03)],
)
def test_a_slight_deviation_is_never_critical(x: float, expected: float) -> None:
    assert severity_of([x], [expected], Severity.CRITICAL) is Severity.WARNING


def test_one_leading_metric_that_deviates_is_enough_for_critical() -> None:
    found = severity_of([1001.0, 70.0], [1000.0, 50.0], Severity.CRITICAL)
    assert found is Severity.CRITICAL


def test_a_slight_deviation_does_not_escalate() -> None:
    rows = fresh_decisions(1)
    before = rows.copy()
    before["phase"] = Phase.FIRING
    before["severity"] = Severity.WARNING
    judged(rows, Reason.FIRED, [1001.0], [1000.0], [1.0])
    rows["severity"] = Severity.CRITICAL
    given = [1002.0], [1000.0], [1.0]
    found = judged(rows, Reason.ESCALATED, *given, before=before)
    assert found is Reason.STILL_FIRING
    assert rows["severity"].tolist() == [Severity.WARNING]


def test_a_return_that_is_slight_leaves_a_critical_incident_critical() -> None:
    rows = fresh_decisions(1)
    rows["severity"] = Severity.CRITICAL
    before = rows.copy()
    before["phase"] = Phase.FIRING
    judged(rows, Reason.RETURNED, [1001.0], [1000.0], [1.0], before=before)
    assert rows["severity"].tolist() == [Severity.CRITICAL]


def still_firing(
    fired: tuple[float, float], now: tuple[float, float]
) -> tuple[Reason, Severity]:
    """A warning that fired with these observed and expected values goes on."""
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [fired[0]], [fired[1]], [1.0])
    rows["severity"] = Severity.WARNING
    decided = Decisions(
        np.array([Phase.FIRING], np.uint8),
        np.array([Reason.STILL_FIRING], np.uint8),
        np.zeros(1, np.float32),
        rows,
        np.zeros(1, np.bool_),
    )
    values = Values(*(np.array([[part]], np.float32) for part in (*now, 1.0)))
    follow_values(decided, np.zeros(1, np.float32), values, POLICY)
    return Reason(decided.reason[0]), Severity(int(rows["severity"][0]))


def test_a_warning_that_becomes_a_total_loss_escalates() -> None:
    found = still_firing(fired=(600.0, 2000.0), now=(0.0, 1900.0))
    assert found == (Reason.ESCALATED, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("fired", "now"),
    [
        ((600.0, 2000.0), (300.0, 1900.0)),  # something is left
        ((500.0, 0.3), (0.0, 0.3)),  # back from a burst
        ((600.0, 2000.0), (0.0, 90.0)),  # it rests at this hour
        ((600.0, 2000.0), (float("nan"), 1900.0)),
    ],
)
def test_what_is_no_total_loss_does_not_escalate(
    fired: tuple[float, float], now: tuple[float, float]
) -> None:
    assert still_firing(fired, now) == (Reason.STILL_FIRING, Severity.WARNING)


class Outage:
    """An incident that fired as a metric fell from 100 to 10; its score stays high."""

    def __init__(self) -> None:
        self.rows = fresh_decisions(1)
        judged(self.rows, Reason.FIRED, [10.0], [100.0], [1.0])
        self.rows["repeats"] = 1

    def goes_on(
        self, value: float, margin: float = 3.0, expected: float = 100.0
    ) -> Reason:
        decided = Decisions(
            np.array([Phase.FIRING], np.uint8),
            np.array([Reason.STILL_FIRING], np.uint8),
            np.array([5.0], np.float32),
            self.rows,
            np.zeros(1, np.bool_),
        )
        one = np.ones((1, 1), np.float32)
        values = Values(value * one, expected * one, one)
        scores = np.array([5.0 + margin], np.float32)
        follow_values(decided, scores, values, FAR_FROM_2)
        return Reason(decided.reason[0])


def test_a_metric_that_was_back_and_leaves_again_returns_under_a_high_score() -> None:
    outage = Outage()
    values = [10.0] * 5 + [95.0, 105.0] * 3 + [12.0]
    reasons = [outage.goes_on(value) for value in values]
    assert reasons == [Reason.STILL_FIRING] * 11 + [Reason.RETURNED]
    assert outage.rows["repeats"].tolist() == [2]


def test_a_metric_returns_once_its_score_is_far() -> None:
    outage = Outage()
    for _ in range(6):
        assert outage.goes_on(100.0) is Reason.STILL_FIRING
    assert outage.goes_on(10.0, margin=0.5) is Reason.STILL_FIRING
    assert outage.goes_on(10.0, margin=2.5) is Reason.RETURNED


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 5 + [10.0] * 9,  # back for too short
        [100.0] * 9 + [65.0] * 9,  # not half as far away
        [60.0] * 9 + [10.0] * 9,  # it was not back
        [float("nan")] * 9 + [10.0] * 9,
    ],
)
def test_what_did_not_come_back_and_leave_does_not_return(values: list[float]) -> None:
    outage = Outage()
    assert {outage.goes_on(value) for value in values} == {Reason.STILL_FIRING}


def test_a_flatline_does_not_return() -> None:
    outage = Outage()
    judged(outage.rows, Reason.FIRED, [10.0], [100.0], [1.0], AnomalyKind.FLATLINE)
    values = [100.0] * 9 + [10.0] * 9
    assert {outage.goes_on(value) for value in values} == {Reason.STILL_FIRING}


def test_a_metric_that_returned_is_no_new_normal_before_it_stays() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    judged(rows, Reason.RETURNED, [10.0], [4.0], [1.0])
    assert rows["departed"].tolist() == [0.0]
    stayed = [10.0], [10.0], [1.0]
    assert judged(rows, Reason.RECOVERED, *stayed, lasted=HOUR) is Reason.ENDED


def test_a_point_without_any_contribution_is_judged_by_its_values() -> None:
    none = np.zeros((2, 2), np.float32)
    x = np.array([[1000.0, 5.0], [1000.0, 9.0]], np.float32)
    expected = np.array([[1001.0, 5.0], [1001.0, 5.0]], np.float32)
    assert are_negligible(x, expected, none, 0.002).tolist() == [True, False]
    missing = np.full((2, 2), np.nan, np.float32)
    assert are_negligible(missing, expected, none, 0.002).tolist() == [False] * 2


def test_what_was_back_under_a_high_score_recovers_wherever_the_day_took_it() -> None:
    outage = Outage()
    for _ in range(6):
        outage.goes_on(100.0)
    found = judged(outage.rows, Reason.RECOVERED, [30.0], [30.0], [1.0])
    assert found is Reason.RECOVERED


def test_what_is_expected_where_the_incident_found_it_is_not_back() -> None:
    outage = Outage()
    for _ in range(9):
        outage.goes_on(10.0, expected=12.0)
    assert outage.rows["back_streak"].tolist() == [0]
    found = judged(outage.rows, Reason.RECOVERED, [10.0], [10.0], [1.0])
    assert found is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("ticks", "reason"), [(5, Reason.STILL_FIRING), (6, Reason.ESCALATED)]
)
def test_a_first_count_is_critical_once_it_lasts(ticks: int, reason: Reason) -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [1.0], [0.0], [1.0])
    before = rows.copy()
    before["phase"] = Phase.FIRING
    before["tick"] = MINUTE
    before["departed"] = -ticks * MINUTE
    rows["severity"] = Severity.CRITICAL
    given = [1.0], [0.0], [1.0]
    assert judged(rows, Reason.ESCALATED, *given, before=before) is reason


@pytest.mark.parametrize(
    ("observed", "expected", "value", "reason"),
    [
        (8000.0, 2000.0, 0.0, Reason.ESCALATED),  # it crashed after a burst
        (1.0, 0.0005, 0.000003, Reason.STILL_FIRING),  # it is back at next to nothing
    ],
)
def test_what_falls_to_nothing_after_a_burst_escalates(
    observed: float, expected: float, value: float, reason: Reason
) -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [observed], [expected], [1.0])
    assert judged(rows, Reason.ESCALATED, [value], [expected], [1.0]) is reason


def test_the_furthest_point_that_was_told_is_what_an_incident_comes_back_from() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [11.0], [10.0], [1.0])
    judged(rows, Reason.ESCALATED, [50.0], [10.0], [1.0])
    assert (rows["observed"][0], rows["expected"][0]) == (50.0, 10.0)
    judged(rows, Reason.ESCALATED, [45.0], [10.0], [1.0])
    assert rows["observed"][0] == 50.0
