"""The threshold of each stream: the fleet's, its own offsets, penalties and a plateau.

Theory of operation. A bundle says how many incidents a stream-week its fleet raises at
each score. One *scale* is the score that makes incidents e times as rare. The parts
below are added to the fleet's threshold, in scales.

- **Stream offset.** Streams of one fleet differ. Each stream tracks the score that a
  share :data:`REFERENCE_SHARE` of its own points pass. It does so by stochastic
  approximation (Robbins & Monro 1951) with the gain of an exponential tail. It starts
  at the fleet's reference score, which counts as :func:`prior_points`. The distance
  between the two moves the threshold by at most :data:`MAX_OFFSET`. A long anomaly
  teaches little: an incident that got far over the threshold does not count, nor do
  scores over the threshold that are far over the reference score, too. Those near the
  reference score count: under a large budget the threshold is among them, and without
  them the offset would fall for ever.
- **Alarm penalty.** Each incident that ends raises the threshold, and the penalty fades
  within :data:`PENALTY_MEMORY`. This is negative feedback: a stream that raises as many
  incidents as its budget ends up :data:`FEEDBACK` scales higher. The fleet's threshold
  is therefore taken for exp(FEEDBACK) = 3.5 times the budget
  (:func:`effective_budget`). A new or noisy stream alerts more at first and settles at
  the budget. A budget under one a week has the penalty of one a week, and a smaller
  factor.
- **False alarms.** The budget counts false alarms, but nobody labels incidents. Chance
  seldom exceeds a threshold by much: under an exponential tail the margin is
  exponential with a mean of one scale. So an incident counts 2 exp(-margin / scale),
  which is 1 on average if all incidents are chance. One that is far over the threshold
  (:mod:`detector.alerting.decide`) counts nothing, and the others a little more, so the
  mean stays 1. Large outages never raise the threshold that the next one meets.
- **Tick.** Chance acts per point. A stream with a tenth of the fleet's tick has ten
  times as many points a week, so its threshold is ln(10) scales higher. With ten times
  the fleet's tick it is as much lower: scores of a rate per point come as often on
  hours as on minutes (docs/experiments/slow-ticks.md).
- **Caution.** That holds for the mean of a fleet, and steep patterns are not chance.
  So a slow tick lowers the threshold by :data:`CAUTION` scales less, until the stream's
  own record shows that it is quiet: each scale that its offset is under zero takes
  :data:`_TRUST` scales off. A stream whose scores rise gets the caution back.
- **Floor.** Before the stream's own offset, no threshold is lower than a scale under
  the fleet's reference score. There, a point in seven is over it. Under it, incidents
  merge into one that never ends, and fewer are told.
- **First day.** Until a new stream has seen a day, its daily pattern looks anomalous.
  Its threshold is :data:`FIRST_DAY` scales higher in its first day and fades to nothing
  in its second. Such incidents come by the hour and chance by the point, so the two
  rates are added, not the two offsets.
- **Cold start.** The score of a new stream is higher while its past is short. The
  bundle holds by how much, by the number of points. A new stream also starts with a
  penalty of :data:`INITIAL_PENALTY` scales. Otherwise ten thousand new streams would
  alert at 3.5 times the budget. A stream that training knows starts with
  :data:`SETTLED_SHARE` of the penalty that it would have at its budget's rate, and at
  least with a part of the other if training saw it for less than a week
  (:func:`penalties_of_known`).
- **Plateau.** After an incident that is no longer reported, the threshold stays above
  the score that the incident reached. It follows the score down
  (:mod:`detector.alerting.decide`).

Everything depends on event time and stored numbers only, so a replay finds the same
thresholds.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64
from detector.timestamps import DAY, WEEK

Float = TypeVar("Float", np.float32, np.float64)
Bools = npt.NDArray[np.bool_]
Bound = float | F32 | F64

# Share of the points that pass the reference score. By judgement: high enough to be the
# upper tail, low enough to be seen often.
REFERENCE_SHARE = 0.05

# What the fleet's reference score counts as, in spans of the slow mean in the score:
# 1,400 points of a minute, 280 of an hour. Chosen with the caution of slow ticks among
# 25 to 75 (docs/experiments/slow-ticks.md): some tens of independent stretches.
_PRIOR_SPANS = 35.0
# Seconds of that span, and the fewest and most points it has
# (training/models/surprise.py).
_SPAN = (6000.0, 8.0, 40.0)

# Scales over the reference score up to which points teach a stream's offset: the 5 % of
# the points that pass it, but for an eighth of them, and no outage.
_TEACHING = 2.0

# Points. The evidence saturates here, so a stream forgets within a month of minutes.
MAX_EVIDENCE = 40_000.0

# Scales. A stream's own evidence makes its incidents at most ten times as rare or as
# frequent as the fleet's.
MAX_OFFSET = math.log(10)

# Seconds in which a penalty fades to 1/e. By judgement: longer than any work cycle.
PENALTY_MEMORY = 4 * WEEK

# Scales that a stream at its budget's rate is penalised by in the end.
FEEDBACK = 1.25

#: Scales by which a slow tick lowers a threshold less than its points alone would.
#: It, and the scales that each scale of a stream's own offset takes off, are chosen in
#: docs/experiments/slow-ticks.md.
CAUTION = 1.5
_TRUST = 2.0

# Scales that a new stream's penalty starts at: half as many incidents. By judgement.
INITIAL_PENALTY = math.log(2)

#: Share of the penalty at the budget's rate that a stream of the bundle starts with: a
#: fleet without faults then begins at 1.6 times its budget
#: (docs/experiments/known-streams.md).
SETTLED_SHARE = 0.6

# Scales in the first day: a quarter of the incidents. What was measured is half as many
# scales, on seventeen kinds of made-up streams (docs/experiments/recorded-figures.md).
FIRST_DAY = math.log(4)

# Ticks. Bounds of the gap between two incidents, by judgement: if it is shorter, one
# burst becomes two incidents; if it is longer, streams with slow ticks become deaf.
_MIN_GAP_TICKS = 48
_MAX_GAP_TICKS = 144

#: Seconds. The shortest tick that counts, so that a tick of 0 divides nothing by zero.
SHORTEST_TICK = 1e-3

# The largest ratio of the fleet's tick to a stream's, or the reverse, that moves
# its threshold.
_MAX_TICK_RATIO = 1e3


# -- budget and penalties --------------------------------------------------------------


def effective_budget(per_week: float) -> float:
    """Incidents a week that the fleet's threshold is taken for.

    With the penalty in its equilibrium, incidents then come at ``per_week``.
    """
    return per_week * math.exp(FEEDBACK * min(1.0, per_week))


def penalty_per_incident(per_week: float, settled_above: float) -> float:
    """The score that one false alarm adds to a threshold under this budget.

    ``per_week`` false alarms a week, each fading, add up to ``settled_above``: from the
    threshold of :func:`effective_budget` to the one of the budget.
    """
    remembered = per_week * PENALTY_MEMORY / WEEK
    return settled_above / remembered


def false_alarm_weight(margin: F32, scale: float, far: float = math.inf) -> F32:
    """What an incident counts for as a false alarm, float32 [B].

    ``margin`` [B] is the largest distance of its score over the threshold; from ``far``
    on it counts nothing. The weight is 1 on average if chance makes the incidents.
    """
    rate = np.float32(-1.0 / scale)
    over = np.maximum(margin, 0.0)
    # the mean of exp(-margin / scale) up to `far`, under an exponential tail
    mean = 0.5 * -math.expm1(-2.0 * far / scale)
    weight = np.where(over < far, np.exp(over * rate) / mean, 0.0)
    return weight.astype(np.float32)


def penalties_of_known(seen: F64, known: int, initial: float, settled: float) -> F32:
    """Penalties that the ``known`` streams of a bundle start with, float32 [N].

    It is ``settled``, or more if training saw the stream for less than 7 days: down
    from ``initial`` at none. ``seen`` [N] is in seconds; empty in bundles that do not
    say, which means longer.
    """
    if not len(seen):
        return np.full(known, settled, np.float32)
    missing_share = np.clip(1.0 - seen / WEEK, 0.0, 1.0)
    return np.maximum(initial * missing_share, settled).astype(np.float32)


def decay(amount: F32, seconds: F64, memory: float) -> F32:
    """``amount`` [B] after ``seconds`` [B]; it falls to 1/e in ``memory`` seconds."""
    remaining = np.exp(seconds * (-1.0 / memory))
    return amount * remaining.astype(np.float32)


# -- offsets ---------------------------------------------------------------------------


def learn_offset(
    offset: F32,
    evidence: F32,
    scores: F32,
    counts: Bools,
    is_below: Bools,
    prior: F32,
    reference_score: float,
    scale: float,
) -> tuple[F32, F32]:
    """Stream offset and evidence, float32 [B] each, after one more point.

    Nothing changes in rows that ``counts`` [B] leaves out, nor by scores that are far
    over the reference score and not ``is_below`` [B] the threshold. ``prior`` [B]: the
    points that the fleet's reference score counts as.
    """
    own_reference = reference_score + offset
    is_above = scores > own_reference
    is_near = scores < own_reference + np.float32(_TEACHING * scale)
    teaches = counts & (is_near | is_below)
    points = evidence + prior
    gain = np.float32(scale / REFERENCE_SHARE) / points
    surprise = is_above - np.float32(REFERENCE_SHARE)
    moved = offset + gain * surprise
    bound = MAX_OFFSET * scale
    learned = clip(moved, -bound, bound)
    more_evidence = np.minimum(evidence + 1, MAX_EVIDENCE)
    return (
        np.where(teaches, learned, offset),
        np.where(teaches, more_evidence, evidence),
    )


def prior_points(tick: F64) -> F32:
    """Points that the fleet's reference score counts as, float32 [B]."""
    seconds, fewest, most = _SPAN
    points = clip(seconds / np.maximum(tick, SHORTEST_TICK), fewest, most)
    return (_PRIOR_SPANS * points).astype(np.float32)


def slow_tick_caution(own: F32, scale: float) -> F64:
    """How much less a slow tick lowers thresholds, float64 [B], >= 0.

    ``own`` [B] are the streams' own offsets.
    """
    most = CAUTION * scale
    return clip(most + _TRUST * own.astype(np.float64), 0.0, most)


def offset_for_tick(
    tick: F64, fleet_tick: float, scale: float, caution: F64 | float = 0.0
) -> F64:
    """What a stream's ``tick`` [B] adds, float64 [B]; ticks are in seconds.

    A ``fleet_tick`` of 0 means that the fleet's threshold holds for any tick. Below
    zero it is higher by ``caution`` [B], but not over zero.
    """
    chance = _tick_ratio(tick, fleet_tick)
    by_points = scale * np.log(chance)
    cautious = np.minimum(by_points + caution, 0.0)
    return np.maximum(by_points, cautious)


def offset_for_tick_and_day(
    tick: F64,
    fleet_tick: float,
    seen: F64,
    first_day: float,
    scale: float,
    caution: F64 | float = 0.0,
) -> F64:
    """:func:`offset_for_tick` of streams that have been seen for ``seen`` [B] seconds.

    At the fleet's tick it is ``first_day`` during the first day and 0 after the second.
    """
    of_tick = offset_for_tick(tick, fleet_tick, scale, caution)
    unseen = clip(2.0 - seen / DAY, 0.0, 1.0)
    if not first_day or not unseen.any():
        return of_tick
    chance: F64 = np.exp(of_tick / scale)
    unknown_pattern = np.expm1(first_day / scale * unseen)
    return scale * np.log(chance + unknown_pattern)


def _tick_ratio(tick: F64, fleet_tick: float) -> F64:
    """How many points a stream has for each of the fleet's, float64 [B]."""
    if not fleet_tick:
        return np.ones_like(tick)
    ratio = fleet_tick / np.maximum(tick, SHORTEST_TICK)
    return clip(ratio, 1.0 / _MAX_TICK_RATIO, _MAX_TICK_RATIO)


def offset_for_age(age: F64, ages: F64, offsets: F64) -> F64:
    """What a short past adds, float64 [B], to streams that have had ``age`` [B] points.

    ``offsets`` are measured at rising ``ages``; between them the logarithm of the age
    is interpolated, beyond the last there is none.
    """
    log_age = np.log(np.maximum(age, 1))
    log_ages = np.log(ages)
    added = np.interp(log_age, log_ages, offsets, right=0.0)
    return np.asarray(added)


def clip(
    values: npt.NDArray[Float],
    low: Bound,
    high: Bound,
) -> npt.NDArray[Float]:
    """:func:`numpy.clip` [B] without its argument handling.

    That takes longer than the arithmetic of a wave.
    """
    raised = np.maximum(values, low)
    return np.minimum(raised, high)


# -- the gap between incidents ---------------------------------------------------------


def min_gap(wanted: float, tick: F64, limit: float | F64) -> F64:
    """Seconds from the end of an incident to the stream's next one, float64 [B].

    It is ``wanted``, but 48 to 144 of the stream's ticks [B], and at most ``limit``.
    A ``wanted`` of 0 means no gap.
    """
    if not wanted:
        return np.zeros_like(tick)
    shortest = _MIN_GAP_TICKS * tick
    longest = _MAX_GAP_TICKS * tick
    in_ticks = np.clip(wanted, shortest, longest)
    return np.asarray(np.minimum(in_ticks, limit))


def max_gap(per_week: float | F64) -> float | F64:
    """The longest gap in seconds under a budget: a quarter of its mean interval.

    A longer one would hold back a large part of what the budget allows.
    """
    return WEEK / (4 * per_week)
