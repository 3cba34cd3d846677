"""A stream whose metrics are each scored by themselves, judged as one.

Theory of operation. Labels are about a stream more often than about one of its metrics,
and most faults show in few of them. To ask that every metric reports every event would
say little of a detector. Nor could it be compared with one that scores the metrics
together. So a stream's score at a moment is the highest of its metrics' scores then.
Its incidents are those of its metrics. Beside a bundle that raises one incident for all
metrics, overlapping ones are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64
from training.evaluation.backtest import Backtest, Incident, StreamRows


@dataclass(frozen=True, slots=True)
class Overlay:
    """What was scored of one stream.

    Attributes:
        times: float64 [n], rising.
        scores: float32 [n], the highest at each time.
        values: float32 [n, F], all metrics side by side.
    """

    times: F64
    scores: F32
    values: F32


def overlay(metrics: Sequence[tuple[StreamRows, Backtest]]) -> Overlay:
    """All metrics of one stream."""
    is_scored = [np.isfinite(found.scores) for _, found in metrics]
    own_times = [
        rows.times[scored] for (rows, _), scored in zip(metrics, is_scored, strict=True)
    ]
    times = np.unique(np.concatenate(own_times))
    widths = [rows.values.shape[1] for rows, _ in metrics]
    scores = np.full(len(times), -np.inf, np.float32)
    values = np.full((len(times), sum(widths)), np.nan, np.float32)
    first = 0
    for i, (_, found) in enumerate(metrics):
        at = np.searchsorted(times, own_times[i])
        columns = slice(first, first + widths[i])
        scores[at] = np.maximum(scores[at], found.scores[is_scored[i]])
        values[at, columns] = found.observed[is_scored[i]]
        first = columns.stop
    return Overlay(times, scores, values)


def merge_overlapping(
    stream: str, incidents: Sequence[Incident]
) -> tuple[Incident, ...]:
    """Incidents of ``stream``, those that overlap as one.

    It lasts from the first start to the last end. Its score is the one that was highest
    over its threshold.
    """
    found: list[Incident] = []
    for incident in sorted(incidents, key=lambda i: i.starts_at):
        if found and incident.starts_at < found[-1].until(np.inf):
            found[-1] = _merged(stream, found[-1], incident)
        else:
            found.append(_merged(stream, incident, incident))
    return tuple(found)


def _merged(stream: str, one: Incident, other: Incident) -> Incident:
    higher = max(one, other, key=lambda i: i.score - i.threshold)
    ended_at = None
    ended_as = None
    if one.ended_at is not None and other.ended_at is not None:
        ended_at = max(one.ended_at, other.ended_at)
        ended_as = one.ended_as if one.ended_at == ended_at else other.ended_as
    critical = [i.critical_at for i in (one, other) if i.critical_at is not None]
    return Incident(
        stream=stream,
        starts_at=one.starts_at,
        fired_at=min(one.fired_at, other.fired_at),
        ended_at=ended_at,
        score=higher.score,
        threshold=higher.threshold,
        metrics=tuple(dict.fromkeys(one.metrics + other.metrics)),
        critical_at=min(critical, default=None),
        ended_as=ended_as,
    )
