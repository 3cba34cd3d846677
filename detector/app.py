"""Composition and lifecycle: the only module that names concrete adapters.

All that can fail by configuration happens before anything live is touched. Cleanups run
in reverse order under one deadline. What becomes of a stop that takes longer, or is cut
off, is the same as of a kill: it is read again from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable

import structlog

from detector.alerting.incident_rates import incident_rates
from detector.alerting.policy import fleet_thresholds
from detector.clock import Clock, SystemClock
from detector.compose import make_decoder, make_receivers, make_store, open_bundle
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.consumer.first_seen import FirstOccurrenceLog
from detector.dead_letters import DeadLetterFile
from detector.errors import ConfigError, DetectorError, Transient
from detector.history.incident_log import IncidentLog
from detector.ingest.sources.kafka_python import KafkaSource
from detector.metrics import Metrics
from detector.model.onnx_engine import OnnxEngine
from detector.notify.delivery import Delivery
from detector.notify.outbox import Outbox
from detector.notify.spill import SpillPolicy
from detector.pipeline.alert_log import AlertLog
from detector.pipeline.build import alert_composer, build_pipeline
from detector.pipeline.observer import Observers
from detector.recovery.store import Store
from detector.recovery.store_thread import StoreWorker
from detector.settings.load import Settings
from detector.web.endpoints import Endpoints
from detector.web.facts import facts_of
from detector.web.server import WebServer

_BROKER_RETRY = 2.0  # seconds between attempts to reach a broker that is not there yet
# shares of the deadline for a stop: notifications, the last checkpoint, leaving the
# group
_DRAIN_SHARE = 0.25
_CHECKPOINT_SHARE = 0.5
_LEAVE_SHARE = 0.2


class Daemon:
    """One daemon; two of them may live in one process. Raises ConfigError or
    BundleError when it is made.

    ``store`` is for who wants states kept elsewhere than the settings say.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, store: Store | None = None
    ) -> None:
        if not settings.kafka.topics:
            raise ConfigError(
                "DETECTOR_KAFKA__TOPICS is not set: name the input topics, or one ^regex"
            )
        self._settings = settings
        self._clock = clock or SystemClock()
        self._log = structlog.get_logger("daemon")
        self._stop = threading.Event()
        self._ends: float | None = None
        self._first = FirstOccurrenceLog()
        bundle = open_bundle(settings)
        manifest = bundle.manifest
        tuning = settings.alerting.tuning()
        runtime = OnnxEngine(bundle)
        zones = settings.model.zones(bundle)
        store = store or make_store(settings, self._clock)
        routing = settings.alerting.routing()
        receivers = make_receivers(settings, self._clock)
        self.metrics = Metrics(routing.receivers)
        thresholds = fleet_thresholds(tuning, manifest.tail)
        self.metrics.threshold.labels("warning").set(thresholds.warning)
        self.metrics.threshold.labels("critical").set(thresholds.critical)
        self.metrics.budget.set(settings.alerting.false_alarms_per_week)
        self.metrics.checkpoint_interval.set(settings.recovery.interval)
        writer = secrets.randbits(63)
        self._keeper = StoreWorker(store)
        spill = SpillPolicy(self._keeper, settings.alerting.queue_in_memory, writer)
        self._outbox = Outbox(routing, self._clock, spill)
        self._dead = DeadLetterFile(
            settings.recovery.dead_letter_directory / "dead-letters.ndjson",
            settings.kafka.dead_letter_bytes,
            settings.alerting.labelling(),
        )
        view = IncidentLog(
            settings.alerting.labelling(), alert_composer(bundle, tuning)
        )
        self._pipeline = build_pipeline(
            bundle,
            runtime,
            tuning,
            observer=Observers(self._dead, self._first, AlertLog(), view),
            outbox=self._outbox,
            metrics=self.metrics,
            max_streams=settings.model.max_streams,
            writer=writer,
            zones=zones,
            probe_engine=runtime,
        )
        decoder = make_decoder(bundle, settings, self._first.unknown_field)
        schedule = CheckpointSchedule(
            settings.recovery.interval, settings.model.evict_after
        )
        self._loop = build_loop(
            bundle,
            self._pipeline,
            decoder.decode,
            self._keeper,
            self.metrics,
            self._clock,
            LoopSettings(settings.kafka.max_poll_records, schedule),
        )
        self._delivery = Delivery(
            self._outbox, receivers, self._dead, settings.alerting.retry(), self.metrics
        )
        self.web = WebServer(
            settings.web.address,
            Endpoints(
                self.metrics,
                self._loop.vitals,
                view,
                facts_of(bundle, settings.alerting.false_alarms_per_week, thresholds),
                self._clock,
                self._refresh,
            ),
        )
        self._log.info(
            "starting",
            bundle=f"{manifest.name} {manifest.version}",
            features="any" if manifest.each_metric else len(manifest.features),
            receivers=",".join(
                f"{r.name}@{r.host}" for r in settings.alerting.destinations()
            )
            or "none",
            false_alarms_per_week=settings.alerting.false_alarms_per_week,
            fleet_level=round(thresholds.warning, 3),
            tick=manifest.tick_interval,
        )

    def run(self) -> None:
        """Until :meth:`stop`. Everything is closed when it returns, within the deadline
        for a stop.
        """
        with contextlib.ExitStack() as cleanups:
            cleanups.callback(
                self._run_cleanup,
                "store",
                lambda: self._keeper.close(self._remaining()),
            )
            cleanups.callback(self._run_cleanup, "dead letters", self._dead.close)
            self.web.start()
            cleanups.callback(self._run_cleanup, "web", self.web.stop)
            self._delivery.start()
            cleanups.callback(
                self._run_cleanup,
                "delivery",
                lambda: self._delivery.stop(self._remaining(_DRAIN_SHARE)),
            )
            source = self._connect()
            if source is not None:
                cleanups.callback(
                    self._run_cleanup,
                    "source",
                    lambda: source.close(self._remaining(_LEAVE_SHARE)),
                )
                self._loop.run(source, self._stop)
                self._drain(source)
        self._log.info("stopped")

    def _drain(self, source: KafkaSource) -> None:
        """Deliver what can be delivered before the last checkpoint, which then leaves
        it out: the next start repeats less.
        """
        self._remaining()
        self._log.info("draining", notifications=len(self._outbox))
        self._loop.vitals.stopping = True
        try:
            self._run_cleanup(
                "delivery", lambda: self._delivery.stop(self._remaining(_DRAIN_SHARE))
            )
        finally:
            self._loop.finish(source, self._remaining(_CHECKPOINT_SHARE))

    def _remaining(self, share: float = 1.0) -> float:
        """Seconds that one part of the stop may take: at most its share of the
        deadline, and never more than is left of the whole.
        """
        deadline = self._settings.shutdown_deadline
        if self._ends is None:
            self._ends = self._clock.monotonic() + deadline
        return max(0.1, min(share * deadline, self._ends - self._clock.monotonic()))

    def stop(self) -> None:
        """Ask it to drain, checkpoint and end; any thread, any number of times."""
        self._stop.set()

    def _connect(self) -> KafkaSource | None:
        """Waits for a broker that is not there yet; None if told to stop first."""
        said = False
        while not self._stop.is_set():
            self._loop.vitals.last_turn = self._clock.monotonic()
            try:
                return KafkaSource(
                    self._settings.kafka,
                    self._loop.partitions,
                    self._settings.recovery.topic,
                )
            except Transient as error:
                if not said:
                    self._log.warning("waiting_for_broker", cause=str(error))
                said = True
                self._stop.wait(_BROKER_RETRY)
        return None

    def _refresh(self) -> None:
        """Gauges that are read and not counted, when they are asked for."""
        self.metrics.checkpoint_age.set(self._loop.checkpoints.age())
        self.metrics.waiting.set(len(self._outbox))
        self.metrics.spilled.set(self._outbox.in_segments())
        found = incident_rates(self._pipeline.table.decisions)
        for name, rate in {"mean": found.mean, **found.shares}.items():
            self.metrics.rate.labels(name).set(rate)

    def _run_cleanup(self, what: str, cleanup: Callable[[], None]) -> None:
        """One part of a stop. A disk that is full or a broker that is away is logged:
        what was not checkpointed is read again at the next start.

        Anything else is a fault of ours and ends the command with its trace, once the
        other parts are closed.
        """
        try:
            cleanup()
        except (DetectorError, OSError) as error:
            self._log.error(
                "cleanup_failed", part=what, cause=f"{type(error).__name__}: {error}"
            )
