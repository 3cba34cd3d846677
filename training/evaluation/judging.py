"""One process's part of an evaluation: some streams at some budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.events import F64
from detector.model.bundle import Bundle, load_bundle
from detector.model.settings import ModelSettings
from detector.settings.alerting import AlertingSettings
from detector.timestamps import WEEK
from training.evaluation.backtest import (
    Backtest,
    Incident,
    ReportRows,
    StreamRows,
    backtest,
)
from training.evaluation.event_worth import (
    JudgedStream,
    StreamWorth,
    judge_worth,
    quiet_hours,
)
from training.evaluation.matching import (
    LATE,
    Matches,
    MetricRows,
    Outcome,
    match_any_metric,
    match_events,
)
from training.evaluation.metrics import average_precision, buffer_length, vus_pr
from training.evaluation.overlay import Overlay, merge_overlapping, overlay
from training.evaluation.pictures import (
    Picture,
    picture_false_alarms,
    picture_misses,
)
from training.history.labels import Labels, joined, marked


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does."""

    bundle: Path
    streams: tuple[StreamRows, ...]
    labels: Labels
    alerting: tuple[AlertingSettings, ...]
    pictured: float | None
    as_one: bool
    model: ModelSettings | None


@dataclass(frozen=True, slots=True)
class StreamEvaluation:
    """One stream of DATA.

    Attributes:
        metrics: how many of its metrics are streams of their own.
        tick: seconds between two points.
        weeks: that false alarms are counted by.
        auc_pr, vus_pr: NaN if it has no event.
        outcomes: at each budget.
        worth: at each budget; empty if the incidents of its metrics are merged.
    """

    stream: str
    metrics: int
    rows: int
    tick: float
    weeks: float
    events: int
    auc_pr: float
    vus_pr: float
    outcomes: tuple[Outcome, ...]
    pictures: tuple[Picture, ...]
    worth: tuple[StreamWorth, ...]


def judge_share(share: Share, report_rows: ReportRows) -> list[StreamEvaluation]:
    """In a process of its own."""
    bundle = load_bundle(share.bundle)
    results = backtest(bundle, share.streams, share.alerting, report_rows, share.model)
    wholes: dict[str, list[tuple[StreamRows, Backtest]]] = {}
    for stream, found in zip(share.streams, results, strict=True):
        wholes.setdefault(stream.whole, []).append((stream, found))
    return [_judge_stream(bundle, share, name, of) for name, of in wholes.items()]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream that is judged: its metrics, and all of them together."""

    name: str
    metrics: list[MetricRows]
    whole: Overlay
    events: F64
    tick: float


def _judge_stream(
    bundle: Bundle,
    share: Share,
    name: str,
    of: Sequence[tuple[StreamRows, Backtest]],
) -> StreamEvaluation:
    """One stream that is scored as a whole, or all metrics of one."""
    metrics = [_metric_rows(bundle, share, rows, found) for rows, found in of]
    stream = _together(name, metrics, overlay(of))
    outcomes = []
    worth = []
    pictures: list[Picture] = []
    judged = _judged_stream(bundle, stream)
    for number, settings in enumerate(share.alerting):
        budget = settings.false_alarms_per_week
        if share.as_one:
            outcomes.append(_merged_outcome(stream, number, budget))
            continue
        matches = _matches(stream, number, budget)
        outcome, shown = _outcome(bundle, stream, matches, number)
        outcomes.append(outcome)
        worth.append(judge_worth(judged, matches, number))
        if budget == share.pictured:
            pictures += shown()
    auc_pr, volume = _areas(stream)
    return StreamEvaluation(
        stream=name,
        metrics=len(of),
        rows=sum(len(rows) for rows, _ in of),
        tick=stream.tick,
        weeks=_weeks(stream, share.as_one),
        events=len(stream.events),
        auc_pr=auc_pr,
        vus_pr=volume,
        outcomes=tuple(outcomes),
        pictures=tuple(pictures),
        worth=tuple(worth),
    )


def _together(name: str, metrics: list[MetricRows], whole: Overlay) -> _Stream:
    return _Stream(
        name=name,
        metrics=metrics,
        whole=whole,
        events=joined([metric.events for metric in metrics]),
        tick=max(metric.tick for metric in metrics),
    )


def _judged_stream(bundle: Bundle, stream: _Stream) -> JudgedStream:
    late = LATE * stream.tick
    return JudgedStream(
        bundle=bundle,
        name=stream.name,
        metrics=stream.metrics,
        whole=stream.whole,
        events=stream.events,
        late=late,
        quiet=quiet_hours(stream.whole, stream.events, late),
    )


def _metric_rows(
    bundle: Bundle, share: Share, rows: StreamRows, found: Backtest
) -> MetricRows:
    times = rows.times[np.isfinite(found.scores)]
    tick = bundle.manifest.tick_interval
    if bundle.manifest.each_metric and len(times) > 1:
        # such a bundle is for streams of any tick
        tick = float(np.median(np.diff(times)))
    unlabelled = np.zeros((0, 2))
    own = share.labels.get(rows.name, unlabelled)
    return MetricRows(rows, found, times, own, tick)


def _weeks(stream: _Stream, as_one: bool) -> float:
    """Stream-weeks: each metric's, or counted once for all."""
    if as_one:
        return len(stream.whole.times) * stream.tick / WEEK
    return sum(len(metric.times) * metric.tick for metric in stream.metrics) / WEEK


def _areas(stream: _Stream) -> tuple[float, float]:
    """AUC-PR and VUS-PR; NaN without an event."""
    whole = stream.whole
    truth = marked(whole.times, stream.events)
    if not truth.any():
        return float("nan"), float("nan")
    buffer = buffer_length(whole.values)
    area = average_precision(whole.scores, truth)
    return area, vus_pr(whole.scores, truth, buffer)


def _merged_outcome(stream: _Stream, number: int, budget: float) -> Outcome:
    """Overlapping incidents of the metrics are one."""
    raised: list[Incident] = []
    for metric in stream.metrics:
        raised += metric.found.incidents[number]
    merged = merge_overlapping(stream.name, raised)
    late = LATE * stream.tick
    return match_events(stream.events, merged, stream.whole.times, late, budget).outcome


def _matches(stream: _Stream, number: int, budget: float) -> list[Matches]:
    """Each metric's events against its incidents."""
    return [
        match_events(
            metric.events,
            metric.found.incidents[number],
            metric.times,
            LATE * metric.tick,
            budget,
        )
        for metric in stream.metrics
    ]


def _outcome(
    bundle: Bundle, stream: _Stream, matches: Sequence[Matches], number: int
) -> tuple[Outcome, Callable[[], list[Picture]]]:
    """What all metrics come to, and how to picture it."""
    every = match_any_metric(
        stream.events,
        matches,
        stream.whole.times,
        LATE * stream.tick,
        stream.metrics,
    )

    def pictures() -> list[Picture]:
        shown = picture_misses(
            bundle, stream.metrics, stream.events, every.missed, number
        )
        for metric, match in zip(stream.metrics, matches, strict=True):
            shown += picture_false_alarms(bundle, metric, match.false)
        return shown

    return every.outcome, pictures
