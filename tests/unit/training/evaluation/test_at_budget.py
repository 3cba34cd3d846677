"""What a detector tells at its budget, by the daemon's own decisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.alerting.policy import AlertTuning
from detector.events import F32
from detector.model.tail import TailFit
from training.evaluation.at_budget import AtBudget, HeldOutScores, at_budget
from training.evaluation.cases import Case, Cases
from training.fitting.candidate import tail_fitter
from training.history.history import Series

ROWS = 1400
TICK = 300.0


def case(number: int, kind: str, events: Sequence[tuple[int, int]] = ()) -> Case:
    times = 1.7e9 + TICK * np.arange(ROWS, dtype=np.float64)
    ones = np.ones(1, np.float32)
    values = np.zeros((ROWS, 1), np.float32)
    truth: npt.NDArray[np.bool_] = np.zeros(ROWS, np.bool_)
    for first, last in events:
        truth[first : last + 1] = True
    rows = Series(f"s{number}", times, values, ones, ones, TICK)
    return Case(number, kind, rows, truth, buffer=10)


def noise(seed: int) -> F32:
    scores = np.random.default_rng(seed).exponential(0.3, ROWS)
    return scores.astype(np.float32)


NOTHING = HeldOutScores([], [])
EVENTS = [(300, 309), (900, 909)]
CASES = Cases(
    "faults",
    tuple(
        made
        for number in range(4)
        for made in (case(number, ""), case(number, "spike", EVENTS))
    ),
)


def told(peak: float, budget: float = 1.0, at: int = 302) -> AtBudget:
    """Of a detector that scores ``peak`` in one of the two events of each stream."""
    scores = []
    for number in range(4):
        faulty = noise(number)
        faulty[at : at + 3] = peak
        scores += [noise(number), faulty]
    tuning = AlertTuning(false_alarms_per_week=budget)
    return at_budget(CASES, scores, NOTHING, tail_fitter(tuning, None), tuning)


def test_an_event_far_over_the_threshold_is_told_and_one_under_it_is_not() -> None:
    found = told(peak=30.0)
    assert (found.told_events, found.events) == (4, 8)
    assert found.told == (0.5,) * 4
    assert told(peak=0.5).told_events < 4


def test_false_alarms_are_those_of_the_clean_copies() -> None:
    found = told(peak=30.0, budget=1.0)
    assert found.weeks == 4 * ROWS * TICK / (7 * 86_400)
    assert not found.exceeds
    assert found.false_alarms_per_week <= 2


def test_a_smaller_budget_has_a_higher_threshold() -> None:
    assert told(30.0, budget=0.1).threshold > told(30.0, budget=10.0).threshold


def test_an_incident_that_is_long_over_or_under_way_tells_of_nothing() -> None:
    assert told(peak=30.0, at=250).told_events == 0


def test_a_detector_that_always_fires_tells_of_nothing() -> None:
    always = [np.full(ROWS, 3.0, np.float32)] * len(CASES.cases)

    def low(scores: Sequence[F32], ticks: Sequence[float]) -> TailFit:
        return TailFit((0.0,), (1.0,), -1.0, 1.0)

    assert at_budget(CASES, always, NOTHING, low, AlertTuning()).told_events == 0


def test_a_detector_with_too_many_false_alarms_exceeds_its_budget() -> None:
    def low(scores: Sequence[F32], ticks: Sequence[float]) -> TailFit:
        return TailFit((0.8,), (0.1,), -1.0, 1.0)

    hourly = AlertTuning(min_gap=3600.0)
    scores = [noise(number) for number in range(len(CASES.cases))]
    found = at_budget(CASES, scores, NOTHING, low, hourly)
    assert found.exceeds
    assert found.false_alarms_per_week > 2


def test_labelled_rows_are_what_is_normal_but_for_their_events() -> None:
    labelled = Cases("labels", (case(0, "labelled", EVENTS),))
    scores = noise(0)
    scores[302:305] = 30.0
    tuning = AlertTuning()
    found = at_budget(labelled, [scores], NOTHING, tail_fitter(tuning, None), tuning)
    assert (found.told_events, found.events) == (1, 2)
    assert found.false_alarms <= 2


def test_rows_before_the_cases_calibrate_with_them() -> None:
    calm = [np.full(ROWS, 0.1, np.float32)] * len(CASES.cases)
    restless = HeldOutScores([noise(n) + 3 for n in range(40)], [TICK] * 40)
    tuning = AlertTuning()
    fit_tail = tail_fitter(tuning, None)
    before = at_budget(CASES, calm, NOTHING, fit_tail, tuning)
    after = at_budget(CASES, calm, restless, fit_tail, tuning)
    assert after.threshold > before.threshold + 2
