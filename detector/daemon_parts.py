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

from detector import log
from detector.alerting.incident_rates import fleet_rates, incident_rates
from detector.alerting.policy import FleetThresholds, fleet_thresholds
from detector.clock import Clock
from detector.compose import (
    check_topics,
    make_store,
)
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.first_seen import FirstOccurrenceLog
from detector.consumer.loop import Loop
from detector.dead_letters.file import FILE_NAME, DeadLetterFile
from detector.dead_letters.places import DeadLetterPlaces, LettersFirst
from detector.dead_letters.topic import DeadLetterTopic
from detector.history.incident_log import IncidentLog
from detector.metrics import MOST_PREFIXES, Metrics
from detector.notify.delivery import Delivery
from detector.notify.outbox import Outbox
from detector.notify.spill import SpillPolicy
from detector.pipeline.alert_log import AlertLog
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.build import pipeline_of
from detector.pipeline.observer import Observers
from detector.pipeline.parts import Setup
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.shadow import Beside
from detector.recovery.store import Store
from detector.recovery.store_thread import StoreWorker
from detector.reload.prepare import Prepared, Preparer, schedule_of
from detector.reload.reloader import Reloader
from detector.settings.load import Settings
from detector.web.control import ControlEndpoints
from detector.web.endpoints import Endpoints
from detector.web.facts import ControlState, FleetNow, Status, facts_of, status_of
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
    reloader: Reloader


def make_parts(
    settings: Settings,
    clock: Clock,
    store: Store | None = None,
    load: Callable[[], Settings] | None = None,
) -> Parts:
    """Raises ConfigError or BundleError, and leaves nothing open then.

    ``store`` replaces the configured one. ``load`` reads the settings again.
    """
    check_topics(settings)
    first_seen = FirstOccurrenceLog()
    preparer = Preparer(first_seen, clock)
    prepared = preparer.prepare(settings)
    shadow = preparer.configured_shadow(prepared)
    with contextlib.ExitStack() as on_fault:
        metrics = Metrics(settings.alerting.routing().receivers)
        dead_letters = _make_dead_letters(settings, metrics)
        on_fault.callback(dead_letters.close)
        kept = store or make_store(settings, clock)
        worker = StoreWorker(LettersFirst(kept, dead_letters))
        on_fault.callback(worker.close, _CLOSE)
        core = _make_core(prepared, clock, dead_letters, first_seen, metrics, worker)
        reloader = Reloader(
            prepared,
            preparer,
            load or (lambda: settings),
            core.loop.boundary,
            core.changed,
            metrics,
            clock,
        )
        parts = _assemble(core, prepared, clock, dead_letters, worker, reloader)
        on_fault.pop_all()
    if shadow is not None:
        boundary = core.loop.boundary
        boundary.changes.submit(lambda: boundary.shadow(shadow))
    _log_start(prepared)
    return parts


@dataclass(frozen=True, slots=True)
class _Core:
    """What scores, and what follows from the setup in force."""

    pipeline: Pipeline
    loop: Loop
    outbox: Outbox
    delivery: Delivery
    incidents: IncidentLog
    metrics: Metrics

    def changed(self, before: Prepared, prepared: Prepared) -> None:
        """Another configuration is in force."""
        self.incidents.use(AlertComposer(prepared.setup.bundle, prepared.setup.policy))
        _set_metrics(self.metrics, prepared)
        outgoing = prepared.outgoing
        if outgoing is not before.outgoing:
            self.outbox.reroute(outgoing.routing)
            self.delivery.use(outgoing.receivers, outgoing.retry)
        wanted = prepared.settings.log
        if wanted != before.settings.log:
            log.configure(wanted.format, wanted.level)

    def status(self, control: ControlState) -> Status:
        """What is in force now. Evicted streams are idle and raise no alarm."""
        setup = self.pipeline.parts.setup
        budget = setup.tuning.false_alarms_per_week
        table = self.pipeline.table
        found = incident_rates(table.decisions)
        rates = fleet_rates(table.streams, budget, found)
        now = FleetNow(rates, tuple(table.census.largest(MOST_PREFIXES)))
        facts = facts_of(setup.bundle, budget, thresholds_of(setup))
        return status_of(facts, now, control)


def _make_core(
    prepared: Prepared,
    clock: Clock,
    dead_letters: DeadLetterPlaces,
    first_seen: FirstOccurrenceLog,
    metrics: Metrics,
    worker: StoreWorker,
) -> _Core:
    settings = prepared.settings
    setup = prepared.setup
    _set_metrics(metrics, prepared)
    writer = secrets.randbits(63)
    spill = SpillPolicy(worker, settings.alerting.queue_in_memory, writer)
    outgoing = prepared.outgoing
    outbox = Outbox(outgoing.routing, clock, spill)
    delivery = Delivery(
        outbox, outgoing.receivers, dead_letters, outgoing.retry, metrics
    )
    composer = AlertComposer(setup.bundle, setup.policy)
    incidents = IncidentLog(settings.alerting.labelling(), composer)
    beside = Beside(metrics, clock)
    observer = Observers(dead_letters, first_seen, AlertLog(), incidents, beside)
    pipeline = pipeline_of(setup, observer, outbox, metrics, writer)
    pipeline.backlog.limit = settings.alerting.backlog_after
    loop_settings = LoopSettings(
        settings.kafka.max_poll_records,
        schedule_of(settings),
        settings.recovery.keep,
        settings.recovery.warm_up,
    )
    loop = build_loop(
        pipeline,
        prepared.decode,
        worker,
        metrics,
        clock,
        loop_settings,
        beside,
    )
    return _Core(pipeline, loop, outbox, delivery, incidents, metrics)


def _assemble(
    core: _Core,
    prepared: Prepared,
    clock: Clock,
    dead_letters: DeadLetterPlaces,
    worker: StoreWorker,
    reloader: Reloader,
) -> Parts:
    settings = prepared.settings
    metrics = core.metrics
    outbox = core.outbox
    endpoints = Endpoints(
        metrics,
        core.loop.health,
        core.incidents,
        clock,
        _refresher(metrics, core.loop, outbox, core.pipeline),
        lambda: core.status(reloader.state()),
    )
    token = settings.web.token
    secret = None if token is None else token.get_secret_value()
    control = ControlEndpoints(reloader, secret)
    web = WebServer(settings.web.address, endpoints, control)
    return Parts(
        worker,
        dead_letters,
        outbox,
        core.delivery,
        core.loop,
        web,
        metrics,
        reloader,
    )


def thresholds_of(setup: Setup) -> FleetThresholds:
    """Those of the budget, at the bundle's tick."""
    return fleet_thresholds(setup.tuning, setup.bundle.manifest.tail)


def _set_metrics(metrics: Metrics, prepared: Prepared) -> None:
    """The gauges that say what was configured."""
    settings = prepared.settings
    thresholds = thresholds_of(prepared.setup)
    metrics.threshold.labels("warning").set(thresholds.warning)
    metrics.threshold.labels("critical").set(thresholds.critical)
    metrics.budget.set(settings.alerting.stream_budget())
    metrics.fleet_streams.set(settings.alerting.fleet_streams or math.nan)
    metrics.checkpoint_interval.set(settings.recovery.interval)


def _make_dead_letters(settings: Settings, metrics: Metrics) -> DeadLetterPlaces:
    file = DeadLetterFile(
        settings.recovery.dead_letter_directory / FILE_NAME,
        settings.kafka.dead_letter_bytes,
        settings.alerting.labelling(),
        metrics,
    )
    name = settings.recovery.dead_letter_topic
    topic = DeadLetterTopic(settings.kafka, name, metrics) if name else None
    return DeadLetterPlaces(file, topic)


def _refresher(
    metrics: Metrics, loop: Loop, outbox: Outbox, pipeline: Pipeline
) -> Callable[[], None]:
    """Sets the gauges that are read on demand and not counted."""

    def refresh() -> None:
        metrics.checkpoint_age.set(loop.checkpoints.age())
        metrics.waiting.set(len(outbox))
        metrics.spilled.set(outbox.in_segments())
        metrics.backlog_partitions.set(len(pipeline.backlog))
        rates = incident_rates(pipeline.table.decisions)
        metrics.rate.labels("mean").set(rates.mean)
        for name, rate in rates.shares.items():
            metrics.rate.labels(name).set(rate)
        metrics.prefixes.clear()
        for count in pipeline.table.census.largest(MOST_PREFIXES):
            metrics.prefixes.labels(count.prefix).set(count.streams)

    return refresh


def _log_start(prepared: Prepared) -> None:
    settings = prepared.settings
    manifest = prepared.setup.bundle.manifest
    receivers = [f"{r.name}@{r.host}" for r in settings.alerting.destinations()]
    structlog.get_logger("daemon").info(
        "starting",
        bundle=f"{manifest.name} {manifest.version}",
        features="any" if manifest.each_metric else len(manifest.features),
        receivers=",".join(receivers) or "none",
        false_alarms_per_week=settings.alerting.stream_budget(),
        fleet_threshold=round(thresholds_of(prepared.setup).warning, 3),
        tick=manifest.tick_interval,
    )
