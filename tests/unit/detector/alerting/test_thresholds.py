"""A stream's threshold: the fleet's, its offsets, penalties and a plateau."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from detector.alerting.decide import decide
from detector.alerting.incident_rates import incident_rates
from detector.alerting.policy import (
    AlertPolicy,
    AlertTuning,
    alert_policy,
    candidate_policy,
)
from detector.alerting.thresholds import (
    CAUTION,
    FEEDBACK,
    FIRST_DAY,
    INITIAL_PENALTY,
    MAX_OFFSET,
    PENALTY_MEMORY,
    REFERENCE_SHARE,
    false_alarm_weight,
    penalties_of_known,
)
from detector.events import ENDS, F32, Reason
from detector.state.decisions import DecisionState, fresh_decisions
from detector.timestamps import DAY, HOUR, MINUTE, WEEK
from tests.fakes import TAIL

RULES = dataclasses.replace(
    alert_policy(AlertTuning(), TAIL, 60.0, warm_up=0),
    reference_score=1.0,
    score_scale=0.5,
    initial_penalty=0.0,
    first_day_offset=0.0,
)

# A score over the threshold by a third of the step to the critical one.
NEAR = float(RULES.warning) + RULES.critical_above / 3


class Walk:
    """Decisions for streams with these scores [T, N], a point each ``tick`` seconds.

    Reasons and thresholds are [T, N], the last rows [N].
    """

    def __init__(
        self, scores: npt.ArrayLike, rules: AlertPolicy = RULES, tick: float = MINUTE
    ) -> None:
        table = np.atleast_2d(np.asarray(scores, np.float32).T).T
        self.rows: DecisionState = fresh_decisions(table.shape[1])
        reasons = []
        thresholds = []
        since = np.full(table.shape[1], tick)
        for t, row in enumerate(table):
            decided = decide(self.rows, since * (t + 1), since, row, rules)
            self.rows = decided.rows
            reasons.append(decided.reason)
            thresholds.append(decided.threshold)
        self.reasons = np.array(reasons)
        self.thresholds = np.array(thresholds)

    def count(self, reason: Reason) -> int:
        return int((self.reasons == reason).sum())


def bursts(onsets: list[int], length: int, total: int, height: float = 4.0) -> F32:
    scores = np.zeros(total, np.float32)
    for onset in onsets:
        scores[onset : onset + length] = height
    return scores


def near(onsets: list[int], length: int, total: int, highest: float = NEAR) -> F32:
    """Bursts a little over the threshold, each less extreme than the one before."""
    scores = np.zeros(total, np.float32)
    for number, onset in enumerate(onsets):
        scores[onset : onset + length] = highest - 0.1 * number
    return scores


def test_small_peaks_that_follow_closely_are_one_incident() -> None:
    found = Walk(near([10, 30, 50, 70], 5, 300))
    assert (found.count(Reason.FIRED), found.count(Reason.RECOVERED)) == (1, 1)
    assert found.count(Reason.COOLDOWN) == 15


def test_the_gap_between_small_incidents_is_bounded_in_ticks() -> None:
    assert Walk(near([10, 150], 5, 400)).count(Reason.FIRED) == 1
    assert Walk(near([10, 200], 5, 400)).count(Reason.FIRED) == 2
    # at least 48 ticks
    rules = dataclasses.replace(RULES, reference_score=np.nan, tick=HOUR)
    assert Walk(near([10, 50], 5, 120), rules, HOUR).count(Reason.FIRED) == 1
    assert Walk(near([10, 80], 5, 130), rules, HOUR).count(Reason.FIRED) == 2


def test_far_scores_wait_for_nothing() -> None:
    rules = dataclasses.replace(RULES, cooldown_ticks=100)
    for between in (12, 40, 200):
        onsets = [10, 15 + between, 20 + 2 * between]
        found = Walk(bursts(onsets, 5, 600, height=9.0), rules)
        assert (found.reasons[onsets, 0] == Reason.FIRED).all()


def test_an_incident_ends_six_ticks_after_its_score_is_calm() -> None:
    for tick in (5.0, MINUTE, HOUR):
        found = Walk(bursts([10], 5, 40, height=9.0), tick=tick)
        ended = np.flatnonzero(found.reasons == Reason.RECOVERED)
        assert ended.tolist() == [14 + 6]


def test_a_policy_without_a_critical_threshold_has_no_far_scores() -> None:
    rules = candidate_policy(AlertTuning(), float(RULES.warning), np.inf, 0)
    higher = np.concatenate([near([10], 5, 60), bursts([0], 5, 60, height=90.0)])
    assert Walk(higher, rules).count(Reason.FIRED) == 1


def test_a_large_budget_shortens_the_gap() -> None:
    rules = alert_policy(AlertTuning(false_alarms_per_week=100), TAIL, 60.0, warm_up=0)
    assert rules.max_gap == pytest.approx(WEEK / 400)
    settled = dataclasses.replace(rules, initial_penalty=0.0, first_day_offset=0.0)
    highest = float(rules.warning) + 0.4
    for onset, incidents in ((55, 1), (100, 2)):
        found = Walk(near([30, onset], 5, 400, highest), settled)
        assert found.count(Reason.FIRED) == incidents


def test_the_tick_is_the_streams_own_and_a_gap_moves_it_little() -> None:
    found = Walk(np.zeros(200), tick=10.0)
    assert found.rows["tick"][0] == pytest.approx(10.0)
    after = decide(
        found.rows,
        np.array([9000.0]),
        np.array([7000.0]),
        np.zeros(1, np.float32),
        RULES,
    ).rows
    assert after["tick"][0] < 10.5


def test_each_incident_adds_a_penalty_that_fades() -> None:
    rules = dataclasses.replace(RULES, reference_score=np.nan)
    found = Walk(near([10], 5, 200), rules)
    of_all = 1 - math.exp(-2 * RULES.far_above / RULES.score_scale)
    margin = NEAR - float(RULES.warning)
    counts = 2 / of_all * math.exp(-margin / RULES.score_scale)
    assert found.rows["alarm_penalty"][0] == pytest.approx(
        counts * RULES.alarm_penalty, rel=0.01
    )
    assert found.thresholds[-1, 0] == pytest.approx(
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


@pytest.mark.parametrize("far", [math.inf, 0.5])
def test_chance_counts_as_false_alarms(far: float) -> None:
    excess = np.random.default_rng(0).exponential(0.5, 100_000).astype(np.float32)
    assert false_alarm_weight(excess, 0.5, far).mean() == pytest.approx(1.0, abs=0.02)


def test_an_incident_far_over_the_threshold_adds_no_penalty() -> None:
    outage = Walk(bursts([10], 5, 200, height=9.0))
    assert outage.count(Reason.FIRED) == 1
    assert outage.rows["alarm_penalty"].tolist() == [0.0]


def test_a_small_incident_does_not_hide_a_larger_one() -> None:
    small_then = np.concatenate([near([10], 5, 60), bursts([0], 5, 140, height=9.0)])
    assert Walk(small_then).count(Reason.FIRED) == 2
    a_bit_larger = np.concatenate([near([10], 5, 60), bursts([0], 5, 140, height=3.9)])
    assert Walk(a_bit_larger).count(Reason.FIRED) == 2
    smaller = np.concatenate([near([10], 5, 60), bursts([0], 5, 140, height=3.2)])
    assert Walk(smaller).count(Reason.FIRED) == 1


def test_the_penalty_settles_at_the_budget() -> None:
    rules = alert_policy(AlertTuning(), TAIL, 60.0, 0)
    # one incident a week, each forgotten at the rate of the memory
    settled = rules.alarm_penalty * PENALTY_MEMORY / WEEK
    assert TAIL.rate(float(rules.warning) + settled) == pytest.approx(1.0)
    assert TAIL.rate(float(rules.warning)) == pytest.approx(math.exp(FEEDBACK))


def test_streams_unlike_the_fleet_get_offsets() -> None:
    rng = np.random.default_rng(0)
    scale = 0.5
    reference = 1.0 + scale * np.log(
        1 / REFERENCE_SHARE
    )  # of an exponential tail over 1
    rules = dataclasses.replace(
        RULES, warning=1 + 14 * scale, reference_score=reference, score_scale=scale
    )
    shift = np.array([-0.6, 0.0, 0.6])
    found = Walk(1.0 + shift + rng.exponential(scale, (12_000, 3)), rules)
    np.testing.assert_allclose(found.rows["stream_offset"], shift, atol=0.25)


def test_a_long_anomaly_does_not_move_the_offset() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(0.3, 6000)
    scores[3000:] += 5.0
    kept = Walk(scores[:3000])
    found = Walk(scores, dataclasses.replace(RULES, max_incident=np.inf))
    assert found.count(Reason.FIRED) == 1
    assert found.rows["stream_offset"][0] == pytest.approx(
        kept.rows["stream_offset"][0], abs=1e-6
    )


def test_the_stream_offset_is_bounded() -> None:
    found = Walk(np.full(6_000, 2.5), dataclasses.replace(RULES, warning=100.0))
    assert found.rows["stream_offset"][0] == pytest.approx(
        MAX_OFFSET * RULES.score_scale
    )


def test_an_incident_fires_as_long_as_its_score_is_high() -> None:
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(0, 0.2, (3 * 1440, 50)))
    scores[600:] += rng.uniform(4, 9, 50)
    found = Walk(scores)
    assert (found.reasons[600] == Reason.FIRED).all()
    goes_on = np.isin(found.reasons[601:], (Reason.STILL_FIRING, Reason.ESCALATED))
    assert goes_on.all()


def test_an_incident_expires_in_the_end() -> None:
    scores = bursts([10], 900, 900)
    found = Walk(scores, tick=HOUR)
    assert found.count(Reason.FIRED) == 1
    expired = np.flatnonzero(found.reasons == Reason.EXPIRED)
    assert expired.tolist() == [10 + 14 * 24]


def test_the_plateau_lets_a_worse_shift_alert_and_ends_with_the_shift() -> None:
    tick = 5 * MINUTE
    day = 288
    rules = dataclasses.replace(RULES, max_incident=DAY, tick=tick)
    scores = np.zeros(8 * day)
    scores[100 : 3 * day] = 4.0
    worse = scores.copy()
    worse[2 * day : 2 * day + 60] = 7.0
    assert Walk(worse, rules, tick=tick).count(Reason.FIRED) == 2
    ended = Walk(scores, dataclasses.replace(rules, reference_score=np.nan), tick)
    assert ended.count(Reason.FIRED) == 1
    assert ended.thresholds[2 * day, 0] > 4.0
    assert ended.thresholds[-1, 0] == pytest.approx(
        float(RULES.warning) + ended.rows["alarm_penalty"][0], abs=0.01
    )


def test_no_stream_fires_for_ever() -> None:
    rng = np.random.default_rng(1)
    wild = np.cumsum(np.abs(rng.normal(0, 0.25, 14 * 288)))  # rises without end
    rules = dataclasses.replace(RULES, max_incident=DAY)
    found = Walk(wild, rules, tick=5 * MINUTE)
    ends = np.flatnonzero(np.isin(found.reasons, ENDS))
    starts = np.flatnonzero(found.reasons == Reason.FIRED)
    assert len(starts) > 1
    assert (ends[: len(starts)] - starts[: len(ends)] <= 288).all()


def test_a_slow_tick_can_recover_before_it_expires() -> None:
    found = Walk(bursts([10], 10, 60), tick=DAY)
    assert (found.count(Reason.EXPIRED), found.count(Reason.RECOVERED)) == (0, 1)


def test_rates_count_streams_observed_for_a_day() -> None:
    rows = fresh_decisions(4)
    rows["observed_seconds"] = [WEEK, WEEK, 2 * WEEK, HOUR]
    rows["incidents"] = [0, 2, 2, 5]
    found = incident_rates(rows)
    assert (found.streams, found.mean) == (3, 1.0)
    assert found.shares["median"] == pytest.approx(1.0)
    assert incident_rates(fresh_decisions(3)).mean == 0.0


def test_chance_acts_per_point_on_any_tick() -> None:
    rules = dataclasses.replace(RULES, reference_score=np.nan)
    threshold = {
        tick: Walk(np.zeros(50), rules, tick=tick).thresholds[-1, 0]
        for tick in (6.0, 60.0, 600.0)
    }
    step = math.log(10) * rules.score_scale
    assert threshold[6.0] - threshold[60.0] == pytest.approx(step, rel=0.01)
    lowered = step - CAUTION * rules.score_scale
    assert threshold[60.0] - threshold[600.0] == pytest.approx(lowered, rel=0.01)


def test_the_cold_start_offset_falls_with_age() -> None:
    rules = dataclasses.replace(
        alert_policy(
            AlertTuning(),
            replace(TAIL, cold_start_offsets=((10.0, 2.0), (1000.0, 0.0))),
            60.0,
            warm_up=0,
        ),
        first_day_offset=0.0,
    )
    thresholds = Walk(np.zeros(1200), rules).thresholds[:, 0]
    initial = INITIAL_PENALTY * TAIL.score_scale
    assert thresholds[5] == pytest.approx(3.0 + 2.0 + initial, abs=0.05)
    assert thresholds[100] == pytest.approx(3.0 + 1.0 + initial, abs=0.05)
    assert thresholds[1100] == pytest.approx(3.0 + initial, abs=0.05)
    known = fresh_decisions(1, known=True)
    assert decide(
        known, np.ones(1), np.full(1, MINUTE), np.zeros(1, np.float32), rules
    ).threshold[0] == pytest.approx(3.0)


def test_a_new_streams_threshold_is_higher_for_a_day() -> None:
    rules = alert_policy(AlertTuning(), TAIL, HOUR, warm_up=0)
    later = DAY / HOUR
    thresholds = Walk(np.zeros(80), rules, tick=HOUR).thresholds[:, 0] - float(
        rules.warning
    )
    initial = INITIAL_PENALTY * TAIL.score_scale
    np.testing.assert_allclose(
        thresholds[1:24], initial + FIRST_DAY * TAIL.score_scale, atol=0.05
    )
    assert thresholds[int(1.5 * later)] == pytest.approx(
        initial + FIRST_DAY * TAIL.score_scale / 2, abs=0.05
    )
    assert thresholds[49:].max() <= initial + 0.01
    known = decide(
        fresh_decisions(1, known=True),
        np.ones(1),
        np.full(1, HOUR),
        np.zeros(1, np.float32),
        rules,
    )
    assert known.threshold[0] == pytest.approx(float(rules.warning))


def test_the_offsets_of_tick_and_first_day_add_up_as_rates() -> None:
    rules = alert_policy(AlertTuning(), TAIL, 60.0, warm_up=0)
    for ratio in (1, 6, 60):
        threshold = (
            Walk(np.zeros(20), rules, tick=60.0 / ratio).thresholds[10, 0]
            - float(rules.warning)
            - INITIAL_PENALTY * TAIL.score_scale
        )
        assert threshold == pytest.approx(
            math.log(ratio + math.exp(FIRST_DAY) - 1) * TAIL.score_scale, abs=0.05
        )


def test_a_short_history_starts_with_part_of_the_penalty() -> None:
    seen = np.array([0.0, WEEK / 4, WEEK, 9 * WEEK])
    penalties = penalties_of_known(seen, 4, initial=0.8, settled=0.3)
    assert penalties.tolist() == pytest.approx([0.8, 0.6, 0.3, 0.3])
    unsaid = penalties_of_known(np.zeros(0), 2, initial=0.8, settled=0.3)
    assert unsaid.tolist() == pytest.approx([0.3, 0.3])
