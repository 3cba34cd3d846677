"""The parts of one daemon, from its settings: the only module that names them all.

Everything that can fail by configuration fails here, before anything live is touched.
"""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from detector.alerting.incident_rates import fleet_rates, incident_rates
from detector.alerting.policy import FleetThresholds, fleet_thresholds
from detector.clock import Clock
from detector.compose import (
    check_own_topics,
    check_topics,
    make_decoder,
    make_receivers,
    make_store,
    open_bundle,
)
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.consumer.first_seen import FirstOccurrenceLog
from detector.consumer.loop import Loop
from detector.dead_letters.file import FILE_NAME, DeadLetterFile
from detector.dead_letters.places import DeadLetterPlaces, LettersFirst
from detector.dead_letters.topic import DeadLetterTopic
from detector.history.incident_log import IncidentLog
from detector.metrics import MOST_PREFIXES, Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.delivery import Delivery
from detector.notify.outbox import Outbox
from detector.notify.spill import SpillPolicy
from detector.pipeline.alert_log import AlertLog
from detector.pipeline.build import alert_composer, build_pipeline
from detector.pipeline.observer import Observer, Observers
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.shadow import Beside
from detector.recovery.store import Store
from detector.recovery.store_thread import StoreWorker
from detector.settings.load import Settings
from detector.state.limits import TableLimits
from detector.web.endpoints import Endpoints
from detector.web.facts import FleetNow, facts_of
from detector.web.server import WebServer

_CLOSE = 5.0  # seconds for the store's thread to end if another part can't be made


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon starts and stops."""

    worker: StoreWorker
    dead_letters: DeadLetterPlaces
    outbox: Outbox
    delivery: Delivery
    loop: Loop
    web: WebServer
    metrics: Metrics


def make_parts(settings: Settings, clock: Clock, store: Store | None = None) -> Parts:
    """Raises ConfigError or BundleError, and leaves nothing open then.

    ``store`` replaces the configured one.
    """
    check_topics(settings)
    bundle = open_bundle(settings)
    with contextlib.ExitStack() as on_fault:
        metrics = Metrics(settings.alerting.routing().receivers)
        dead_letters = _make_dead_letters(settings, metrics)
        on_fault.callback(dead_letters.close)
        kept = store or make_store(settings, clock)
        worker = StoreWorker(LettersFirst(kept, dead_letters))
        on_fault.callback(worker.close, _CLOSE)
        parts = _assemble(settings, clock, bundle, dead_letters, metrics, worker)
        on_fault.pop_all()
    return parts


def _assemble(
    settings: Settings,
    clock: Clock,
    bundle: Bundle,
    dead_letters: DeadLetterPlaces,
    metrics: Metrics,
    worker: StoreWorker,
) -> Parts:
    thresholds = fleet_thresholds(settings.alerting.tuning(), bundle.manifest.tail)
    receivers = make_receivers(settings, clock)
    _set_metrics(metrics, settings, thresholds)
    writer = secrets.randbits(63)
    spill = SpillPolicy(worker, settings.alerting.queue_in_memory, writer)
    outbox = Outbox(settings.alerting.routing(), clock, spill)
    first_seen = FirstOccurrenceLog()
    incidents = _make_incident_log(settings, bundle)
    beside = Beside(metrics, clock)
    observer = Observers(dead_letters, first_seen, AlertLog(), incidents, beside)
    pipeline = _make_pipeline(settings, bundle, outbox, metrics, observer, writer)
    loop = build_loop(
        pipeline,
        make_decoder(bundle, settings, first_seen.unknown_field, clock).decode,
        worker,
        metrics,
        clock,
        _loop_settings(settings),
        beside,
    )
    retry = settings.alerting.retry()
    delivery = Delivery(outbox, receivers, dead_letters, retry, metrics)
    endpoints = Endpoints(
        metrics,
        loop.health,
        incidents,
        facts_of(bundle, settings.alerting.stream_budget(), thresholds),
        clock,
        _refresher(metrics, loop, outbox, pipeline),
        _fleet(pipeline, settings),
    )
    web = WebServer(settings.web.address, endpoints)
    _log_start(settings, bundle, thresholds)
    return Parts(worker, dead_letters, outbox, delivery, loop, web, metrics)


def _set_metrics(
    metrics: Metrics, settings: Settings, thresholds: FleetThresholds
) -> None:
    """The gauges that say what was configured."""
    metrics.threshold.labels("warning").set(thresholds.warning)
    metrics.threshold.labels("critical").set(thresholds.critical)
    metrics.budget.set(settings.alerting.stream_budget())
    metrics.fleet_streams.set(settings.alerting.fleet_streams or math.nan)
    metrics.checkpoint_interval.set(settings.recovery.interval)


def _make_dead_letters(settings: Settings, metrics: Metrics) -> DeadLetterPlaces:
    check_own_topics(settings)
    file = DeadLetterFile(
        settings.recovery.dead_letter_directory / FILE_NAME,
        settings.kafka.dead_letter_bytes,
        settings.alerting.labelling(),
        metrics,
    )
    name = settings.recovery.dead_letter_topic
    topic = DeadLetterTopic(settings.kafka, name, metrics) if name else None
    return DeadLetterPlaces(file, topic)


def _make_incident_log(settings: Settings, bundle: Bundle) -> IncidentLog:
    composer = alert_composer(bundle, settings.alerting.tuning())
    return IncidentLog(settings.alerting.labelling(), composer)


def _make_pipeline(
    settings: Settings,
    bundle: Bundle,
    outbox: Outbox,
    metrics: Metrics,
    observer: Observer,
    writer: int,
) -> Pipeline:
    engine = OnnxEngine(bundle)
    return build_pipeline(
        bundle,
        engine,
        settings.alerting.tuning(),
        observer=observer,
        outbox=outbox,
        metrics=metrics,
        limits=_limits(settings),
        writer=writer,
        zones=settings.model.zones(bundle),
        probe_engine=engine,
    )


def _limits(settings: Settings) -> TableLimits:
    model = settings.model
    return TableLimits(model.max_streams, model.max_newcomers, model.expire_after)


def _loop_settings(settings: Settings) -> LoopSettings:
    interval = settings.recovery.interval
    schedule = CheckpointSchedule(interval, settings.model.evict_after)
    return LoopSettings(
        settings.kafka.max_poll_records,
        schedule,
        settings.recovery.keep,
        settings.recovery.warm_up,
    )


def _refresher(
    metrics: Metrics, loop: Loop, outbox: Outbox, pipeline: Pipeline
) -> Callable[[], None]:
    """Sets the gauges that are read on demand and not counted."""

    def refresh() -> None:
        metrics.checkpoint_age.set(loop.checkpoints.age())
        metrics.waiting.set(len(outbox))
        metrics.spilled.set(outbox.in_segments())
        rates = incident_rates(pipeline.table.decisions)
        metrics.rate.labels("mean").set(rates.mean)
        for name, rate in rates.shares.items():
            metrics.rate.labels(name).set(rate)
        metrics.prefixes.clear()
        for count in pipeline.table.census.largest(MOST_PREFIXES):
            metrics.prefixes.labels(count.prefix).set(count.streams)

    return refresh


def _fleet(pipeline: Pipeline, settings: Settings) -> Callable[[], FleetNow]:
    """Reads the streams in memory. Evicted ones are idle and raise no alarm."""
    budget = settings.alerting.stream_budget()

    def read() -> FleetNow:
        table = pipeline.table
        found = incident_rates(table.decisions)
        rates = fleet_rates(table.streams, budget, found)
        return FleetNow(rates, tuple(table.census.largest(MOST_PREFIXES)))

    return read


def _log_start(settings: Settings, bundle: Bundle, thresholds: FleetThresholds) -> None:
    manifest = bundle.manifest
    receivers = [f"{r.name}@{r.host}" for r in settings.alerting.destinations()]
    structlog.get_logger("daemon").info(
        "starting",
        bundle=f"{manifest.name} {manifest.version}",
        features="any" if manifest.each_metric else len(manifest.features),
        receivers=",".join(receivers) or "none",
        false_alarms_per_week=settings.alerting.stream_budget(),
        fleet_threshold=round(thresholds.warning, 3),
        tick=manifest.tick_interval,
    )
