"""From ok to pending to firing and back, with a reason each time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerting.decide import decide
from detector.alerting.policy import AlertPolicy
from detector.events import Phase, Reason, Severity
from detector.state.decisions import DecisionState, fresh_decisions

RULES = AlertPolicy(
    warning=5.0,
    critical_above=3.0,
    hysteresis=1.0,
    breach_steps=2,
    clear_steps=2,
    cooldown_ticks=3,
    warm_up=2,
)


def walk(
    scores: list[float], rules: AlertPolicy = RULES, tick: float = 10.0
) -> tuple[list[Phase], list[Reason], list[Severity]]:
    rows = fresh_decisions(1)
    phases = []
    reasons = []
    severities = []
    for t, score in enumerate(scores):
        decided = decide(
            rows,
            np.array([t * tick]),
            np.array([tick]),
            np.array([score], np.float32),
            rules,
        )
        rows = decided.rows
        phases.append(Phase(decided.phase[0]))
        reasons.append(Reason(decided.reason[0]))
        severities.append(Severity(int(rows["severity"][0])))
    return phases, reasons, severities


def stepped(scores: list[float], tick: float = 10.0) -> DecisionState:
    """The decision row after these scores, DECISION [1]."""
    rows = fresh_decisions(1)
    for t, score in enumerate(scores):
        since = np.array([tick])
        given = np.array([score], np.float32)
        rows = decide(rows, since * t, since, given, RULES).rows
    return rows


def test_a_warming_stream_never_fires() -> None:
    phases, reasons, _ = walk([9, 9, 1])
    assert phases == [Phase.WARMING, Phase.WARMING, Phase.OK]
    assert reasons[0] is Reason.WARMING


def test_it_fires_after_enough_breaches_in_a_row() -> None:
    phases, reasons, severities = walk([0, 0, 6, 1, 6, 6, 6])
    assert phases[2:] == [
        Phase.PENDING,
        Phase.OK,
        Phase.PENDING,
        Phase.FIRING,
        Phase.FIRING,
    ]
    assert reasons[2:] == [
        Reason.UNCONFIRMED,
        Reason.BELOW_THRESHOLD,
        Reason.UNCONFIRMED,
        Reason.FIRED,
        Reason.STILL_FIRING,
    ]
    assert severities[-1] is Severity.WARNING


def test_an_incident_starts_at_its_first_breach() -> None:
    rows = fresh_decisions(1)
    for t, score in enumerate([0, 0, 0, 6, 6, 6]):
        rows = decide(
            rows,
            np.array([t * 10.0]),
            np.array([10.0]),
            np.array([score], np.float32),
            RULES,
        ).rows
    assert rows["onset"].tolist() == [30.0]


def test_a_score_between_both_thresholds_keeps_firing() -> None:
    phases, reasons, _ = walk([0, 0, 6, 6, 4.5, 4.5, 4.5])
    assert phases[-1] is Phase.FIRING
    assert reasons[-1] is Reason.STILL_FIRING


def test_it_recovers_after_enough_clear_points_in_a_row() -> None:
    phases, reasons, severities = walk([0, 0, 6, 6, 1, 5, *[1] * 6])
    assert reasons[4:] == [
        Reason.CLEARING,
        Reason.STILL_FIRING,
        *[Reason.CLEARING] * 5,
        Reason.RECOVERED,
    ]
    assert (phases[-1], severities[-1]) == (Phase.OK, Severity.NONE)


def test_the_number_of_clear_points_is_a_setting() -> None:
    rules = dataclasses.replace(RULES, clear_steps=9)
    _, reasons, _ = walk([0, 0, 6, 6, *[1] * 9], rules)
    assert reasons[-2:] == [Reason.CLEARING, Reason.RECOVERED]


def test_no_new_incident_begins_in_the_cooldown() -> None:
    _, reasons, _ = walk([0, 0, 6.4, 6.4, *[1] * 6, 6, 6, 6, 6])
    assert reasons[10:] == [
        Reason.COOLDOWN,
        Reason.COOLDOWN,
        Reason.FIRED,
        Reason.STILL_FIRING,
    ]


def test_an_incident_escalates_once_and_never_de_escalates() -> None:
    _, reasons, severities = walk([0, 0, 6, 6, 9, 9, 9, 6])
    assert reasons.count(Reason.ESCALATED) == 1
    assert severities[-1] is Severity.CRITICAL


def test_a_breach_that_begins_critical_fires_critical() -> None:
    _, reasons, severities = walk([0, 0, 9, 9])
    assert (reasons[-1], severities[-1]) == (Reason.FIRED, Severity.CRITICAL)


CALM = [0.0] * 6
OUTAGE = [7.5] * 4  # far over the threshold, and not critical


def test_the_fourth_incident_in_a_row_stays_open_and_counts_returns() -> None:
    _, reasons, _ = walk([0, 0] + (OUTAGE + CALM) * 6)
    told = [r for r in reasons if r in (Reason.FIRED, Reason.RETURNED)]
    assert told == [Reason.FIRED] * 4 + [Reason.RETURNED] * 2
    assert reasons.count(Reason.RECOVERED) == 3


def test_a_stream_that_flaps_ends_after_an_hour_of_calm() -> None:
    _, reasons, _ = walk([0, 0] + (OUTAGE + CALM) * 5 + [0.0] * 60)
    ended = [i for i, reason in enumerate(reasons) if reason is Reason.RECOVERED]
    last_above = 2 + 5 * len(OUTAGE + CALM) - len(CALM) - 1
    assert ended[-1] == last_above + 60


def test_repeats_are_counted_from_the_first_of_them() -> None:
    rows = stepped([0, 0] + (OUTAGE + CALM) * 6)
    assert rows["repeats"].tolist() == [6]
    assert rows["repeats_since"].tolist() == [20.0]
    apart = stepped([0, 0] + (OUTAGE + [0.0] * 70) * 6)
    assert apart["repeats"].tolist() == [1]


def test_a_return_may_rise_over_several_points() -> None:
    flapping = [0, 0] + (OUTAGE + CALM) * 5
    _, reasons, _ = walk([*flapping, 4.5, 5.5, 7.5, 7.5])
    assert reasons[-2:] == [Reason.RETURNED, Reason.STILL_FIRING]


def test_a_small_return_is_not_told() -> None:
    _, reasons, _ = walk([0, 0] + (OUTAGE + CALM) * 5 + [5.5] * 4)
    assert reasons[-1] is Reason.STILL_FIRING


@pytest.mark.parametrize("small", [[6.0] * 6, [6.0, 6.0, 3.0]])
def test_a_far_score_in_a_small_incident_is_told(small: list[float]) -> None:
    at_once = dataclasses.replace(RULES, breach_steps=1)
    _, reasons, _ = walk([0, 0, *small, *OUTAGE], at_once)
    assert reasons.count(Reason.FIRED) == 1
    assert reasons[-len(OUTAGE) :].count(Reason.RETURNED) == 1


def test_an_outage_that_begins_small_is_told_once() -> None:
    _, reasons, _ = walk([0, 0, 6, 6, *OUTAGE])
    assert Reason.RETURNED not in reasons


def test_a_small_score_after_a_critical_incident_is_a_warning() -> None:
    quiet = [0.0] * 60
    small = [6.0, 6.0]
    larger = [6.1, 6.1]
    _, reasons, severities = walk([0, 0, 9, 9, *quiet, *small, *quiet, *larger])
    assert reasons.count(Reason.FIRED) == 3
    assert severities[-1] is Severity.WARNING


def test_a_return_can_be_critical() -> None:
    _, reasons, severities = walk([0, 0] + (OUTAGE + CALM) * 5 + [9, 9])
    assert (reasons[-1], severities[-1]) == (Reason.RETURNED, Severity.CRITICAL)
    assert Reason.ESCALATED not in reasons


def test_far_scores_after_a_critical_incident_are_critical() -> None:
    _, reasons, severities = walk([0, 0, 9, 9, 9, *CALM, *OUTAGE])
    assert Severity.CRITICAL in severities[:5]
    fired = [i for i, reason in enumerate(reasons) if reason is Reason.FIRED]
    assert len(fired) == 2
    assert severities[fired[1]] is Severity.CRITICAL


def test_a_negligible_breach_begins_no_incident_and_can_become_one() -> None:
    rows = stepped([0, 0, 8, 8])
    before = stepped([0, 0, 8])
    given = np.array([30.0]), np.array([10.0]), np.array([8], np.float32)
    assert rows["phase"].tolist() == [Phase.FIRING]
    held = decide(before, *given, RULES, np.ones(1, np.bool_))
    assert (held.phase[0], held.reason[0]) == (Phase.OK, Reason.NEGLIGIBLE)
    assert held.rows["incidents"].tolist() == [0]
    later = np.array([40.0]), *given[1:]
    assert decide(held.rows, *later, RULES).reason[0] == Reason.FIRED


def test_a_loss_that_goes_on_is_not_clearing_and_does_not_recover() -> None:
    scores = [0, 0, 9, 9, *CALM]
    assert Reason.RECOVERED in walk(scores)[1]
    assert set(reasons_while_lost(scores)[4:]) == {Reason.STILL_FIRING}


def reasons_while_lost(scores: list[float]) -> list[Reason]:
    """Of points ten seconds apart that are a loss once an incident is open."""
    rows = fresh_decisions(1)
    since = np.array([10.0])
    reasons = []
    for t, score in enumerate(scores):
        lost = rows["phase"] == Phase.FIRING
        given = t * since, since, np.array([score], np.float32)
        decided = decide(rows, *given, RULES, lost=lost)
        rows = decided.rows
        reasons.append(Reason(decided.reason[0]))
    return reasons


SCORES = st.lists(st.floats(0, 10, width=32), min_size=1, max_size=60)


@given(SCORES)
def test_incidents_do_not_overlap_and_none_is_in_warm_up(
    scores: list[float],
) -> None:
    _, reasons, _ = walk(scores)
    changes = [r for r in reasons if r in (Reason.FIRED, Reason.RECOVERED)]
    assert changes == [Reason.FIRED, Reason.RECOVERED] * (len(changes) // 2) + [
        Reason.FIRED
    ] * (len(changes) % 2)
    assert all(r is Reason.WARMING for r in reasons[: RULES.warm_up])


@given(st.lists(SCORES, min_size=2, max_size=5))
def test_a_wave_equals_each_stream_alone(
    all_scores: list[list[float]],
) -> None:
    length = min(map(len, all_scores))
    alone = [walk(scores[:length])[1] for scores in all_scores]
    rows = fresh_decisions(len(all_scores))
    together = []
    for t in range(length):
        decided = decide(
            rows,
            np.full(len(all_scores), t * 10.0),
            np.full(len(all_scores), 10.0),
            np.array([s[t] for s in all_scores], np.float32),
            RULES,
        )
        rows = decided.rows
        together.append(decided.reason)
    assert np.stack(together, 1).tolist() == alone
