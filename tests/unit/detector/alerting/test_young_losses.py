"""Which losses of young streams go on."""

from __future__ import annotations

import numpy as np
import pytest

from detector.alerting.young_losses import YOUNG, go_on_as_losses
from detector.state.decisions import fresh_decisions

TICK = 60.0
ONSET = 1_000_000.0


def goes_on(
    value: float,
    known: int = 300,
    lasted: int = 60,
    observed: float = 0.0,
    expected: float = 200.0,
) -> bool:
    """Of an incident ``lasted`` points ago, in a stream of ``known`` points before."""
    rows = fresh_decisions(1)
    rows["observed"] = observed
    rows["expected"] = expected
    rows["onset"] = ONSET
    rows["tick"] = TICK
    rows["steps"] = known + lasted
    x = np.array([[value]], np.float32)
    return bool(go_on_as_losses(rows, np.array([ONSET + lasted * TICK]), x)[0])


@pytest.mark.parametrize("value", [0.0, 3.9, -3.9])
def test_a_metric_at_nothing_is_lost(value: float) -> None:
    assert goes_on(value)


@pytest.mark.parametrize("value", [5.0, 100.0, 200.0, float("nan")])
def test_a_metric_that_is_back_or_missing_is_not(value: float) -> None:
    assert not goes_on(value)


def test_the_score_speaks_of_a_stream_that_is_old_enough() -> None:
    assert goes_on(0.0, known=YOUNG - 1)
    assert not goes_on(0.0, known=YOUNG)


def test_it_is_over_once_it_lasted_as_long_as_the_stream_was_known() -> None:
    assert goes_on(0.0, known=300, lasted=299)
    assert not goes_on(0.0, known=300, lasted=300)


def test_the_way_back_from_a_burst_is_no_loss() -> None:
    assert not goes_on(0.0, observed=900.0)


def test_a_flatline_at_nothing_is_lost() -> None:
    assert goes_on(0.0, observed=float("nan"))
