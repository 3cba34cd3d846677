"""Ten equal outages are told ten times, whatever their length and spacing.

Here the scores are given: quiet ones, and those of an outage, which are far over the
threshold and vary as scores do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from detector.alerting.decide import decide
from detector.alerting.policy import AlertTuning, alert_policy
from detector.events import ENDS, F32, Phase, Reason, Severity
from detector.state.decisions import fresh_decisions
from detector.timestamps import MINUTE
from tests.fakes import TAIL

OUTAGES = 10
QUIET = 60  # ticks before the first outage
POLICY = alert_policy(AlertTuning(), TAIL, MINUTE, warm_up=0)
# Half-way to the critical threshold, and by how much scores of an outage vary.
FAR = float(POLICY.warning) + POLICY.critical_above / 2
VARIATION = 0.15
TOLD = (Reason.FIRED, Reason.ESCALATED, Reason.RETURNED)


@dataclass(frozen=True, slots=True)
class Outages:
    """Scores of one stream, [T], and where its outages begin."""

    scores: F32
    starts: tuple[int, ...]


def outages(seed: int) -> Outages:
    """Of 5 to 60 ticks each, all alike, 12 to 2,000 ticks apart."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(5, 61))
    gaps = np.exp(rng.uniform(np.log(12), np.log(2000), OUTAGES - 1)).astype(int)
    starts = QUIET + np.cumsum([0, *(gaps + length)])
    scores = rng.exponential(0.2, starts[-1] + length + 200)
    height = FAR + VARIATION + rng.uniform(0, 4)
    for start in starts.tolist():
        varied = rng.uniform(-VARIATION, VARIATION, length)
        scores[start : start + length] = height + varied
    return Outages(scores.astype(np.float32), tuple(starts.tolist()))


@dataclass(frozen=True, slots=True)
class Walked:
    """Of each point: reason, severity and phase [T]."""

    reasons: list[Reason]
    severities: list[Severity]
    phases: list[Phase]


def walked(scores: F32) -> Walked:
    rows = fresh_decisions(1, known=True)
    since = np.full(1, MINUTE)
    found = Walked([], [], [])
    for t in range(len(scores)):
        times = since * (t + 1)
        decided = decide(rows, times, since, scores[t : t + 1], POLICY)
        rows = decided.rows
        found.reasons.append(Reason(decided.reason[0]))
        found.severities.append(Severity(int(rows["severity"][0])))
        found.phases.append(Phase(decided.phase[0]))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_each_is_told_within_two_points_and_no_less_grave(seed: int) -> None:
    given = outages(seed)
    found = walked(given.scores)
    told = [found.reasons[start : start + 2] for start in given.starts]
    assert all(set(reasons) & set(TOLD) for reasons in told)
    graves = [found.severities[start + 1] for start in given.starts]
    assert graves == sorted(graves)
    assert not {Reason.ACCEPTED, Reason.EXPIRED} & set(found.reasons)


@pytest.mark.parametrize("gap", [8, 15, 55])
def test_outages_in_close_order_are_one_incident_with_a_count(gap: int) -> None:
    scores = np.zeros(QUIET, np.float32)
    one = np.full(5, FAR + 1, np.float32)
    for _ in range(OUTAGES):
        scores = np.concatenate([scores, one, np.zeros(gap, np.float32)])
    found = walked(np.concatenate([scores, np.zeros(120, np.float32)]))
    fired = found.reasons.count(Reason.FIRED)
    returned = found.reasons.count(Reason.RETURNED)
    assert (fired, returned) == (4, OUTAGES - 4)
    assert sum(reason in ENDS for reason in found.reasons) == 4
    assert found.phases[-1] is Phase.OK
