"""A stream whose metrics are each scored by themselves, judged as one: its metrics laid
over each other.

Theory of operation. Labels are about a stream more often than about one of its metrics,
and most faults show in a few of them. To ask of every metric that it tell of every
event would say little of a detector, and could not be held against one that scores the
metrics together. So the score of a stream at a moment is the highest of its metrics'
then, and its incidents are theirs: as they were raised, or, where they are held against
those of a bundle that raises one for all metrics, those that overlap as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64
from training.evaluation.backtest import Backtest, Incident, StreamRows


@dataclass(frozen=True, slots=True)
class Overlaid:
    """What was scored of one stream: times float64 [n], rising; the highest score
    float32 [n]; values float32 [n, F], all metrics side by side.
    """

    times: F64
    scores: F32
    values: F32


def overlaid(of: Sequence[tuple[StreamRows, Backtest]]) -> Overlaid:
    """All tracks of one stream."""
    scored = [np.isfinite(found.scores) for _, found in of]
    own = [track.times[rows] for (track, _), rows in zip(of, scored, strict=True)]
    times = np.unique(np.concatenate(own))
    widths = [track.values.shape[1] for track, _ in of]
    scores = np.full(len(times), -np.inf, np.float32)
    values = np.full((len(times), sum(widths)), np.nan, np.float32)
    first = 0
    for (track, found), rows, when, width in zip(of, scored, own, widths, strict=True):
        at = np.searchsorted(times, when)
        scores[at] = np.maximum(scores[at], found.scores[rows])
        values[at, first : first + width] = track.values[rows]
        first += width
    return Overlaid(times, scores, values)


def as_one(stream: str, incidents: Sequence[Incident]) -> tuple[Incident, ...]:
    """Those that overlap as one of ``stream``, from the first to begin to the last to
    end; its score is that which stood highest over its level.
    """
    found: list[Incident] = []
    for incident in sorted(incidents, key=lambda i: i.starts_at):
        if found and incident.starts_at < found[-1].until(np.inf):
            found[-1] = _both(stream, found[-1], incident)
        else:
            found.append(_both(stream, incident, incident))
    return tuple(found)


def _both(stream: str, one: Incident, other: Incident) -> Incident:
    higher = max(one, other, key=lambda i: i.score - i.level)
    ended = (
        None
        if one.ended_at is None or other.ended_at is None
        else max(one.ended_at, other.ended_at)
    )
    metrics = tuple(dict.fromkeys(one.metrics + other.metrics))
    return Incident(
        stream,
        one.starts_at,
        min(one.fired_at, other.fired_at),
        ended,
        higher.score,
        higher.level,
        metrics,
    )
