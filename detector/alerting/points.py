"""One point of each of B streams, and how its score compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.alerting.thresholds import Bools
from detector.events import F32, F64, Phase
from detector.state.decisions import DECISION, DecisionState, opaque

U16 = npt.NDArray[np.uint16]

# Value that the streaks saturate at.
_MAX_STREAK = np.iinfo(np.uint16).max

# Members as numpy scalars: looking up a member of an enum on each wave is slow.
WARMING, OK, PENDING, FIRING = (
    np.uint8(phase) for phase in (Phase.WARMING, Phase.OK, Phase.PENDING, Phase.FIRING)
)


@dataclass(frozen=True, slots=True)
class Points:
    """One point of each of B streams.

    Attributes:
        before: DECISION [B], the state before the point.
        times: float64 [B], event times in epoch seconds.
        since: float64 [B], seconds since the previous point.
        scores: float32 [B], those of the graph.
        tick: float64 [B], seconds, with this point.
        threshold: float32 [B], what the score is compared to.
        is_above: bool [B], the score is at or over the clearing threshold.
        is_warming: bool [B], the stream may not alert yet.
        is_negligible: bool [B], the values differ too little for an incident.
        is_lost: bool [B], the incident is a loss that goes on, whatever the score says.
    """

    before: DecisionState
    times: F64
    since: F64
    scores: F32
    tick: F64
    threshold: F32
    is_above: Bools
    is_warming: Bools
    is_negligible: Bools
    is_lost: Bools

    def at(self, places: npt.NDArray[np.intp]) -> Points:
        """Copies of some of them."""
        return Points(
            before=opaque(self.before)[places].view(DECISION),
            times=self.times[places],
            since=self.since[places],
            scores=self.scores[places],
            tick=self.tick[places],
            threshold=self.threshold[places],
            is_above=self.is_above[places],
            is_warming=self.is_warming[places],
            is_negligible=self.is_negligible[places],
            is_lost=self.is_lost[places],
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """How the score of each of B streams compares, bool [B] each.

    Attributes:
        was_firing: an incident was open before the point.
        is_breach: the score is at or over the threshold.
        is_far: it is far over the threshold.
        is_large: it is far over the threshold, or as far as the last incident was.
        is_clearing: in an incident, the score is under the clearing threshold.
        is_confirmed: it has been at or over the threshold for long enough to fire.
        is_critical: it has been at or over the critical threshold for as long.
        is_calm: it has been under the clearing threshold for long enough to recover.
    """

    was_firing: Bools
    is_breach: Bools
    is_far: Bools
    is_large: Bools
    is_clearing: Bools
    is_confirmed: Bools
    is_critical: Bools
    is_calm: Bools


def run_length(before: U16, is_true: Bools) -> U16:
    """Length of the run of True that ends at this point, uint16 [B]; it saturates."""
    return np.where(is_true, one_more(before), 0).astype(np.uint16)


def one_more(count: U16) -> U16:
    """``count`` + 1, uint16 [B]; it saturates."""
    return np.minimum(count, _MAX_STREAK - 1) + np.uint16(1)
