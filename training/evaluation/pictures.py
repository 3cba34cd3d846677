"""What a person should look at: the worst misses and the worst false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64, I64
from detector.model.bundle import Bundle
from training.evaluation.backtest import Incident
from training.evaluation.matching import MetricRows

# Worst misses, and as many false alarms.
PICTURED = 6
# Rows before and after what is pictured, and rows in all.
_AROUND = 60
_WIDEST = 2_000


@dataclass(frozen=True, slots=True)
class Picture:
    """Some rows around a moment, and the metric that contributed most.

    Attributes:
        miss: whether it is a missed event, or a false alarm.
        badness: by how much the score stayed under or went over the threshold; the
            larger, the worse.
        moment: epoch seconds of the highest score.
        threshold: in force at that moment.
        times: float64 [n], in order.
        observed, expected, scores: float32 [n].
        events: float64 [k, 2], the events among these rows.
    """

    miss: bool
    badness: float
    stream: str
    metric: str
    moment: float
    threshold: float
    times: F64
    observed: F32
    expected: F32
    scores: F32
    events: F64


def picture_misses(
    bundle: Bundle,
    metrics: Sequence[MetricRows],
    events: F64,
    missed: Sequence[int],
    budget: int,
) -> list[Picture]:
    """The events that stayed farthest under their threshold.

    Each in the metric that came nearest; ``budget`` is the number of the budget.
    """
    pictures = []
    for k in missed:
        start, end = events[k]
        seen = []
        for metric in metrics:
            begins_before_end = metric.events[:, 0] <= end
            ends_after_start = metric.events[:, 1] >= start
            if np.any(begins_before_end & ends_after_start):
                seen += _picture_miss(
                    bundle,
                    metric,
                    events,
                    k,
                    budget,
                )
        if seen:
            pictures.append(min(seen, key=lambda picture: picture.badness))
    return worst(pictures)


def worst(pictures: Sequence[Picture]) -> list[Picture]:
    """The few that are worst."""
    return sorted(pictures, key=lambda picture: -picture.badness)[:PICTURED]


def _picture_miss(
    bundle: Bundle,
    metric: MetricRows,
    events: F64,
    k: int,
    budget: int,
) -> list[Picture]:
    """Empty if nothing of the event was scored."""
    start, end = events[k]
    rows = _scored_rows(metric, start, end)
    if not len(rows):
        return []
    found = metric.found
    peak = int(rows[np.argmax(found.scores[rows])])
    share = found.contribution[rows].sum(axis=0)
    threshold = float(found.thresholds[budget][peak])
    badness = threshold - float(found.scores[peak])
    moment = _Moment(
        rows,
        peak,
        int(share.argmax()),
        threshold,
    )
    return [
        _picture(
            bundle,
            metric,
            events,
            True,
            badness,
            moment,
        )
    ]


def picture_false_alarms(
    bundle: Bundle, metric: MetricRows, false: Sequence[Incident]
) -> list[Picture]:
    """The false alarms that went highest over their threshold."""
    pictures = []
    found = metric.found
    last = float(metric.rows.times.max())
    for incident in false:
        rows = _scored_rows(metric, incident.starts_at, incident.until(last))
        peak = int(rows[np.argmax(found.scores[rows])])
        badness = float(found.scores[peak]) - incident.threshold
        feature = int(found.contribution[peak].argmax())
        moment = _Moment(rows, peak, feature, incident.threshold)
        events = metric.events
        pictures.append(
            _picture(
                bundle,
                metric,
                events,
                False,
                badness,
                moment,
            )
        )
    return worst(pictures)


def _scored_rows(metric: MetricRows, start: float, end: float) -> I64:
    """Numbers of the rows from ``start`` to ``end`` that have a score."""
    times = metric.rows.times
    within = (times >= start) & (times <= end)
    return np.flatnonzero(within & np.isfinite(metric.found.scores))


@dataclass(frozen=True, slots=True)
class _Moment:
    """Rows of what happened, the row of the highest score, the feature that contributed
    most, and the threshold in force.
    """

    rows: I64
    peak: int
    feature: int
    threshold: float


def _picture(
    bundle: Bundle,
    metric: MetricRows,
    events: F64,
    miss: bool,
    badness: float,
    moment: _Moment,
) -> Picture:
    """The rows around what happened, in the order of time."""
    stream = metric.rows
    window = _window(moment, len(stream))
    window = window[np.argsort(stream.times[window], kind="stable")]
    times = stream.times[window]
    ends_after_start = events[:, 1] >= times[0]
    begins_before_end = events[:, 0] <= times[-1]
    return Picture(
        miss=miss,
        badness=badness,
        stream=stream.name,
        metric=bundle.features_of(stream.name)[moment.feature].name,
        moment=float(stream.times[moment.peak]),
        threshold=moment.threshold,
        times=times,
        observed=metric.found.observed[window, moment.feature],
        expected=metric.found.expected[window, moment.feature],
        scores=metric.found.scores[window],
        events=events[ends_after_start & begins_before_end],
    )


def _window(moment: _Moment, length: int) -> I64:
    """The rows that are shown, of ``length`` in all."""
    first = max(0, int(moment.rows[0]) - _AROUND)
    last = min(length, int(moment.rows[-1]) + _AROUND)
    if last - first > _WIDEST:
        first = max(first, moment.peak - _WIDEST // 2)
        last = min(last, moment.peak + _WIDEST // 2)
    return np.arange(first, last)
