"""How well a score ranks labelled points: areas under precision-recall curves. numpy
only, nothing here knows of streams or budgets.

:func:`average_precision` is the area under the precision-recall curve as a sum of
steps, never interpolated: between two points of that curve precision does not change
linearly, and a straight line flatters a detector (Davis & Goadrich 2006). It asks for
every point of an anomaly, at the very moment that its label begins.

:func:`vus_pr` is kinder where labels are not sharp: the volume under the surface of
such curves over all buffer lengths from 0 to ``longest`` (Paparrizos et al., *Volume
under the surface*, VLDB 2022). A buffer of length w widens each anomaly by w/2 points
on either side. Its label falls as sqrt(1 - d/w) with the distance d. With A the
alerted points at a threshold, l the widened labels and P the labelled points:

    TP = sum of l over A        precision = TP / |A|
    recall = min(1, TP / (P + half of the buffers' l over A)) * hit / anomalies

where anomalies whose buffers touch are one, and one is hit if any of its points, buffer
included, is in A. Thresholds are the scores at evenly spaced ranks, as in the authors'
own evaluation, so that figures compare with published ones.
"""

from __future__ import annotations

import numpy as np

from detector.events import F32, F64, I64
from training.history.labels import Truth, runs

THRESHOLDS = 250
DEFAULT_BUFFER = 125  # points, for a metric without a rhythm
_SHORTEST_PERIOD = 3
_LONGEST_PERIOD = 300
_READ = 20_000

Scores = F32 | F64


def average_precision(scores: Scores, truth: Truth) -> float:
    """``scores`` [n] against ``truth`` [n], points of equal score taken together; nan
    without a True.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    # of each run of equal scores
    last = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    return float(
        np.sum(np.diff(hits[last], prepend=0) * hits[last] / (last + 1)) / hits[-1]
    )


def vus_pr(scores: Scores, truth: Truth, longest: int) -> float:
    """Volume under the precision-recall surface for buffers of 0 to ``longest`` points;
    nan without a True.
    """
    if not truth.any():
        return float("nan")
    starts, ends = runs(truth)
    ordered = np.sort(-scores)
    thresholds = ordered[np.linspace(0, len(scores) - 1, THRESHOLDS).astype(np.int64)]
    alerted = np.searchsorted(ordered, thresholds, side="right")
    hits = np.searchsorted(np.sort(-scores[truth]), thresholds, side="right")
    point, distance, place = _buffered(truth, starts, ends, longest // 2)
    # the first threshold at which a buffer point is alerted
    entered = np.searchsorted(thresholds, -scores[place], side="left")
    peaks = _peaks(scores, starts, ends, longest // 2)
    positives = int(truth.sum())
    area = 0.0
    for width in range(longest + 1):
        half = width // 2
        near = distance <= half
        label = (
            np.minimum(
                np.bincount(
                    point[near], np.sqrt(1 - distance[near] / width), len(place)
                ),
                1.0,
            )
            if half
            else np.zeros(len(place))
        )
        soft = np.cumsum(np.bincount(entered, label, THRESHOLDS + 1)[:THRESHOLDS])
        apart = np.flatnonzero(
            np.concatenate(([True], starts[1:] - half > ends[:-1] + half))
        )
        events = np.sort(-np.maximum.reduceat(peaks[half], apart))
        share = np.searchsorted(events, thresholds, side="right") / len(events)
        recall = np.minimum((hits + soft) / (positives + soft / 2), 1.0) * share
        area += float(np.sum(np.diff(recall, prepend=0.0) * (hits + soft) / alerted))
    return area / (longest + 1)


def _buffered(truth: Truth, starts: I64, ends: I64, half: int) -> tuple[I64, I64, I64]:
    """Every pair of an unlabelled point and an anomaly at most ``half`` away: number of
    the point, distance; and the points' indices.
    """
    away = np.arange(1, half + 1)
    index = np.concatenate(
        [(ends[:, None] + away).ravel(), (starts[:, None] - away).ravel()]
    )
    distance = np.tile(away, 2 * len(starts))
    inside = (index >= 0) & (index < len(truth))
    inside[inside] = ~truth[index[inside]]
    place, point = np.unique(index[inside], return_inverse=True)
    return point.astype(np.int64), distance[inside], place


def _peaks(scores: Scores, starts: I64, ends: I64, half: int) -> Scores:
    """[half + 1, events]: the highest score of each anomaly, widened by 0
    to ``half`` points on either side.
    """
    before = np.maximum(starts[None, :] - np.arange(half + 1)[:, None], 0)
    after = np.minimum(ends[None, :] + np.arange(half + 1)[:, None], len(scores) - 1)
    reach = np.maximum(scores[before], scores[after])
    inner = np.array(
        [scores[a : b + 1].max() for a, b in zip(starts, ends, strict=True)]
    )
    return np.asarray(np.maximum.accumulate(np.maximum(reach, inner[None, :]), axis=0))


def buffer_length(values: F32) -> int:
    """The longest buffer to judge a stream by: the period of its first metric that
    moves, ``values`` [n, F], in points.

    The lag of the highest peak of the autocorrelation between 3 and 300 points, three
    more to be past it; :data:`DEFAULT_BUFFER` where there is none. It is how the
    benchmark TSB-AD chooses it (Liu & Paparrizos 2024).
    """
    for column in values[:_READ].T.astype(np.float64):
        known = np.isfinite(column)
        if known.sum() > 4 and np.ptp(column[known]) > 0:
            return _period(np.where(known, column, column[known].mean()))
    return DEFAULT_BUFFER


def _period(x: F64) -> int:
    x = x - x.mean()
    size = 1 << (2 * len(x)).bit_length()
    spectrum = np.abs(np.fft.rfft(x, size)) ** 2
    correlation = np.fft.irfft(spectrum, size)[: min(len(x), 401)][_SHORTEST_PERIOD:]
    peaks = (
        np.flatnonzero(
            (correlation[1:-1] > correlation[:-2])
            & (correlation[1:-1] > correlation[2:])
        )
        + 1
    )
    if not len(peaks):
        return DEFAULT_BUFFER
    period = int(peaks[np.argmax(correlation[peaks])])
    return (
        period + _SHORTEST_PERIOD
        if _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD
        else DEFAULT_BUFFER
    )
