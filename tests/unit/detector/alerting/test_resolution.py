"""An incident recovers if its metric came back, and is accepted if it stayed."""

from __future__ import annotations

import numpy as np
import pytest

from detector.alerting.decide import Decisions
from detector.alerting.resolution import record_and_judge
from detector.events import AnomalyKind, Reason, Severity
from detector.state.decisions import DecisionState, fresh_decisions


def judged(
    rows: DecisionState,
    reason: Reason,
    x: list[float],
    expected: list[float],
    contribution: list[float],
    cause: AnomalyKind = AnomalyKind.VALUE,
) -> Reason:
    decided = Decisions(
        np.zeros(1, np.uint8),
        np.array([reason], np.uint8),
        np.zeros(1, np.float32),
        rows,
    )
    record_and_judge(
        decided,
        np.zeros(1, np.int64),
        {0: cause},
        *(np.array([part], np.float32) for part in (x, expected, contribution)),
    )
    return Reason(decided.reason[0])


@pytest.mark.parametrize(
    ("observed", "expected", "reason"),
    [
        (4.2, 4.0, Reason.RECOVERED),
        (6.5, 6.0, Reason.RECOVERED),
        (7.5, 7.4, Reason.ACCEPTED),
        (9.8, 9.9, Reason.ACCEPTED),
        (1.0, -1.5, Reason.ACCEPTED),  # the daily pattern fell, and the metric with it
        (1.0, 3.5, Reason.RECOVERED),
        (float("nan"), 9.0, Reason.RECOVERED),
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


def test_a_flatline_recovers_wherever_it_is() -> None:
    rows = fresh_decisions(1)
    judged(rows, Reason.FIRED, [10.0], [4.0], [1.0], AnomalyKind.FLATLINE)
    assert judged(rows, Reason.RECOVERED, [10.0], [10.0], [1.0]) is Reason.RECOVERED


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
