"""The false-alarm budget as it turned out: incidents a week, stream by stream, from the
decision rows themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import SHARES
from detector.state.decisions import DecisionState
from detector.timestamps import DAY, WEEK

_WATCHED = DAY  # seconds after which a stream's own rate means something


@dataclass(frozen=True, slots=True)
class IncidentRates:
    """Incidents a week, true and false ones alike: nobody tells the daemon which were
    which.

    Attributes:
        streams: how many were watched for a day at least, and are counted.
        mean: of all of them together: incidents over stream-weeks.
        shares: by name of :data:`SHARES`, the rate that this share of the streams stays
            under.
    """

    streams: int
    mean: float
    shares: dict[str, float]


def incident_rates(rows: DecisionState) -> IncidentRates:
    """Of any decision rows [N]."""
    watched = rows["observed_seconds"]
    incidents = rows["incidents"]
    known = watched >= _WATCHED
    if not known.any():
        return IncidentRates(0, 0.0, dict.fromkeys(SHARES, 0.0))
    weeks = watched[known] / WEEK
    each = np.quantile(incidents[known] / weeks, list(SHARES.values()))
    return IncidentRates(
        int(known.sum()),
        float(incidents[known].sum() / weeks.sum()),
        dict(zip(SHARES, each.tolist(), strict=True)),
    )
