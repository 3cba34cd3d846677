"""The level in force for each stream: the fleet's, the stream's own evidence, a lift
after each incident, an accepted plateau.

Theory of operation. The bundle says at which score its fleet raises so many incidents a
stream-week. What one stream's level adds to that:

- *own*: streams of one fleet differ, so the score that :data:`SHARE` of a stream's own
points pass is tracked by stochastic approximation
  (Robbins & Monro 1951; the gain is that of an exponential tail), starting from the
  fleet's, which counts as :data:`PRIOR` points of evidence. Its distance from the
  fleet's moves the level. Only points under the level count, at most :data:`MOST`
  scales either way: an anomaly, however long, teaches little. Alarms are no evidence,
  since most of them may be true.
- *lift*: each incident that ends lifts the level, and the lift fades within
:data:`MEMORY`, by so much that at a rate of the budget it
  is :data:`FEEDBACK` *scales* in the end, a scale being the score that makes incidents
  e times as rare. It is negative feedback: the level is taken for 3.5 = exp(1.25) times
  the budget (:func:`lifted_budget`), so a stream that is new or noisy alarms more at
  first and settles at the budget. A budget of less than one a week lifts as one a week
  does, and is taken for less. The budget is one of false alarms, and nobody says which
  were: but what chance makes seldom stands far over a level. Under an exponential tail
  that excess is exponential with a mean of a scale, so an incident counts 2 exp(-excess
  / scale), which is 1 on average where nothing is wrong, and next to nothing for an
  outage (:func:`by_chance`).
- *tick*: what is rare is rare by the point, so a stream with a tenth of the fleet's
tick has ten times as many of them in a week: its level
  stands ln(10) scales higher. One with a longer tick stays where it is and alarms less:
  few points are no reason to alarm on less.
- *young*: a stream that training has not seen scores higher while its own past is
short. By how much, by the number of its points, is in the
  bundle. It also begins with a lift of :data:`START` scales, since e^{FEEDBACK} times
  the budget is no welcome for ten thousand new streams, and stands :data:`FIRST_DAY`
  scales higher until it has seen a day, less and less in its second: whatever rhythm it
  has is news till then. News comes by the hour and chance by the point, and their rates
  add up: a stream that stands high for its tick stands little higher for its first day.
  One that training saw for less than a week begins with part of the lift
  (:func:`for_short_history`): what comes on other days is news, too.
- *plateau*: where an incident lasted so long that it was accepted as the new normal,
the level stands above what the score reached
  until the score comes down, and then follows it down.

All of it is event time and stored numbers: a replay finds the same levels.
"""

from __future__ import annotations

import math

import numpy as np

from detector.events import F32, F64
from detector.timestamps import DAY, WEEK

REFERENCE_SHARE = (
    0.05  # of the points pass the score that is compared between stream and fleet
)
PRIOR_POINTS = 3000.0  # points: about twenty independent stretches of a smoothed score
# points remembered: what a stream did a month of minutes ago no longer counts
MAX_EVIDENCE = 40_000.0
# scales: own evidence makes incidents at most ten times as rare or as frequent
MAX_OFFSET = math.log(10)
PENALTY_MEMORY = 4 * WEEK  # seconds in which a lift fades
# of a spacing: shorter, one burst is two incidents; longer, a stream of slow ticks is
# deaf
_LEAST_TICKS = 48
_MOST_TICKS = 144
INITIAL_PENALTY = math.log(2)
FIRST_DAY = math.log(4)
# scales by which a stream that alarms at the rate of its budget is lifted in the end
FEEDBACK = 1.25


def penalty_per_incident(per_week: float, scale: float) -> float:
    """What one incident adds to the level under a budget of ``per_week``."""
    return FEEDBACK * scale * (WEEK / PENALTY_MEMORY) / max(1.0, per_week)


def false_alarm_weight(excess: F32, scale: float) -> F32:
    """How much an incident whose score stood ``excess`` [B] over its level at most
    counts for the lift: 1 on average where chance made it.
    """
    return np.asarray(
        2.0 * np.exp(np.maximum(excess, 0.0) * np.float32(-1.0 / scale)), np.float32
    )


def effective_budget(per_week: float) -> float:
    """The rate that the level is taken for, so that with the lift in its equilibrium
    incidents come at ``per_week``.
    """
    return per_week * math.exp(FEEDBACK * min(1.0, per_week))


def budget_of_effective(per_week: float) -> float:
    """The budget that :func:`lifted_budget` makes ``per_week`` of: how often incidents
    come in the end at a level that begins with so many.
    """
    most = per_week * math.exp(-FEEDBACK)
    if most >= 1.0:
        return most
    budget = min(per_week, 1.0)
    for _ in range(8):  # Newton's steps on b e^(FEEDBACK b): convex, and from above
        budget -= (budget - per_week * math.exp(-FEEDBACK * budget)) / (
            1.0 + FEEDBACK * budget
        )
    return budget


def learn_offset(
    own: F32,
    evidence: F32,
    scores: F32,
    counts: np.ndarray[tuple[int], np.dtype[np.bool_]],
    usual: float,
    scale: float,
) -> tuple[F32, F32]:
    """``own`` and ``evidence`` [B] after one more point; only where ``counts`` [B]."""
    above = scores > usual + own
    gain = np.float32(scale / REFERENCE_SHARE) / (evidence + np.float32(PRIOR_POINTS))
    moved = np.clip(
        own + gain * (above - np.float32(REFERENCE_SHARE)),
        -MAX_OFFSET * scale,
        MAX_OFFSET * scale,
    )
    return np.where(counts, moved, own), np.where(
        counts, np.minimum(evidence + 1, MAX_EVIDENCE), evidence
    )


def offset_for_tick(tick: F64, reference: float, scale: float) -> F64:
    """What a stream's ``tick`` [B] moves its level by where the fleet's is
    ``reference``, in seconds; a reference of 0 is none.
    """
    return scale * np.log(_oftener(tick, reference))


def offset_for_tick_and_day(
    tick: F64, reference: float, seen: F64, first_day: float, scale: float
) -> F64:
    """:func:`for_tick` of streams seen for ``seen`` [B] seconds: ``first_day`` where
    only that counts, in the first day, and 0 after the second.
    """
    unseen = np.clip(2.0 - seen / DAY, 0.0, 1.0)
    if not first_day or not unseen.any():
        return offset_for_tick(tick, reference, scale)
    return scale * np.log(
        _oftener(tick, reference) + np.expm1(first_day / scale * unseen)
    )


def _oftener(tick: F64, reference: float) -> F64:
    """How many times as many points as the fleet's a stream with this ``tick`` [B] has;
    1 where it has fewer.
    """
    return np.clip(reference / np.maximum(tick, 1e-3), 1.0, 1e3)


def offset_for_age(steps: F64, ages: F64, offsets: F64) -> F64:
    """What being young moves the level by, of streams that have had ``steps`` [B]
    points; ``offsets`` at ``ages`` (rising), none beyond the last.
    """
    return np.interp(np.log(np.maximum(steps, 1)), np.log(ages), offsets, right=0.0)


def penalty_for_short_history(seen: F64, known: int, start: float) -> F32:
    """What the ``known`` streams of a bundle are lifted by at first, [N]: ``start``,
    the less of it the longer training saw them, 0 after a week.

    ``seen`` [N] in seconds; empty: for long.
    """
    return (
        np.asarray(start * np.clip(1.0 - seen / WEEK, 0.0, 1.0), np.float32)
        if len(seen)
        else np.zeros(known, np.float32)
    )


def min_gap(spacing: float, tick: F64, most: float | F64) -> F64:
    """Seconds [B] from the end of an incident of a stream with ``tick`` [B] to the
    next: ``spacing``, but 48 to 144 ticks, and at most ``most``.

    A spacing of 0 is none.
    """
    return (
        np.minimum(np.clip(spacing, _LEAST_TICKS * tick, _MOST_TICKS * tick), most)
        if spacing
        else np.zeros_like(tick)
    )


def max_gap(per_week: float | F64) -> float | F64:
    """Seconds: a quarter of the mean spacing of a budget's incidents, so that the
    spacing alone never halves what was asked for.
    """
    return WEEK / (4 * per_week)


def decay(amount: F32, since: F64, memory: float) -> F32:
    """``amount`` [B] after ``since`` [B] seconds of forgetting."""
    return amount * np.exp(since * (-1.0 / memory)).astype(np.float32)
