"""The highest point of each open incident that is listed.

Theory of operation. The decision row keeps ``peak_margin``: how far the score was over
its threshold at most. A point is the peak so far if its own margin equals that of its
row. So one comparison of arrays finds all such points of a batch. They are copied into
arrays that have a place for each listed incident. Nothing loops over points in Python,
however many streams fire at once.

A place is found by the row of the stream table, which is known when an incident fires.
Rows move when idle streams are evicted, so a link holds only while the incident's onset
is that of the row. Links that are lost, or were not restored, are found again by the
stream's name, at most :data:`RELINKED` in a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64, I64, Phase
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import DECISION

PlaceOf = Callable[[str], int]  # by the stream's name
NO_PLACE = -1
NO_SLOT = -1
# Links found again in one batch: about 0.1 ms of dictionary lookups; a batch takes
# some milliseconds.
RELINKED = 256


@dataclass(frozen=True, slots=True)
class Peak:
    """The point of an incident at which its score was furthest over its threshold.

    Attributes:
        at: event time in epoch seconds.
        threshold: that of a warning.
        row: the decision row after the point.
        observed: float32 [F], NaN where missing.
        expected: float32 [F].
        contribution: float32 [F].
    """

    at: float
    score: float
    threshold: float
    row: np.void
    observed: F32
    expected: F32
    contribution: F32


class Peaks:
    """Follows up to ``capacity`` incidents. Not thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._free = list(reversed(range(capacity)))
        self._onset = np.full(capacity, np.nan)
        self._slot = _none(capacity)
        self._place = _none(0)  # by slot
        self._is_set = np.zeros(capacity, np.bool_)
        self._at = np.empty(capacity)
        self._score: F32 = np.empty(capacity, np.float32)
        self._threshold: F32 = np.empty(capacity, np.float32)
        self._rows = np.empty(capacity, DECISION)
        # observed, expected and contribution of each place's features
        self._metrics: F32 = np.empty((3, capacity, 0), np.float32)

    def open(self, onset: float, slot: int = NO_SLOT) -> int:
        """A place for an incident; NO_PLACE if all are taken. ``slot`` is the stream's
        row, if it is known.
        """
        if not self._free:
            return NO_PLACE
        place = self._free.pop()
        self._onset[place] = onset
        if slot != NO_SLOT:
            self._grow(slot + 1)
            self._link(slot, place)
        return place

    def close(self, place: int) -> None:
        """The incident ended, or its partition was revoked."""
        self._unlink(place)
        self._onset[place] = np.nan
        self._is_set[place] = False
        self._free.append(place)

    def peak(self, place: int) -> Peak | None:
        """None if no point exceeded the incident's peak since it was opened."""
        if not self._is_set[place]:
            return None
        metrics = self._metrics[:, place].copy()
        observed, expected, contribution = metrics
        return Peak(
            at=float(self._at[place]),
            score=float(self._score[place]),
            threshold=float(self._threshold[place]),
            row=self._rows[place].copy(),
            observed=observed,
            expected=expected,
            contribution=contribution,
        )

    def follow(self, batch: ScoredBatch, place_of: PlaceOf) -> None:
        """Copy the batch's points that are peaks; ``place_of`` finds a place by the
        stream's name, NO_PLACE if it has none.
        """
        points = _at_peak(batch)
        if not len(points):
            return
        places = self._places(batch, points, place_of)
        listed = places != NO_PLACE
        self._put(places[listed], batch, points[listed])

    def _places(
        self,
        batch: ScoredBatch,
        points: I64,
        place_of: PlaceOf,
    ) -> I64:
        """int64 [n]: the place of each of these points' incidents, or NO_PLACE."""
        slots = batch.slots[points]
        onsets = batch.decisions.rows["onset"][points]
        self._grow(int(slots.max()) + 1)
        places = self._linked(slots, onsets)
        unlinked = slots[places == NO_PLACE]
        some = unlinked[:RELINKED]
        for slot in some.tolist():
            name = batch.names[slot]
            place = place_of(name)
            if place != NO_PLACE:
                self._link(slot, place)
        return self._linked(slots, onsets)

    def _linked(self, slots: I64, onsets: F64) -> I64:
        """int64 [n]: the places of these rows if their incidents are the same."""
        places = self._place[slots]
        is_same = self._onset[places] == onsets
        return np.where(is_same, places, NO_PLACE)

    def _put(
        self,
        places: I64,
        batch: ScoredBatch,
        points: I64,
    ) -> None:
        self._fit(batch.x.shape[1])
        step = batch.step
        decisions = batch.decisions
        self._is_set[places] = True
        self._at[places] = batch.times[points]
        self._score[places] = step.score[points]
        self._threshold[places] = decisions.threshold[points]
        self._rows[places] = decisions.rows[points]
        self._metrics[0, places] = batch.x[points]
        self._metrics[1, places] = step.expected[points]
        self._metrics[2, places] = step.contribution[points]

    def _fit(self, features: int) -> None:
        """The number of features is known from the first batch on."""
        kinds, capacity, known = self._metrics.shape
        if known != features:
            self._metrics = np.empty((kinds, capacity, features), np.float32)

    def _link(self, slot: int, place: int) -> None:
        self._unlink(place)
        self._slot[place] = slot
        self._place[slot] = place

    def _unlink(self, place: int) -> None:
        slot = self._slot[place]
        self._slot[place] = NO_SLOT
        if slot != NO_SLOT and self._place[slot] == place:
            self._place[slot] = NO_PLACE

    def _grow(self, slots: int) -> None:
        missing = slots - len(self._place)
        if missing > 0:
            count = max(missing, slots // 2)
            added = _none(count)
            self._place = np.concatenate([self._place, added])


def _none(count: int) -> I64:
    """``count`` times no place, or no slot."""
    return np.full(count, NO_PLACE, np.int64)


def _at_peak(batch: ScoredBatch) -> I64:
    """Indices of firing points whose margin is the highest of their incident."""
    decisions = batch.decisions
    is_firing = decisions.phase == Phase.FIRING
    if not is_firing.any():
        return np.empty(0, np.int64)
    margin = batch.step.score - decisions.threshold
    is_highest = margin >= decisions.rows["peak_margin"]
    # a score that is not a number is no breach: the stream starts again
    is_number = np.isfinite(margin)
    return np.flatnonzero(is_firing & is_highest & is_number)
