"""The daemon's pipeline without a daemon: nothing is posted, and nothing is kept."""

from __future__ import annotations

from detector.alerting.policy import AlertTuning
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine
from detector.model.settings import ModelSettings
from detector.pipeline.build import build_pipeline
from detector.pipeline.observer import Observer
from detector.pipeline.pipeline import Pipeline
from detector.recovery.snapshot import Restored
from detector.replay.chunks import PARTITION


def offline_pipeline(
    bundle: Bundle,
    engine: Engine,
    tuning: AlertTuning,
    observer: Observer,
    *,
    metrics: Metrics | None = None,
    model: ModelSettings | None = None,
    probe_engine: Engine | None = None,
) -> Pipeline:
    """A pipeline with one partition, :data:`PARTITION`, and no limit on streams.

    ``model`` says which time zones streams follow; without it they follow the bundle's.
    """
    pipeline = build_pipeline(
        bundle,
        engine,
        tuning,
        observer=observer,
        metrics=metrics,
        zones=(model or ModelSettings()).zones(bundle),
        probe_engine=probe_engine,
    )
    pipeline.assign(PARTITION, Restored((), (), 0))
    return pipeline
