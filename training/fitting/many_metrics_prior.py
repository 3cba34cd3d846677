"""What is known of the score of many metrics before any incident is counted.

That score is in units of each stream's own past: 0 is its median, 2 the 99th percentile
(:mod:`training.models.multivariate`). So its tail is much the same on every fleet, per
point (docs/experiments/short-histories.md). A short history has minutes of calibration
rows for each stream. Alone they say little of what comes once a week.
"""

from __future__ import annotations

import math

from detector.model.tail import TailFit
from detector.timestamps import WEEK
from training.fitting.calibrate import EVIDENCE, Prior

# Incidents a point at these scores, and the change of ln(rate) per unit of score beyond
# the last. Rounded from two made fleets with ticks of 1 s and 10 s; four fleets with
# ticks of a minute and more have about the same (docs/experiments/short-histories.md).
_COUNTED = ((1.0, 10**-2), (2.0, 10**-2.5))
_SLOPE = -1.7

# Scores between which the prior has a threshold each quarter. The last is reached once
# in 300,000 points.
_LADDER = (2.0, 6.0)
_STEP = 0.25

# Points that the prior counts as: EVIDENCE incidents of one in a thousand are seen in
# them. Twelve hosts by the minute have twice as many in a day.
_POINTS = 1000.0 * EVIDENCE


def many_metrics_prior(tick: float) -> Prior:
    """For a fleet with a point every ``tick`` seconds."""
    points = WEEK / tick
    counted = [(score, rate * points) for score, rate in _COUNTED]
    last, rate = counted[-1]
    lowest, highest = _LADDER
    steps = round((highest - lowest) / _STEP)
    beyond = [
        (last + k * _STEP, rate * math.exp(_SLOPE * k * _STEP))
        for k in range(1, steps + 1)
    ]
    thresholds, rates = zip(*counted, *beyond, strict=True)
    tail = TailFit(thresholds, rates, _SLOPE, 0.0)
    return Prior(tail, tick, _POINTS / points)
