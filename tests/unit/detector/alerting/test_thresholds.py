"""A stream's own level: what its past, its incidents and an accepted plateau add to the
fleet's.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from detector.alerting.decide import decide
from detector.alerting.incident_rates import incident_rates
from detector.alerting.policy import AlertPolicy, AlertTuning, alert_policy
from detector.alerting.thresholds import (
    FEEDBACK,
    FIRST_DAY,
    INITIAL_PENALTY,
    MAX_OFFSET,
    PENALTY_MEMORY,
    REFERENCE_SHARE,
    budget_of_effective,
    effective_budget,
    false_alarm_weight,
    penalty_for_short_history,
)
from detector.events import F32, Reason
from detector.state.decisions import DecisionState, fresh_decisions
from detector.timestamps import DAY, WEEK
from tests.fakes import TAIL

MINUTE = 60.0
HOUR = 3600.0
RULES = dataclasses.replace(
    alert_policy(AlertTuning(), TAIL, 60.0, warm_up=0),
    reference_score=1.0,
    score_scale=0.5,
    initial_penalty=0.0,
    first_day_offset=0.0,
)


class Course:
    """What became of streams with these scores [T, N], a point each ``tick`` seconds;
    reasons and levels [T, N], last rows [N].
    """

    def __init__(
        self, scores: npt.ArrayLike, rules: AlertPolicy = RULES, tick: float = MINUTE
    ) -> None:
        table = np.atleast_2d(np.asarray(scores, np.float32).T).T
        self.rows: DecisionState = fresh_decisions(table.shape[1])
        reasons = []
        levels = []
        since = np.full(table.shape[1], tick)
        for t, row in enumerate(table):
            decided = decide(self.rows, since * (t + 1), since, row, rules)
            self.rows = decided.rows
            reasons.append(decided.reason)
            levels.append(decided.threshold)
        self.reasons = np.array(reasons)
        self.levels = np.array(levels)

    def count(self, reason: Reason) -> int:
        return int((self.reasons == reason).sum())


def bursts(onsets: list[int], length: int, total: int, height: float = 4.0) -> F32:
    scores = np.zeros(total, np.float32)
    for onset in onsets:
        scores[onset : onset + length] = height
    return scores


def test_what_comes_in_bursts_is_one_incident() -> None:
    found = Course(bursts([10, 30, 50, 70], 5, 300))
    assert (found.count(Reason.FIRED), found.count(Reason.RECOVERED)) == (1, 1)


def test_an_incident_begins_twelve_hours_after_the_last_one_ended_but_no_more_than_144_ticks() -> (
    None
):
    assert Course(bursts([10, 160], 5, 400)).count(Reason.FIRED) == 1
    assert Course(bursts([10, 200], 5, 400)).count(Reason.FIRED) == 2
    # at least 48 ticks
    assert Course(bursts([10, 60], 5, 120), tick=HOUR).count(Reason.FIRED) == 1
    assert Course(bursts([10, 80], 5, 130), tick=HOUR).count(Reason.FIRED) == 2


def test_a_large_budget_is_not_halved_by_the_spacing() -> None:
    rules = alert_policy(AlertTuning(false_alarms_per_week=100), TAIL, 60.0, warm_up=0)
    assert rules.max_gap == pytest.approx(WEEK / 400)
    assert Course(bursts([10, 100], 5, 400), rules).count(Reason.FIRED) == 2


def test_a_streams_own_tick_counts_and_a_gap_moves_it_little() -> None:
    found = Course(np.zeros(200), tick=10.0)
    assert found.rows["tick"][0] == pytest.approx(10.0)
    after = decide(
        found.rows,
        np.array([9000.0]),
        np.array([7000.0]),
        np.zeros(1, np.float32),
        RULES,
    ).rows
    assert after["tick"][0] < 10.5


def test_each_incident_lifts_the_level_and_the_lift_fades() -> None:
    found = Course(bursts([10], 5, 200))
    counts = 2 * math.exp(-(4.0 - float(RULES.warning)) / RULES.score_scale)
    assert found.rows["alarm_penalty"][0] == pytest.approx(
        counts * RULES.alarm_penalty, rel=0.01
    )
    assert found.levels[-1, 0] == pytest.approx(
        float(RULES.warning) + counts * RULES.alarm_penalty, rel=0.05
    )
    later = decide(
        found.rows,
        np.array([PENALTY_MEMORY + 200 * MINUTE]),
        np.array([PENALTY_MEMORY]),
        np.zeros(1, np.float32),
        RULES,
    ).rows
    assert later["alarm_penalty"][0] == pytest.approx(
        found.rows["alarm_penalty"][0] / math.e, rel=0.01
    )


def test_incidents_of_chance_lift_by_their_number_and_an_outage_hardly_at_all() -> None:
    excess = np.random.default_rng(0).exponential(0.5, 100_000).astype(np.float32)
    assert false_alarm_weight(excess, 0.5).mean() == pytest.approx(1.0, abs=0.01)
    outage = Course(bursts([10], 5, 200, height=9.0))
    assert outage.count(Reason.FIRED) == 1
    assert outage.rows["alarm_penalty"][0] < 0.01 * RULES.alarm_penalty


def test_within_the_spacing_what_is_critical_and_worse_than_the_last_incident_is_told() -> (
    None
):
    small_then = np.concatenate([bursts([10], 5, 60), bursts([0], 5, 140, height=9.0)])
    assert Course(small_then).count(Reason.FIRED) == 2
    large_then_small = np.concatenate(
        [bursts([10], 5, 60, height=9.0), bursts([0], 5, 140, height=8.0)]
    )
    assert Course(large_then_small).count(Reason.FIRED) == 1


def test_at_the_rate_of_its_budget_a_stream_is_lifted_to_where_the_fleet_raises_that_rate() -> (
    None
):
    rules = alert_policy(AlertTuning(), TAIL, 60.0, 0)
    # one incident a week, each forgotten at the rate of the memory
    settled = rules.alarm_penalty * PENALTY_MEMORY / WEEK
    assert TAIL.rate(float(rules.warning) + settled) == pytest.approx(1.0)
    assert TAIL.rate(float(rules.warning)) == pytest.approx(math.exp(FEEDBACK))


def test_streams_that_score_higher_and_lower_than_the_fleet_get_levels_of_their_own() -> (
    None
):
    rng = np.random.default_rng(0)
    scale = 0.5
    usual = 1.0 + scale * np.log(1 / REFERENCE_SHARE)  # of an exponential tail over 1
    rules = dataclasses.replace(
        RULES, warning=1 + 14 * scale, reference_score=usual, score_scale=scale
    )
    shift = np.array([-0.6, 0.0, 0.6])
    found = Course(1.0 + shift + rng.exponential(scale, (12_000, 3)), rules)
    np.testing.assert_allclose(found.rows["stream_offset"], shift, atol=0.25)


def test_a_long_anomaly_teaches_a_stream_nothing_about_itself() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(0.3, 6000)
    scores[3000:] += 5.0
    kept = Course(scores[:3000])
    found = Course(scores, dataclasses.replace(RULES, max_incident=np.inf))
    assert found.count(Reason.FIRED) == 1
    assert found.rows["stream_offset"][0] == pytest.approx(
        kept.rows["stream_offset"][0], abs=1e-6
    )


def test_a_streams_own_evidence_is_bounded() -> None:
    found = Course(np.full(6_000, 2.5), dataclasses.replace(RULES, warning=100.0))
    assert found.rows["stream_offset"][0] == pytest.approx(
        MAX_OFFSET * RULES.score_scale
    )


def test_a_lasting_shift_alerts_once_and_is_accepted_after_the_stated_time() -> None:
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(0, 0.2, (3 * 1440, 50)))
    scores[600:] += rng.uniform(4, 9, 50)
    found = Course(scores)
    fired = found.reasons == Reason.FIRED
    accepted = found.reasons == Reason.ACCEPTED
    assert (fired.sum(axis=0) == 1).all()
    assert (accepted.sum(axis=0) == 1).all()
    waited = accepted.argmax(axis=0) - fired.argmax(axis=0)
    assert (waited * MINUTE == AlertTuning().max_incident).all()


def test_after_the_shift_a_worse_one_alerts_and_what_ends_gives_the_old_level_back() -> (
    None
):
    tick = 5 * MINUTE
    day = 288
    scores = np.zeros(8 * day)
    scores[100 : 3 * day] = 4.0
    worse = scores.copy()
    worse[2 * day : 2 * day + 60] = 7.0
    assert Course(worse, tick=tick).count(Reason.FIRED) == 2
    ended = Course(scores, dataclasses.replace(RULES, reference_score=np.nan), tick)
    assert ended.count(Reason.FIRED) == 1
    assert ended.levels[2 * day, 0] > 4.0
    assert ended.levels[-1, 0] == pytest.approx(
        float(RULES.warning) + ended.rows["alarm_penalty"][0], abs=0.01
    )


def test_no_score_makes_a_stream_fire_for_ever() -> None:
    rng = np.random.default_rng(1)
    wild = np.cumsum(np.abs(rng.normal(0, 0.25, 14 * 288)))  # rises without end
    found = Course(wild, tick=5 * MINUTE)
    longest = AlertTuning().max_incident / (5 * MINUTE)
    ends = np.isin(found.reasons[:, 0], (Reason.ACCEPTED, Reason.RECOVERED)).nonzero()[
        0
    ]
    starts = (found.reasons[:, 0] == Reason.FIRED).nonzero()[0]
    assert len(starts) > 1
    assert (ends[: len(starts)] - starts[: len(ends)] <= longest).all()


def test_a_slow_tick_has_time_to_recover_before_it_is_accepted() -> None:
    found = Course(bursts([10], 10, 60), tick=DAY)
    assert (found.count(Reason.ACCEPTED), found.count(Reason.RECOVERED)) == (0, 1)


def test_rates_are_over_streams_that_were_watched_for_a_day() -> None:
    rows = fresh_decisions(4)
    rows["observed_seconds"] = [WEEK, WEEK, 2 * WEEK, HOUR]
    rows["incidents"] = [0, 2, 2, 5]
    found = incident_rates(rows)
    assert (found.streams, found.mean) == (3, 1.0)
    assert found.shares["median"] == pytest.approx(1.0)
    assert incident_rates(fresh_decisions(3)).mean == 0.0


def test_a_faster_tick_asks_for_a_rarer_score_and_a_slower_one_for_no_commoner_one() -> (
    None
):
    rules = dataclasses.replace(RULES, reference_score=np.nan)
    level = {
        tick: Course(np.zeros(50), rules, tick=tick).levels[-1, 0]
        for tick in (6.0, 60.0, 600.0)
    }
    assert level[6.0] - level[60.0] == pytest.approx(
        math.log(10) * rules.score_scale, rel=0.01
    )
    assert level[600.0] == pytest.approx(level[60.0], abs=1e-5)


def test_a_stream_that_training_has_not_seen_starts_higher_and_comes_down_with_age() -> (
    None
):
    rules = dataclasses.replace(
        alert_policy(
            AlertTuning(),
            replace(TAIL, cold_start_offsets=((10.0, 2.0), (1000.0, 0.0))),
            60.0,
            warm_up=0,
        ),
        first_day_offset=0.0,
    )
    levels = Course(np.zeros(1200), rules).levels[:, 0]
    begun = INITIAL_PENALTY * TAIL.score_scale
    assert levels[5] == pytest.approx(3.0 + 2.0 + begun, abs=0.05)
    assert levels[100] == pytest.approx(3.0 + 1.0 + begun, abs=0.05)
    assert levels[1100] == pytest.approx(3.0 + begun, abs=0.05)
    known = fresh_decisions(1, known=True)
    assert decide(
        known, np.ones(1), np.full(1, MINUTE), np.zeros(1, np.float32), rules
    ).threshold[0] == pytest.approx(3.0)


def test_until_it_has_seen_a_day_the_level_of_a_new_stream_stands_higher() -> None:
    rules = alert_policy(AlertTuning(), TAIL, 60.0, warm_up=0)
    later = DAY / HOUR
    levels = Course(np.zeros(80), rules, tick=HOUR).levels[:, 0] - float(rules.warning)
    begun = INITIAL_PENALTY * TAIL.score_scale
    np.testing.assert_allclose(
        levels[1:24], begun + FIRST_DAY * TAIL.score_scale, atol=0.05
    )
    assert levels[int(1.5 * later)] == pytest.approx(
        begun + FIRST_DAY * TAIL.score_scale / 2, abs=0.05
    )
    assert levels[49:].max() <= begun + 0.01
    known = decide(
        fresh_decisions(1, known=True),
        np.ones(1),
        np.full(1, HOUR),
        np.zeros(1, np.float32),
        rules,
    )
    assert known.threshold[0] == pytest.approx(float(rules.warning))


def test_what_is_news_and_what_is_chance_add_up_as_rates() -> None:
    rules = alert_policy(AlertTuning(), TAIL, 60.0, warm_up=0)
    for oftener in (1, 6, 60):
        level = (
            Course(np.zeros(20), rules, tick=60.0 / oftener).levels[10, 0]
            - float(rules.warning)
            - INITIAL_PENALTY * TAIL.score_scale
        )
        assert level == pytest.approx(
            math.log(oftener + math.exp(FIRST_DAY) - 1) * TAIL.score_scale, abs=0.05
        )


def test_a_stream_that_training_saw_for_less_than_a_week_begins_with_part_of_a_new_ones_lift() -> (
    None
):
    assert penalty_for_short_history(
        np.array([0.0, WEEK / 4, WEEK, 9 * WEEK]), 4, 0.8
    ).tolist() == pytest.approx([0.8, 0.6, 0.0, 0.0])
    assert penalty_for_short_history(np.zeros(0), 2, 0.8).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.5, 0.99, 1.0, 3.0, 10.0, 100.0])
def test_how_rare_a_level_is_in_the_end_is_the_budget_that_it_is_taken_for(
    budget: float,
) -> None:
    assert budget_of_effective(effective_budget(budget)) == pytest.approx(
        budget, rel=1e-6
    )
