"""What ``/api/v1/status`` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from detector.alerting.incident_rates import FleetRates
from detector.alerting.policy import FleetThresholds
from detector.alerting.wording import fleet_in_words
from detector.model.bundle import Bundle, Feature
from detector.state.census import PrefixCount

#: Results of a command, as metrics and the status have them.
APPLIED: Final = "applied"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class BundleName:
    """Which bundle it is; ``digest`` names its content."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class LastCommand:
    """The last command, whoever gave it; ``at`` in epoch seconds."""

    command: str
    result: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class ShadowFacts:
    """The bundle in shadow; ``since`` in epoch seconds."""

    bundle: BundleName
    since: float


@dataclass(frozen=True, slots=True)
class ControlState:
    """What was changed since the start, as ``/api/v1/status`` says it.

    Attributes:
        last: None if nothing was asked for yet.
        shadow: None if no bundle runs in shadow.
        shadow_fault: why the last shadow ended by itself, or "".
        at_restart: settings that a restart would run with other values than now.
    """

    last: LastCommand | None = None
    shadow: ShadowFacts | None = None
    shadow_fault: str = ""
    at_restart: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The bundle in force, and what it was asked for.

    Attributes:
        features: names and units of the bundle's metrics.
        false_alarms_per_week: the budget of each stream.
        tick_interval: seconds between points, as in training.
        thresholds: the fleet's, at that interval.
    """

    bundle: BundleName
    features: tuple[Feature, ...]
    false_alarms_per_week: float
    tick_interval: float
    thresholds: FleetThresholds


@dataclass(frozen=True, slots=True)
class Fleet:
    """The streams in memory, all together.

    Attributes:
        streams: how many there are.
        false_alarms_per_week: their budget.
        incidents_per_week: true and false ones; None until a stream has a day of
            points.
        in_words: all of it, as a sentence.
        prefixes: how many streams there are of the largest prefixes, idle ones
            included.
    """

    streams: int
    false_alarms_per_week: float
    incidents_per_week: float | None
    in_words: str
    prefixes: tuple[PrefixCount, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetNow:
    """What the streams raise, and what they are called."""

    rates: FleetRates
    prefixes: tuple[PrefixCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Status(Facts):
    """The answer of ``/api/v1/status``."""

    fleet: Fleet
    control: ControlState = field(default_factory=ControlState)


def status_of(
    facts: Facts, now: FleetNow, control: ControlState | None = None
) -> Status:
    """The facts, and what the budget means for the streams that there are now."""
    rates = now.rates
    return Status(
        bundle=facts.bundle,
        features=facts.features,
        false_alarms_per_week=facts.false_alarms_per_week,
        tick_interval=facts.tick_interval,
        thresholds=facts.thresholds,
        fleet=Fleet(
            streams=rates.streams,
            false_alarms_per_week=rates.false_alarms_per_week,
            incidents_per_week=rates.incidents_per_week,
            in_words=fleet_in_words(rates, "so far"),
            prefixes=now.prefixes,
        ),
        control=control or ControlState(),
    )


def facts_of(bundle: Bundle, budget: float, thresholds: FleetThresholds) -> Facts:
    """The facts of a daemon that runs this bundle with this budget."""
    manifest = bundle.manifest
    return Facts(
        bundle=BundleName(manifest.name, manifest.version, bundle.digest),
        features=manifest.features,
        false_alarms_per_week=budget,
        tick_interval=manifest.tick_interval,
        thresholds=thresholds,
    )
