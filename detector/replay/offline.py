"""offline."""

from __future__ import annotations

from collections.abc import Callable

from detector.alerting.policy import alert_policy
from detector.dead_letters import NoDeadLetters
from detector.events import Alert
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine
from detector.model.settings import ModelSettings
from detector.notify.outbox import Outbox
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.sink import ScoreSink
from detector.recovery.snapshot import Restored
from detector.replay.chunks import PARTITION
from detector.settings.alerting import AlertingSettings


def offline_pipeline(
    bundle: Bundle,
    engine: Engine,
    alerting: AlertingSettings,
    on_alert: Callable[[Alert], None],
    sink: ScoreSink | None = None,
    metrics: Metrics | None = None,
    model: ModelSettings | None = None,
    probe_engine: Engine | None = None,
) -> Pipeline:
    """The daemon's pipeline with no daemon around it, one partition assigned: nothing
    is posted and nothing is kept.

    ``model`` says where streams live; without it they do where the bundle's did.
    """
    manifest = bundle.manifest
    rules = alert_policy(
        alerting.tuning(), manifest.tail, manifest.tick_interval, manifest.warm_up
    )
    counted = Metrics() if metrics is None else metrics
    zones = (model or ModelSettings()).zones(bundle)
    pipeline = Pipeline(
        bundle,
        engine,
        rules,
        Outbox(),
        counted,
        NoDeadLetters(),
        max_streams=1 << 40,
        on_alert=on_alert,
        sink=sink,
        zones=zones,
        probe_engine=probe_engine,
    )
    pipeline.assign(PARTITION, Restored((), (), 0))
    return pipeline
