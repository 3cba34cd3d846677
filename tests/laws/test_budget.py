"""What a budget of false alarms buys on streams without a fault, on slow ticks, too.

The streams are synthetic ones of all kinds, from a seed of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from detector.alerting.decide import decide
from detector.alerting.policy import AlertTuning, alert_policy
from detector.alerting.thresholds import REFERENCE_SHARE, penalties_of_known
from detector.events import F32, F64, Reason
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from detector.state.decisions import fresh_decisions
from detector.timestamps import HOUR, WEEK
from training.synthetic.streams import START, made_history

STREAMS = 40
WEEKS = 6
POINTS = int(WEEKS * WEEK / HOUR)
TOLD = (Reason.FIRED, Reason.RETURNED)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUILTIN)


@pytest.fixture(scope="module")
def scores(bundle: Bundle) -> F32:
    """float32 [T, N], of new streams with a point each hour."""
    drawn = made_history(14 * STREAMS, 515, (POINTS, POINTS)).series
    hourly = [series for series in drawn if series.tick == HOUR][:STREAMS]
    table = np.full((POINTS, len(hourly)), np.nan, np.float32)
    for column, series in enumerate(hourly):
        rows = np.round((series.times - series.times[0]) / HOUR).astype(np.int64)
        table[rows, column] = series.values[:, 0]
    engine = OnnxEngine(bundle)
    state = np.repeat(bundle.initial[None], len(hourly), axis=0)
    found = np.zeros_like(table)
    since = np.full(len(hourly), HOUR)
    for t, x in enumerate(table):
        local = np.full(len(hourly), START + t * HOUR)
        output = engine.step(x[:, None], clock_input(since, local), state)
        state = output.next_state
        found[t] = output.score
    return found


def told(scores: F32, budget: float, bundle: Bundle) -> npt.NDArray[np.bool_]:
    """bool [T, N]: where an incident was told under this budget."""
    manifest = bundle.manifest
    tuning = AlertTuning(false_alarms_per_week=budget)
    policy = alert_policy(
        tuning, manifest.tail, manifest.tick_interval, manifest.warm_up
    )
    streams = scores.shape[1]
    rows = fresh_decisions(streams)
    since = np.full(streams, HOUR)
    found = np.zeros(scores.shape, np.bool_)
    for t, at_once in enumerate(scores):
        times: F64 = np.full(streams, START + t * HOUR)
        decided = decide(rows, times, since, at_once, policy)
        rows = decided.rows
        found[t] = np.isin(decided.reason, TOLD)
    return found


@pytest.mark.parametrize("budget", [1.0, 10.0])
def test_an_hourly_metric_spends_its_budget(
    bundle: Bundle, scores: F32, budget: float
) -> None:
    where = told(scores, budget, bundle)
    week = int(WEEK / HOUR)
    streams = scores.shape[1]
    in_first_week = where[:week].sum() / streams
    later = where[week:].sum() / (streams * (WEEKS - 1))
    assert in_first_week <= 2 * budget
    assert budget / 2 <= later <= 2 * budget


# -- streams of the bundle -------------------------------------------------------------


@pytest.mark.parametrize("budget", [1.0, 10.0])
def test_known_streams_keep_to_the_budget_from_their_first_week_on(
    budget: float,
) -> None:
    """The scores are chance alone, and the tail fit knows exactly how often it acts."""
    streams = 100
    tick = 300.0
    week = int(WEEK / tick)
    scale = 0.5
    reference = scale * np.log(1 / REFERENCE_SHARE)
    tail = TailFit((0.0,), (float(week),), -1 / scale, 1e3, reference)
    tuning = AlertTuning(false_alarms_per_week=budget)
    policy = alert_policy(tuning, tail, tick, warm_up=0)
    rows = fresh_decisions(streams, known=True)
    rows["alarm_penalty"] = penalties_of_known(
        np.full(streams, 4 * WEEK),
        streams,
        policy.initial_penalty,
        policy.known_penalty,
    )
    rng = np.random.default_rng(0)
    since = np.full(streams, tick)
    raised = np.zeros(3)
    for t in range(3 * week):
        by_chance = rng.exponential(scale, streams).astype(np.float32)
        decided = decide(rows, since * t, since, by_chance, policy)
        rows = decided.rows
        raised[t // week] += np.isin(decided.reason, TOLD).sum()
    over_budget = raised / streams / budget
    assert over_budget[0] <= 2
    assert (over_budget[1:] >= 0.5).all()
    assert (over_budget[1:] <= 2).all()
