"""The life of one daemon: start, run until it is asked to stop, drain, close.

A shutdown that overruns its deadline equals a kill: on restart, records are read again
from the last checkpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from detector.clock import Clock, SystemClock
from detector.compose import own_topics
from detector.daemon_parts import make_parts
from detector.errors import Transient
from detector.ingest.sources.kafka_membership import Membership
from detector.ingest.sources.kafka_python import KafkaSource
from detector.metrics import ControlCommand
from detector.ports import Source
from detector.recovery.store import Store
from detector.settings.load import Settings
from detector.shutdown import Cleanups, Deadline
from detector.web.control import Asked

_BROKER_RETRY: Final = 2.0  # seconds between attempts to reach a broker
# Shares of the deadline for a stop. The rest is for the store, the web server and the
# dead letters, which close at once.
_DRAIN_SHARE: Final = 0.25  # undelivered notifications
_CHECKPOINT_SHARE: Final = 0.5  # the last checkpoint
_LEAVE_SHARE: Final = 0.2  # leaving the group


class Daemon:
    """One daemon; two of them may live in one process.

    Raises ConfigError or BundleError. ``store`` replaces the one of the settings.
    ``load`` reads the settings again, for :meth:`reload`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        store: Store | None = None,
        load: Callable[[], Settings] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._parts = make_parts(settings, self._clock, store, load)
        self._stop = threading.Event()
        self._deadline = Deadline(self._clock, settings.shutdown_deadline)
        self._log = structlog.get_logger("daemon")

    def run(self) -> None:
        """Until :meth:`stop`.

        When it returns, everything is closed, within the deadline for a stop.
        """
        parts = self._parts
        with Cleanups() as cleanups:
            cleanups.add("store", self._close_store)
            cleanups.add("dead letters", parts.dead_letters.close)
            parts.reloader.start()
            cleanups.add("reload", parts.reloader.stop)
            parts.web.start()
            cleanups.add("web", parts.web.stop)
            parts.delivery.start()
            cleanups.add("delivery", self._stop_delivery)
            membership = self._membership()
            if membership is not None:
                cleanups.add("membership", membership.close)
            source = self._connect(membership)
            if source is not None:
                cleanups.add("source", lambda: self._leave(source))
                parts.loop.run(source, self._stop)
                self._drain(source, cleanups)
        self._log.info("stopped")

    def stop(self) -> None:
        """Ask it to drain, checkpoint and end; any thread, any number of times."""
        self._stop.set()

    def reload(self) -> None:
        """Read settings and bundle again; any thread. The log says what came of it."""
        self._parts.reloader.submit(ControlCommand.RELOAD, Asked())

    def _membership(self) -> Membership | None:
        """What is known of this place's member; a static member needs none."""
        kafka = self._settings.kafka
        if kafka.group_instance_id is not None:
            return None
        directory = self._settings.recovery.dead_letter_directory
        return Membership(directory, kafka.group_id)

    def _connect(self, membership: Membership | None) -> Source | None:
        """Wait for a broker; None if the daemon is to stop first."""
        loop = self._parts.loop
        is_logged = False
        while not self._stop.is_set():
            loop.health.last_turn = self._clock.monotonic()
            try:
                return KafkaSource(
                    self._settings.kafka,
                    loop.partitions,
                    own_topics(self._settings),
                    self._parts.metrics,
                    self._clock,
                    membership,
                )
            except Transient as error:
                if not is_logged:
                    self._log.warning(
                        "waiting_for_broker",
                        cause=str(error),
                        remedy="start it; `streamwarden check` says what keeps it away",
                    )
                is_logged = True
                self._stop.wait(_BROKER_RETRY)
        return None

    # -- the parts of a stop -----------------------------------------------------------

    def _drain(self, source: Source, cleanups: Cleanups) -> None:
        """Deliver first, then write the last checkpoint: it holds only what is left.

        The checkpoint is written whatever becomes of the delivery.
        """
        self._log.info("draining", notifications=len(self._parts.outbox))
        self._parts.loop.health.stopping = True
        try:
            cleanups.run("delivery", self._stop_delivery)
        finally:
            timeout = self._deadline.remaining(_CHECKPOINT_SHARE)
            self._parts.loop.finish(source, timeout)

    def _stop_delivery(self) -> None:
        self._parts.delivery.stop(self._deadline.remaining(_DRAIN_SHARE))

    def _leave(self, source: Source) -> None:
        source.close(self._deadline.remaining(_LEAVE_SHARE))

    def _close_store(self) -> None:
        self._parts.worker.close(self._deadline.remaining())
