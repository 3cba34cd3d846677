"""Phase one: all that can fail of another configuration, beside the one in force.

The bundle is read, verified and run once. The settings that detection depends on become
thresholds, zones and a decoder. What comes out is a value; nothing that runs has
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from detector.clock import Clock
from detector.compose import (
    check_own_topics,
    make_decoder,
    make_receivers,
    open_bundle,
    receivers_alike,
)
from detector.consumer.boundary import Configuration, check_takes_over
from detector.consumer.checkpoints import CheckpointSchedule
from detector.consumer.first_seen import FirstOccurrenceLog
from detector.consumer.poller import Decode
from detector.ingest.framing.registry_requests import PATIENCE
from detector.model.onnx_engine import OnnxEngine
from detector.notify.delivery import RetryPolicy
from detector.notify.receiver import Receiver
from detector.notify.routes import Routing
from detector.pipeline.parts import Setup
from detector.pipeline.scoring import BATCH
from detector.settings.load import Settings
from detector.state.limits import TableLimits


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where notifications go.

    Attributes:
        routing: who gets which alerts.
        receivers: by name.
        retry: when a post is tried again.
    """

    routing: Routing
    receivers: Mapping[str, Receiver]
    retry: RetryPolicy


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that can come in force.

    Attributes:
        settings: what it was made of.
        setup: its bundle as it is run.
        decode: of records.
        outgoing: where notifications go.
    """

    settings: Settings
    setup: Setup
    decode: Decode
    outgoing: Outgoing

    def configuration(self) -> Configuration:
        """What the loop is handed."""
        return Configuration(
            self.setup,
            self.decode,
            self.settings.kafka.max_poll_records,
            schedule_of(self.settings),
        )

    def with_bundle_of(self, other: Setup) -> Prepared:
        """The same settings, but for the bundle."""
        settings = with_bundle(self.settings, other.bundle.path)
        return replace(self, settings=settings, setup=other)


def schedule_of(settings: Settings) -> CheckpointSchedule:
    """When checkpoints are written."""
    interval = settings.recovery.interval
    return CheckpointSchedule(interval, settings.model.evict_after)


def with_bundle(settings: Settings, bundle: Path) -> Settings:
    """The same settings with another bundle, and none in shadow."""
    model = settings.model.model_copy(update={"bundle": bundle, "shadow": None})
    return settings.model_copy(update={"model": model})


class Preparer:
    """Makes configurations from settings."""

    def __init__(self, first_seen: FirstOccurrenceLog, clock: Clock) -> None:
        self._first_seen = first_seen
        self._clock = clock

    def prepare(self, settings: Settings, live: Prepared | None = None) -> Prepared:
        """Raises ConfigError or BundleError, with the remedy.

        Receivers of ``live``, which is in force, go on if their settings are equal:
        some know the messages of open incidents.
        """
        check_own_topics(settings)
        setup = self._setup(settings)
        unknown_field = self._first_seen.unknown_field
        decoder = make_decoder(
            setup.bundle,
            settings,
            unknown_field,
            self._clock,
            PATIENCE,
        )
        alerting = settings.alerting
        outgoing = Outgoing(
            alerting.routing(),
            make_receivers(settings, self._clock, _kept(settings, live)),
            alerting.retry(),
        )
        return Prepared(settings, setup, decoder.decode, outgoing)

    def shadow(self, live: Prepared, bundle: Path) -> Setup:
        """A bundle that may score beside that of ``live``, under the same settings.

        Raises as :meth:`prepare` does.
        """
        setup = self._setup(with_bundle(live.settings, bundle))
        check_takes_over(setup.bundle, live.setup.bundle)
        return setup

    def configured_shadow(self, live: Prepared) -> Setup | None:
        """The shadow that the settings of ``live`` name; None if they name none."""
        path = live.settings.model.shadow
        return None if path is None else self.shadow(live, path)

    def _setup(self, settings: Settings) -> Setup:
        bundle = open_bundle(settings)
        engine = OnnxEngine(bundle)
        engine.try_out(bundle, BATCH)
        model = settings.model
        setup = Setup(
            bundle=bundle,
            engine=engine,
            tuning=settings.alerting.tuning(),
            zones=model.zones(bundle),
            limits=TableLimits(
                model.max_streams, model.max_newcomers, model.expire_after
            ),
            probe_engine=engine,
        )
        setup.initial_states  # noqa: B018 - computed here, and not while the loop waits
        return setup


def _kept(settings: Settings, live: Prepared | None) -> dict[str, Receiver]:
    """The receivers in force that ``settings`` leave as they are."""
    if live is None:
        return {}
    names = receivers_alike(live.settings, settings)
    return {name: live.outgoing.receivers[name] for name in names}
