"""An incident whose score came down ends as recovered where its metric came back, and as accepted where the expectation followed it."""

from __future__ import annotations

import numpy as np
import pytest

from detector.alerting.decide import Decided, Decisions, fresh
from detector.alerting.stayed import settle
from detector.events import Reason


def settled(rows: Decisions, reason: Reason, x: list[float], expected: list[float], contribution: list[float]) -> Reason:
    decided = Decided(np.zeros(1, np.uint8), np.array([reason], np.uint8), np.zeros(1, np.float32), rows)
    settle(decided, np.zeros(1, np.int64), *(np.array([part], np.float32) for part in (x, expected, contribution)))
    return Reason(decided.reason[0])


@pytest.mark.parametrize(
    ("observed", "expected", "reason"),
    [
        (4.2, 4.0, Reason.RECOVERED),
        (9.8, 9.0, Reason.ACCEPTED),
        (6.5, 6.4, Reason.RECOVERED),
        (7.5, 7.4, Reason.ACCEPTED),
        (float("nan"), 9.0, Reason.RECOVERED),
    ],
)
def test_the_end_says_whether_the_metric_came_back_or_the_expectation_followed_it(observed: float, expected: float, reason: Reason) -> None:
    rows = fresh(1)
    assert settled(rows, Reason.FIRED, [5.0, 10.0], [5.0, 4.0], [0.1, 0.9]) is Reason.FIRED
    assert settled(rows, Reason.RECOVERED, [77.0, observed], [0.0, expected], [0.9, 0.1]) is reason


def test_an_accepted_incident_stays_so_and_another_wave_changes_nothing() -> None:
    rows = fresh(1)
    settled(rows, Reason.FIRED, [10.0], [4.0], [1.0])
    before = rows.copy()
    assert settled(rows, Reason.ACCEPTED, [4.0], [4.0], [1.0]) is Reason.ACCEPTED
    assert settled(rows, Reason.STILL_FIRING, [4.0], [4.0], [1.0]) is Reason.STILL_FIRING
    assert rows.tobytes() == before.tobytes()
