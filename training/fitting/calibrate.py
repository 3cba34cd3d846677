"""From a step to the bundle's rows and tail fit: the exported graph walks through
history as the daemon would.

Theory of operation. All streams are stepped side by side through the very graph that
will be served, so the scores that levels are learned from are those the daemon
computes. Incidents a stream-week at each of some fifty levels are counted with the
daemon's own decision table on the calibration rows, which no weight and no scale was
fitted to. Where fewer than :data:`EVIDENCE` incidents are left, the rate goes on
log-linearly (an exponential tail; Pickands 1975, Balkema & de Haan 1974) with the slope
of the last counted levels.

A single metric's score means the same whatever the metric, so there the rates of the
bundle in the package are known beforehand. They count as :data:`PRIOR_WEEKS`
stream-weeks of incidents beside those counted (a gamma prior of a Poisson rate): a few
days of history, which show no weekend and no deploy, don't set levels by themselves,
and a month of a fleet does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from detector.alerting.decide import decide
from detector.alerting.policy import AlertTuning, candidate_policy
from detector.alerting.thresholds import (
    REFERENCE_SHARE,
    effective_budget,
    max_gap,
)
from detector.events import F32, F64, Reason
from detector.model.tail import TailFit
from detector.state.decisions import fresh_decisions
from detector.timestamps import WEEK

LEVELS = 48
EVIDENCE = 8
# stream-weeks in which EVIDENCE incidents are counted at half a false alarm a week
PRIOR_WEEKS = 16.0
_COLUMNS = 20_000
_FOR_A_QUANTILE = 20  # points over it
_OCTAVES = 12
_NOTHING = -1e6  # score after a stream ended
# of ln(rate) per unit of score: a budget a tenth as large is 0.1 to 2.3 of score higher
_SLOPE = (-20.0, -1.0)
_DEFAULT_SLOPE = -3.0


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of the rates before anything is counted: the tail of another fleet,
    of streams with a point every ``tick`` seconds.
    """

    tail: TailFit
    tick: float
    weeks: float = PRIOR_WEEKS

    def incidents_at(self, levels: F64, tick: float) -> F64:
        """What it counts as at ``levels`` [K] beside a fleet with another tick: what is
        rare is rare by the point.
        """
        return self.weeks * (self.tick / tick) * self.tail.rates_at(levels)


def calibrated(
    scores: list[F32],
    ticks: Sequence[float],
    tuning: AlertTuning,
    new: Sequence[F32] = (),
    warm_up: int = 1,
    prior: Prior | None = None,
) -> tuple[TailFit, F64, F64]:
    """Held-out scores of each stream, a point every so many seconds -> tail fit, levels
    [K], incidents float64 [N, K] at them.

    ``new``: scores of streams from the first point that the detector ever saw of them
    on; they may alert after ``warm_up``. Counted twice: the second time incidents are
    kept apart as under a budget of each level's rate, and streams have levels of their
    own, in units of the scale that the first count gave.
    """
    levels = candidate_levels(scores)
    if prior is not None:
        levels = np.union1d(
            levels, [level for level in prior.tail.thresholds if level > levels[-1]]
        )
    weeks = sum(len(s) * tick / WEEK for s, tick in zip(scores, ticks, strict=True))
    found = incidents(scores, levels, tuning, ticks)
    first = replace(
        _tail(levels, found, weeks, ticks, prior),
        reference_score=float(np.quantile(np.concatenate(scores), 1 - REFERENCE_SHARE)),
    )
    found = incidents(scores, levels, tuning, ticks, first)
    tail = replace(
        _tail(levels, found, weeks, ticks, prior), reference_score=first.reference_score
    )
    share = float(
        np.mean(
            np.concatenate(scores)
            >= tail.threshold(effective_budget(tuning.false_alarms_per_week))
        )
    )
    return (
        replace(
            tail,
            cold_start_offsets=cold_start_offsets(
                new, np.concatenate(scores), share, warm_up
            ),
        ),
        levels,
        found,
    )


def _tail(
    levels: F64, found: F64, weeks: float, ticks: Sequence[float], prior: Prior | None
) -> TailFit:
    """Of the incidents ``found`` [N, K], and those that the prior counts as."""
    counts = found.sum(axis=0)
    if prior is None:
        return tail_fit(levels, counts, weeks)
    known = prior.incidents_at(levels, float(np.median(ticks)))
    return replace(
        tail_fit(levels, counts + known, weeks + prior.weeks), stream_weeks=weeks
    )


def cold_start_offsets(
    new: Sequence[F32], known: F32, share: float, warm_up: int
) -> tuple[tuple[float, float], ...]:
    """Ages and what young streams score higher by at them: the score that ``share`` of
    their points pass less that of the ``known`` streams' points.

    By octaves of age from ``warm_up`` on, as far as there are points; never rising with
    age, nothing at four times the last one.
    """
    found = []
    for start in warm_up * 2 ** np.arange(_OCTAVES):
        points = np.concatenate(
            [s[start : 2 * start] for s in new] or [np.zeros(0, np.float32)]
        )
        if len(points) < 10 * _FOR_A_QUANTILE:
            break
        over = max(share, _FOR_A_QUANTILE / len(points))
        found.append(
            (
                float(start * np.sqrt(2)),
                float(np.quantile(points, 1 - over) - np.quantile(known, 1 - over)),
            )
        )
    if not found:
        return ()
    offsets = np.maximum.accumulate([max(0.0, offset) for _, offset in found][::-1])[
        ::-1
    ]
    return (
        *(
            (age, offset)
            for (age, _), offset in zip(found, offsets.tolist(), strict=True)
        ),
        (4 * found[-1][0], 0.0),
    )


def incidents(
    scores: list[F32],
    levels: F64,
    tuning: AlertTuning,
    ticks: Sequence[float],
    tail: TailFit | None = None,
) -> F64:
    """float64 [N, K]: incidents that each stream opens at each level, by the daemon's
    own decision table, without the lift after each.

    ``tail``: what is known of the rates at these levels already.
    """
    counts = np.zeros((len(scores), len(levels)))
    chunk = max(1, _COLUMNS // len(levels))
    for start in range(0, len(scores), chunk):
        part = slice(start, start + chunk)
        counts[part] = _count(
            scores[part], levels, tuning, ticks[part], tail, float(np.median(ticks))
        )
    return counts


def _count(
    scores: list[F32],
    levels: F64,
    tuning: AlertTuning,
    ticks: Sequence[float],
    tail: TailFit | None,
    reference: float,
) -> F64:
    """One row of decision state for each stream and level."""
    longest = max(map(len, scores))
    padded = np.full((longest, len(scores)), _NOTHING, np.float32)
    for i, s in enumerate(scores):
        padded[: len(s), i] = s
    most = (
        np.full(len(levels), np.inf) if tail is None else max_gap(tail.rates_at(levels))
    )
    since = np.repeat(ticks, len(levels))
    rules = candidate_policy(
        tuning, np.tile(levels, len(scores)), np.tile(most, len(scores)), warm_up=0
    )
    if tail is not None and tail.reference_score is not None:
        rules = dataclasses.replace(
            rules,
            reference_score=tail.reference_score,
            score_scale=tail.score_scale,
            tick=reference,
        )
    rows = fresh_decisions(len(since), known=True)
    found = np.zeros(len(rows))
    for t in range(longest):
        decided = decide(
            rows, since * t, since, np.repeat(padded[t], len(levels)), rules
        )
        rows = decided.rows
        found += decided.reason == Reason.FIRED
    return found.reshape(len(scores), len(levels))


def candidate_levels(scores: list[F32]) -> F64:
    """Rising levels from the median to the maximum of the pooled scores, evenly spaced
    in the logarithm of the share above.
    """
    pooled = np.concatenate(scores)
    levels = np.quantile(pooled, 1 - np.geomspace(0.5, 1 / len(pooled), LEVELS))
    return np.unique(levels.astype(np.float64))


def tail_fit(levels: F64, counts: F64, weeks: float) -> TailFit:
    """Pooled over the fleet: ``counts`` [K] incidents at rising ``levels`` [K] in
    ``weeks`` stream-weeks.
    """
    start = int(np.argmax(counts))  # below it incidents merge into one that never ends
    levels = levels[start:]
    counts = np.maximum.accumulate(counts[start:][::-1])[::-1]
    known = counts >= EVIDENCE
    some = counts >= 3
    slope = _DEFAULT_SLOPE
    if some.sum() >= 4 and np.ptp(levels[some]) > 0:
        upper = np.flatnonzero(some)[-16:]
        slope = float(
            np.clip(np.polyfit(levels[upper], np.log(counts[upper]), 1)[0], *_SLOPE)
        )
    # too little happened to count: the highest level that is certain, and the default
    # tail from there
    if not known.any():
        rate = max(float(counts[0]), 1.0) / weeks
        return TailFit(
            (float(levels[0] if counts[0] >= 1 else levels[-1]),), (rate,), slope, weeks
        )
    # one level a rate, the lowest that reaches it: ln(rate) must fall for the
    # interpolation to have one answer
    rates, first = np.unique(-counts[known], return_index=True)
    return TailFit(
        tuple(levels[known][first].tolist()),
        tuple((-rates / weeks).tolist()),
        slope,
        weeks,
    )
