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

from typing import NamedTuple

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
    found = hits[last]
    steps = np.diff(found, prepend=0)
    return float(np.sum(steps * found / (last + 1)) / hits[-1])


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
    pairs = _buffered(truth, starts, ends, longest // 2)
    # the first threshold at which a buffer point is alerted
    buffer_scores = -scores[pairs.places]
    entered = np.searchsorted(thresholds, buffer_scores, side="left")
    peaks = _peaks(scores, starts, ends, longest // 2)
    positives = int(truth.sum())
    area = 0.0
    for width in range(longest + 1):
        half = width // 2
        label = _buffer_labels(pairs, width)
        gained = np.bincount(entered, label, THRESHOLDS + 1)
        soft = np.cumsum(gained[:THRESHOLDS])
        is_apart = starts[1:] - half > ends[:-1] + half
        apart = np.flatnonzero(np.concatenate(([True], is_apart)))
        events = np.sort(-np.maximum.reduceat(peaks[half], apart))
        share = np.searchsorted(events, thresholds, side="right") / len(events)
        found = hits + soft
        recall = np.minimum(found / (positives + soft / 2), 1.0) * share
        steps = np.diff(recall, prepend=0.0)
        area += float(np.sum(steps * found / alerted))
    return area / (longest + 1)


class _Pairs(NamedTuple):
    """Every pair of an unlabelled point and an anomaly near it, [k] each.

    Attributes:
        point: index of the point in ``places``.
        distance: in points.
        places: the points' indices, each once.
    """

    point: I64
    distance: I64
    places: I64


def _buffer_labels(pairs: _Pairs, width: int) -> F64:
    """The label of each buffer point for a buffer of ``width`` points, at most 1."""
    half = width // 2
    count = len(pairs.places)
    if not half:
        return np.zeros(count)
    near = pairs.distance <= half
    each = np.sqrt(1 - pairs.distance[near] / width)
    labels = np.bincount(pairs.point[near], each, count)
    return np.minimum(labels, 1.0)


def _buffered(
    truth: Truth,
    starts: I64,
    ends: I64,
    half: int,
) -> _Pairs:
    """The points at most ``half`` away from an anomaly."""
    away = np.arange(1, half + 1)
    after = ends[:, None] + away
    before = starts[:, None] - away
    index = np.concatenate([after.ravel(), before.ravel()])
    distance = np.tile(away, 2 * len(starts))
    inside = (index >= 0) & (index < len(truth))
    inside[inside] = ~truth[index[inside]]
    place, point = np.unique(index[inside], return_inverse=True)
    return _Pairs(point.astype(np.int64), distance[inside], place)


def _peaks(
    scores: Scores,
    starts: I64,
    ends: I64,
    half: int,
) -> Scores:
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
    inner = correlation[1:-1]
    above_last = inner > correlation[:-2]
    above_next = inner > correlation[2:]
    peaks = np.flatnonzero(above_last & above_next) + 1
    if not len(peaks):
        return DEFAULT_BUFFER
    period = int(peaks[np.argmax(correlation[peaks])])
    if _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD:
        return period + _SHORTEST_PERIOD
    return DEFAULT_BUFFER
