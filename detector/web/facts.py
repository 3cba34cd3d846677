"""What does not change while a daemon runs: its bundle and what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from detector.alerting.policy import FleetThresholds
from detector.model.bundle import Bundle, Feature


@dataclass(frozen=True, slots=True)
class BundleName:
    """Which bundle it is; ``digest`` names its content."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The answer of ``/api/v1/status``.

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
