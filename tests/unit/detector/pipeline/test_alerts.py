"""From a transition to its alert: values, how rare they are, and the cause."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from detector.events import (
    AnomalyKind,
    Rarity,
    RateBound,
    Reason,
    Severity,
)
from detector.model.bundle import Bundle
from detector.pipeline.alerts import TOP_FEATURES
from detector.pipeline.causes import CauseClassifier, StepInput
from detector.state.decisions import fresh_decisions
from detector.timestamps import WEEK
from tests.fakes import columns, fake_bundle
from tests.unit.detector.pipeline.stage import (
    RestlessEngine,
    Stage,
)

SCORE = 4.5  # of which the fake's tail fit says that it comes 0.6 times a week


def test_an_alert_has_observed_and_expected_values_by_contribution(
    stage: Stage,
) -> None:
    stage.feed([0, 0, 0, 0, 40, 40])
    (alert,) = stage.recorder.alerts
    assert (alert.stream, alert.reason, alert.severity) == (
        "a",
        Reason.FIRED,
        Severity.CRITICAL,
    )
    assert (alert.starts_at, alert.at, alert.ends_at) == (300.0, 300.0, None)
    assert alert.score == pytest.approx(20)
    assert [(d.name, d.observed, d.contribution) for d in alert.deviations] == [
        ("cpu", 40.0, 1.0),
        ("mem", 0.0, 0.0),
    ]
    assert alert.deviations[0].expected == pytest.approx(0)


def test_an_alert_names_the_top_features_without_missing_ones(tmp_path: Path) -> None:
    names = tuple("abcdefgh")
    stage = Stage(fake_bundle(tmp_path, names, warm_up=0))
    values = [np.nan, 1, 9, 2, 8, 3, 7, 30]
    stage.pipeline.process([columns(["s", "s"], [60.0, 120.0], [values, values])])
    (alert,) = stage.recorder.alerts
    assert [d.name for d in alert.deviations] == ["h", "c", "e", "g", "f"]
    assert len(alert.deviations) == TOP_FEATURES


def test_a_score_is_more_frequent_on_a_faster_stream(
    bundle: Bundle,
) -> None:
    pipeline = Stage(bundle).pipeline
    row = fresh_decisions(1, known=True)[0]
    rates = []
    for tick in (60.0, 6.0):
        row["tick"] = tick
        rates.append(pipeline.alerts.rarity("s", SCORE, row))
    assert [rate.bound for rate in rates] == [RateBound.ABOUT] * 2
    assert rates[1].per_week == pytest.approx(10 * rates[0].per_week, rel=0.01)


def test_a_young_stream_claims_no_rarity_beyond_its_age(bundle: Bundle) -> None:
    alerts = Stage(bundle).pipeline.alerts
    row = fresh_decisions(1)[0]
    row["tick"] = bundle.manifest.tick_interval
    row["steps"] = 50_000
    found = []
    for weeks in (0.0, 0.5, 2.0, 200.0):
        row["observed_seconds"] = weeks * WEEK
        found.append(alerts.rarity("s", SCORE, row))
    tail = bundle.manifest.tail
    assert found[0] == Rarity(7.0, RateBound.AT_MOST)
    assert found[1] == Rarity(2.0, RateBound.AT_MOST)
    assert found[3] == Rarity(tail.rate(SCORE))
    rarest = alerts.rarity("s", 1e3, row)
    assert rarest == Rarity(1 / tail.evidence_weeks, RateBound.AT_MOST)


def test_a_stream_that_training_saw_counts_its_training(bundle: Bundle) -> None:
    known = dataclasses.replace(
        bundle,
        rows={"s": 0},
        trained=np.zeros((1, 2), np.float32),
        seen=np.array([0.5 * WEEK]),
    )
    alerts = Stage(known).pipeline.alerts
    row = fresh_decisions(1, known=True)[0]
    row["tick"] = bundle.manifest.tick_interval
    row["observed_seconds"] = 0.5 * WEEK
    assert alerts.rarity("s", SCORE, row) == Rarity(1.0, RateBound.AT_MOST)
    without_spans = dataclasses.replace(known, seen=np.zeros(0))
    alerts = Stage(without_spans).pipeline.alerts
    assert alerts.rarity("s", SCORE, row).bound is RateBound.ABOUT


def test_below_what_was_counted_a_rate_is_at_least(bundle: Bundle) -> None:
    alerts = Stage(bundle).pipeline.alerts
    tail = bundle.manifest.tail
    row = fresh_decisions(1, known=True)[0]
    row["tick"] = bundle.manifest.tick_interval
    found = alerts.rarity("s", tail.thresholds[0] - 1, row)
    assert found.bound is RateBound.AT_LEAST
    assert found.per_week == pytest.approx(tail.rates[0])


def test_what_a_short_past_adds_to_a_score_is_not_rarity(bundle: Bundle) -> None:
    alerts = Stage(bundle).pipeline.alerts
    young = fresh_decisions(1)[0]
    young["tick"] = bundle.manifest.tick_interval
    young["steps"] = 200
    young["observed_seconds"] = 200 * WEEK
    known = fresh_decisions(1, known=True)[0]
    known["tick"] = bundle.manifest.tick_interval
    rates = [alerts.rarity("s", SCORE, row).per_week for row in (young, known)]
    assert rates[0] > 1.5 * rates[1]


def test_a_flatline_that_is_anomalous_by_its_value_too_is_one_of_value() -> None:
    engine = RestlessEngine()
    causes = CauseClassifier(engine, score_scale=0.5)
    given = StepInput(
        np.array([[40, 0]], np.float32),
        np.zeros((1, 3), np.float32),
        np.array([[40, 6]], np.float32),
    )
    step = engine.step(given.x, given.clock, given.states)
    first = np.zeros(1, np.int64)

    def kinds(threshold: float) -> dict[int, AnomalyKind]:
        return causes.classify(given, step, np.array([threshold], np.float32), first)

    assert kinds(threshold=6.0) == {0: AnomalyKind.FLATLINE}
    assert kinds(threshold=0.0) == {}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1] * 8, AnomalyKind.FLATLINE),
        ([1, 1, 40], AnomalyKind.VALUE),
        ([1, 2, 1, 2], AnomalyKind.TREND),
    ],
)
def test_an_alert_says_which_kind_of_anomaly_began_it(
    bundle: Bundle, values: list[float], kind: AnomalyKind
) -> None:
    engine = RestlessEngine()
    stage = Stage(bundle, engine=engine, probe_engine=engine)
    without_probe = Stage(bundle, engine=engine)
    for one in (stage, without_probe):
        one.feed([1, 2, 1, 2, 1, 2, *values])
    kinds, unprobed = (
        [deviation.kind for deviation in one.recorder.alerts[0].deviations]
        for one in (stage, without_probe)
    )
    assert kinds == [kind, AnomalyKind.VALUE]
    assert unprobed == [AnomalyKind.VALUE, AnomalyKind.VALUE]
    assert stage.recorder.scores == without_probe.recorder.scores
    probed = stage.pipeline.table.states
    assert np.array_equal(probed, without_probe.pipeline.table.states)


def test_an_alert_has_the_tags_of_its_stream(stage: Stage) -> None:
    values = [0, 0, 0, 0, 40, 40]
    times = [60.0 * (i + 1) for i in range(len(values))]
    batch = columns(["a"] * len(values), times, [[v, 0] for v in values])
    tags = [{"rack": "1"}] * len(values)
    stage.pipeline.process([dataclasses.replace(batch, labels=tags)])
    (alert,) = stage.recorder.alerts
    assert alert.tags == {"rack": "1"}
