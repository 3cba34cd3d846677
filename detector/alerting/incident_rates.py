"""Incidents a week, stream by stream: how the false-alarm budget turned out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import SHARES
from detector.state.decisions import DecisionState
from detector.timestamps import DAY, WEEK

# Seconds after which a stream's own rate means something: one daily pattern.
_MIN_OBSERVED = DAY


@dataclass(frozen=True, slots=True)
class IncidentRates:
    """Incidents a week; true and false ones alike, since nobody labels them.

    Attributes:
        streams: how many were observed for at least a day. Only these count.
        mean: incidents over stream-weeks, of all of them together.
        shares: by name of :data:`~detector.events.SHARES`, the rate that this share of
            the streams stays under.
    """

    streams: int
    mean: float
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class FleetRates:
    """What all streams together may raise, and what they do raise.

    Attributes:
        streams: how many there are.
        false_alarms_per_week: their budget, all together.
        incidents_per_week: true and false ones, at the mean rate of the streams that
            were observed for at least a day; None if there is none yet.
    """

    streams: int
    false_alarms_per_week: float
    incidents_per_week: float | None


def fleet_rates(streams: int, budget: float, rates: IncidentRates) -> FleetRates:
    """The rates of ``streams`` streams, each with ``budget`` false alarms a week."""
    return FleetRates(
        streams=streams,
        false_alarms_per_week=streams * budget,
        incidents_per_week=streams * rates.mean if rates.streams else None,
    )


def incident_rates(rows: DecisionState) -> IncidentRates:
    """The rates of any decision rows, DECISION [N]."""
    observed = rows["observed_seconds"]
    counts = observed >= _MIN_OBSERVED
    if not counts.any():
        return IncidentRates(0, 0.0, dict.fromkeys(SHARES, 0.0))
    weeks = observed[counts] / WEEK
    incidents = rows["incidents"][counts]
    quantiles = np.quantile(incidents / weeks, list(SHARES.values()))
    return IncidentRates(
        streams=int(counts.sum()),
        mean=float(incidents.sum() / weeks.sum()),
        shares=dict(zip(SHARES, quantiles.tolist(), strict=True)),
    )
