"""The one place that puts a pipeline together: for the daemon, replay, training's
backtest, the benchmarks and the tests.

It is here and not in :mod:`detector.compose`, because it names no adapter: replay and
training need no Kafka client.
"""

from __future__ import annotations

from detector.alerting.policy import AlertTuning, alert_policy
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine
from detector.model.local_time import UTC, Zones
from detector.notify.outbox import Outbox
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.observer import NullObserver, Observer
from detector.pipeline.parts import PartsMaker, Setup
from detector.pipeline.pipeline import Pipeline
from detector.state.limits import TableLimits


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
    setup = Setup(
        bundle=bundle,
        engine=engine,
        tuning=tuning,
        zones=zones,
        limits=limits or TableLimits(),
        probe_engine=probe_engine,
    )
    return pipeline_of(setup, observer, outbox, metrics, writer)


def pipeline_of(
    setup: Setup,
    observer: Observer | None = None,
    outbox: Outbox | None = None,
    metrics: Metrics | None = None,
    writer: int = 0,
) -> Pipeline:
    """The same for a bundle as it is run."""
    outbox = Outbox() if outbox is None else outbox
    metrics = Metrics() if metrics is None else metrics
    return Pipeline(
        setup,
        PartsMaker(outbox, metrics, writer),
        outbox,
        metrics,
        NullObserver() if observer is None else observer,
    )


def alert_composer(bundle: Bundle, tuning: AlertTuning) -> AlertComposer:
    """What describes alerts of this bundle's streams."""
    manifest = bundle.manifest
    policy = alert_policy(
        tuning, manifest.tail, manifest.tick_interval, manifest.warm_up
    )
    return AlertComposer(bundle, policy)
