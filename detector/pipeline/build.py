"""The one place that puts a pipeline together: for the daemon, replay, training's
backtest, the benchmarks and the tests.

It is here and not in :mod:`detector.compose`, because it names no adapter: replay and
training need no Kafka client.
"""

from __future__ import annotations

import numpy as np

from detector.alerting.policy import AlertTuning, alert_policy
from detector.alerting.thresholds import penalty_for_short_history
from detector.events import MetricKind
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine
from detector.model.local_time import UTC, Zones
from detector.notify.outbox import Outbox
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.causes import CauseClassifier
from detector.pipeline.counter_stage import CounterStage
from detector.pipeline.observer import NullObserver, Observer
from detector.pipeline.page_copies import PageCopier
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.scoring import BatchScorer
from detector.state.counter_defaults import (
    CounterDefaults,
    known_metrics,
    single_metrics,
)
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.table import StreamTable


def build_pipeline(
    bundle: Bundle,
    engine: Engine,
    tuning: AlertTuning,
    *,
    observer: Observer | None = None,
    outbox: Outbox | None = None,
    metrics: Metrics | None = None,
    zones: Zones = UTC,
    limits: TableLimits | None = None,
    writer: int = 0,
    probe_engine: Engine | None = None,
) -> Pipeline:
    """A pipeline without partitions. By default nobody observes it, nothing is
    delivered, and its metrics are its own.

    Args:
        zones: those whose local time the streams follow.
        limits: how many streams are kept, and for how long; by default all, for ever.
        writer: a number that no other process writes pages under.
        probe_engine: used only to classify the cause of an incident; without it the
            cause is always VALUE.
    """
    outbox = Outbox() if outbox is None else outbox
    metrics = Metrics() if metrics is None else metrics
    alerts = alert_composer(bundle, tuning)
    policy = alerts.policy
    states = initial_states(bundle, policy.initial_penalty)
    table = StreamTable(
        states,
        limits or TableLimits(),
        zones.zone_of,
        counter_defaults(bundle),
    )
    causes = CauseClassifier(probe_engine, policy.score_scale)
    tick_interval = bundle.manifest.tick_interval
    scorer = BatchScorer(
        table,
        engine,
        policy,
        zones,
        tick_interval,
        causes,
        CounterStage(table, metrics),
    )
    return Pipeline(
        table=table,
        scorer=scorer,
        alerts=alerts,
        pages=PageCopier(
            table, outbox, metrics, bundle.digest, bundle.feature_names, writer
        ),
        outbox=outbox,
        metrics=metrics,
        observer=NullObserver() if observer is None else observer,
    )


def alert_composer(bundle: Bundle, tuning: AlertTuning) -> AlertComposer:
    """What describes alerts of this bundle's streams."""
    manifest = bundle.manifest
    policy = alert_policy(
        tuning, manifest.tail, manifest.tick_interval, manifest.warm_up
    )
    return AlertComposer(bundle, policy)


def counter_defaults(bundle: Bundle) -> CounterDefaults:
    """What is known of the metrics of new streams.

    A network was fitted to values or to rates, and scores what it was fitted to.
    """
    manifest = bundle.manifest
    if manifest.each_metric:
        return single_metrics()
    kinds = [
        MetricKind.COUNTER if feature.counter else MetricKind.GAUGE
        for feature in manifest.features
    ]
    return known_metrics(np.array(kinds, np.uint8))


def initial_states(bundle: Bundle, initial_penalty: float) -> InitialStates:
    """What streams start from. ``initial_penalty`` is the alarm penalty that a stream
    has at first if training has not seen it.
    """
    known = len(bundle.trained)
    middles = np.full(known, -np.inf)
    if len(bundle.began):
        middles = bundle.began + bundle.seen / 2
    return InitialStates(
        bundle.initial,
        bundle.rows,
        bundle.trained,
        penalty_for_short_history(bundle.seen, known, initial_penalty),
        bundle.first,
        middles,
    )
