"""What keeps the incidents of a stream apart, and what ends them, in time.

Theory of operation. The same small disturbance often returns soon, so the next small
incident waits for a *pause*. A smoothed score may dip, so an incident ends only after a
*calm*. Incidents that follow each other within an hour of ticks are one that *flaps*.
All three are counted in the stream's own ticks. But none is longer than the limit that
the budget sets, a quarter of its mean interval. On slow ticks they would otherwise be
most of a week: six ticks of an hour, and twelve after them, are longer than a budget of
ten a week lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import SHORTEST_TICK, min_gap
from detector.events import F64

#: Ticks from the last score over the clearing threshold to the end of an incident. By
#: judgement: a score that is smoothed over some points may dip for as long.
CALM_TICKS = 6

# Ticks. Incidents that are no further apart follow each other closely, and as much calm
# ends one that flaps. By judgement: an hour of minutes is an end.
_FLAPPING_TICKS = 60


@dataclass(frozen=True, slots=True)
class QuietTimes:
    """Of B streams, float64 [B], in seconds unless it says otherwise.

    Attributes:
        calm: from the last score over the clearing threshold to an incident's end.
        clear_steps: points in a row under the clearing threshold that it takes, too.
        pause: from the end of an incident to the next one, unless that one is far.
        flapping: the largest distance between incidents that follow each other
            closely, and the calm that ends one that flaps.
    """

    calm: F64
    clear_steps: F64
    pause: F64
    flapping: F64


def quiet_times(tick: F64, limit: float | F64, policy: AlertPolicy) -> QuietTimes:
    """Of streams with this ``tick`` [B]; ``limit`` is one number or [B], in seconds."""
    calm = np.minimum(CALM_TICKS * tick, limit)
    gap = min_gap(policy.min_gap, tick, limit)
    pause = np.maximum(policy.cooldown_ticks * tick, gap)
    close = np.minimum(_FLAPPING_TICKS * tick, limit)
    points_in_limit = limit / np.maximum(tick, SHORTEST_TICK)
    fewest = np.maximum(points_in_limit, 1.0)
    return QuietTimes(
        calm=calm,
        clear_steps=np.minimum(policy.clear_steps, fewest),
        pause=np.minimum(pause, limit - calm),
        flapping=np.maximum(close, calm),
    )
