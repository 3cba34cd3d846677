"""From held-out scores to the tail fit that thresholds are computed from.

Theory of operation. The scores come from the exported graph that will run in the
daemon. Incidents are counted with the daemon's own decision table, on calibration rows
to which no weight and no scale was fitted. So incidents a stream-week at each of some
fifty thresholds are what the daemon would have raised. Beyond the last threshold with
:data:`EVIDENCE` incidents, the rate goes on log-linearly with the slope of the last
counted ones: an exponential tail (Pickands 1975, Balkema & de Haan 1974).

A single metric's score means the same for every metric, so there the rates of the
built-in bundle are known beforehand. They count as :data:`PRIOR_WEEKS` stream-weeks of
incidents beside those counted (a gamma prior of a Poisson rate). So a few days of
history, which show no weekend and no deployment, don't set thresholds by themselves,
and a month of a fleet does.

The score of many metrics has a lighter prior, of some thousand points
(:mod:`training.fitting.many_metrics_prior`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from detector.alerting.decide import decide
from detector.alerting.policy import (
    CRITICAL_SHARE,
    AlertPolicy,
    AlertTuning,
    candidate_policy,
)
from detector.alerting.thresholds import (
    REFERENCE_SHARE,
    max_gap,
)
from detector.events import F32, F64, Reason
from detector.model.tail import TailFit
from detector.state.decisions import fresh_decisions
from detector.timestamps import WEEK

# Thresholds at which incidents are counted.
THRESHOLDS = 48
# Incidents that a counted rate rests on at least: its deviation is then a third.
EVIDENCE = 8
# Stream-weeks in which EVIDENCE incidents are counted at half a false alarm a week.
PRIOR_WEEKS = 16.0
# Incidents at the lowest threshold that the slope of the tail rests on, and how many
# thresholds it needs and takes.
_FOR_SLOPE = 3
_LEAST_FOR_SLOPE = 4
_MOST_FOR_SLOPE = 16
# Rows of decision state that are held at once.
_ROWS = 20_000
# Points over a quantile that it rests on.
_FOR_A_QUANTILE = 20
# Octaves of a stream's age at which cold-start offsets are measured: from 120 points to
# half a million.
_OCTAVES = 12
# A score after a stream's last point.
_NOTHING = -1e6
# Change of ln(rate) per unit of score: a budget a tenth as large is 0.1 to 2.3 of score
# higher. The default stands in for a slope that too few incidents show.
_SLOPES = (-20.0, -1.0)
_DEFAULT_SLOPE = -3.0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Scores of the calibration rows of N streams.

    Attributes:
        scores: float32 [n_i] of each stream.
        ticks: each stream's interval between two points, in seconds.
    """

    scores: Sequence[F32]
    ticks: Sequence[float]

    @property
    def weeks(self) -> float:
        """Stream-weeks that the scores cover."""
        pairs = zip(self.scores, self.ticks, strict=True)
        return sum(len(scores) * tick / WEEK for scores, tick in pairs)

    @property
    def tick(self) -> float:
        """The fleet's interval, in seconds."""
        return float(np.median(self.ticks))

    @property
    def pooled(self) -> F32:
        return np.concatenate(self.scores)

    def part(self, rows: slice) -> HeldOut:
        return HeldOut(self.scores[rows], self.ticks[rows])


@dataclass(frozen=True, slots=True)
class NewStreams:
    """Scores of streams from their very first point on, float32 [n_i] of each.

    They may alert after ``warm_up`` points.
    """

    scores: Sequence[F32]
    warm_up: int


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of the rates before anything is counted: the tail of another fleet,
    whose streams have a point every ``tick`` seconds.
    """

    tail: TailFit
    tick: float
    weeks: float = PRIOR_WEEKS

    def incidents_at(self, thresholds: F64, tick: float) -> F64:
        """Incidents [K] that it counts as, beside a fleet with another tick.

        What is rare is rare per point.
        """
        return self.weeks * (self.tick / tick) * self.tail.rates_at(thresholds)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A tail fit, and what it rests on.

    Attributes:
        thresholds: float64 [K], rising.
        counts: float64 [N, K], the incidents of each stream at each of them.
    """

    tail: TailFit
    thresholds: F64
    counts: F64


def calibrate(
    held_out: HeldOut,
    tuning: AlertTuning,
    new: NewStreams | None = None,
    prior: Prior | None = None,
) -> Calibration:
    """Count incidents and fit the tail of their rate.

    They are counted twice. The second time, incidents keep the distance that a budget
    of each threshold's rate asks for, unless they are far over it. Streams then have
    offsets of their own, in units of the scale that the first count gave.
    """
    thresholds = candidate_thresholds(held_out.scores)
    if prior is not None:
        known = prior.tail.thresholds
        higher = [threshold for threshold in known if threshold > thresholds[-1]]
        thresholds = np.union1d(thresholds, higher)
    pooled = held_out.pooled
    reference = float(np.quantile(pooled, 1 - REFERENCE_SHARE))
    counts = incidents(held_out, thresholds, tuning)
    first = _tail(held_out, thresholds, counts, prior)
    first = replace(first, reference_score=reference)
    counts = incidents(held_out, thresholds, tuning, first)
    tail = _tail(held_out, thresholds, counts, prior)
    offsets: tuple[tuple[float, float], ...] = ()
    if new is not None:
        offsets = cold_start_offsets(new, pooled, REFERENCE_SHARE)
    tail = replace(tail, reference_score=reference, cold_start_offsets=offsets)
    return Calibration(tail, thresholds, counts)


def _tail(
    held_out: HeldOut,
    thresholds: F64,
    counts: F64,
    prior: Prior | None,
) -> TailFit:
    """Of the incidents [N, K], and of those that the prior counts as."""
    found = counts.sum(axis=0)
    weeks = held_out.weeks
    if prior is None:
        return tail_fit(thresholds, found, weeks)
    known = prior.incidents_at(thresholds, held_out.tick)
    tail = tail_fit(thresholds, found + known, weeks + prior.weeks)
    return replace(tail, stream_weeks=weeks, prior_weeks=prior.weeks)


def cold_start_offsets(
    new: NewStreams, known: F32, share: float
) -> tuple[tuple[float, float], ...]:
    """Ages, in points, and how much higher new streams score at them.

    That is the score that ``share`` of the new streams' points pass, minus the same of
    the ``known`` streams' points. It is measured by octaves of age from the warm-up on,
    as far as there are points. It never rises with age, and is 0 at four times the last
    age. Of a smaller share than the reference one, a single stream would decide.
    """
    ages: list[float] = []
    offsets: list[float] = []
    for start in new.warm_up * 2 ** np.arange(_OCTAVES):
        pieces = [scores[start : 2 * start] for scores in new.scores]
        points = np.concatenate([np.zeros(0, np.float32), *pieces])
        if len(points) < 10 * _FOR_A_QUANTILE:
            break
        over = max(share, _FOR_A_QUANTILE / len(points))
        higher = np.quantile(points, 1 - over) - np.quantile(known, 1 - over)
        ages.append(float(start * np.sqrt(2)))
        offsets.append(max(0.0, float(higher)))
    if not ages:
        return ()
    falling = np.maximum.accumulate(offsets[::-1])[::-1].tolist()
    return (*zip(ages, falling, strict=True), (4 * ages[-1], 0.0))


def incidents(
    held_out: HeldOut,
    thresholds: F64,
    tuning: AlertTuning,
    tail: TailFit | None = None,
) -> F64:
    """float64 [N, K]: incidents that each stream opens at each threshold.

    The daemon's own decision table counts them, without the penalty after each.
    ``tail``: what is known of the rates at these thresholds already.
    """
    streams = len(held_out.scores)
    counts = np.zeros((streams, len(thresholds)))
    at_once = max(1, _ROWS // len(thresholds))
    for start in range(0, streams, at_once):
        rows = slice(start, start + at_once)
        part = held_out.part(rows)
        policy = _policy(
            len(part.scores),
            thresholds,
            tuning,
            tail,
            held_out.tick,
        )
        counts[rows] = _count(part, len(thresholds), policy)
    return counts


def _policy(
    streams: int,
    thresholds: F64,
    tuning: AlertTuning,
    tail: TailFit | None,
    tick: float,
) -> AlertPolicy:
    """One row for each stream and threshold."""
    gaps = np.full(len(thresholds), np.inf)
    if tail is not None:
        gaps = np.asarray(max_gap(tail.rates_at(thresholds)))
    policy = candidate_policy(
        tuning,
        np.tile(thresholds, streams),
        np.tile(gaps, streams),
        warm_up=0,
    )
    if tail is None or tail.reference_score is None:
        return policy
    return dataclasses.replace(
        policy,
        critical_above=-math.log(CRITICAL_SHARE) * tail.score_scale,
        reference_score=tail.reference_score,
        score_scale=tail.score_scale,
        tick=tick,
    )


def _count(held_out: HeldOut, thresholds: int, policy: AlertPolicy) -> F64:
    """float64 [N, K] of some streams, side by side."""
    streams = len(held_out.scores)
    longest = max(map(len, held_out.scores))
    padded = np.full((longest, streams), _NOTHING, np.float32)
    for column, scores in enumerate(held_out.scores):
        padded[: len(scores), column] = scores
    since = np.repeat(held_out.ticks, thresholds)
    rows = fresh_decisions(len(since), known=True)
    found = np.zeros(len(rows))
    for t in range(longest):
        scores = np.repeat(padded[t], thresholds)
        decided = decide(
            rows,
            since * t,
            since,
            scores,
            policy,
        )
        rows = decided.rows
        found += decided.reason == Reason.FIRED
    return found.reshape(streams, thresholds)


def candidate_thresholds(scores: Sequence[F32]) -> F64:
    """Rising thresholds from the median to the maximum of the pooled scores, evenly
    spaced in the logarithm of the share above.
    """
    pooled = np.concatenate(scores)
    shares = np.geomspace(0.5, 1 / len(pooled), THRESHOLDS)
    return np.unique(np.quantile(pooled, 1 - shares).astype(np.float64))


def tail_fit(thresholds: F64, counts: F64, weeks: float) -> TailFit:
    """Pooled over the fleet: ``counts`` [K] incidents at rising ``thresholds`` [K] in
    ``weeks`` stream-weeks.
    """
    # below the most counted threshold, incidents merge into one that never ends
    start = int(np.argmax(counts))
    thresholds = thresholds[start:]
    counts = np.maximum.accumulate(counts[start:][::-1])[::-1]
    slope = _slope(thresholds, counts)
    known = counts >= EVIDENCE
    # too little happened to count: the highest threshold that is certain, and the
    # default tail from there
    if not known.any():
        certain = thresholds[0] if counts[0] >= 1 else thresholds[-1]
        rate = max(float(counts[0]), 1.0) / weeks
        return TailFit(
            (float(certain),),
            (rate,),
            slope,
            weeks,
        )
    # one threshold for each rate, the lowest that reaches it: ln(rate) must fall for
    # the interpolation to have one answer
    falling, lowest = np.unique(-counts[known], return_index=True)
    return TailFit(
        thresholds=tuple(thresholds[known][lowest].tolist()),
        rates=tuple((-falling / weeks).tolist()),
        slope=slope,
        stream_weeks=weeks,
    )


def _slope(thresholds: F64, counts: F64) -> float:
    """Change of ln(rate) per unit of score in the upper tail."""
    usable = counts >= _FOR_SLOPE
    enough = usable.sum() >= _LEAST_FOR_SLOPE
    if not enough or np.ptp(thresholds[usable]) == 0:
        return _DEFAULT_SLOPE
    upper = np.flatnonzero(usable)[-_MOST_FOR_SLOPE:]
    slope = np.polyfit(thresholds[upper], np.log(counts[upper]), 1)[0]
    return float(np.clip(slope, *_SLOPES))
