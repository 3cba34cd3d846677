"""What alerts were worth: for each labelled event when and how gravely it was told, and
whether its score outranks the quiet hours of its stream.

Theory of operation. :mod:`training.evaluation.matching` says which incidents meet an
event. The one that notified first *tells* of it; an incident that fired before the
event began tells of it at its start. Of a missed event, the margin says how near it
came.

An hour is *quiet* if none of its points is in an event or shortly after one. Its score
is the highest of its points. An event *outranks* the ten worst quiet hours if fewer
than ten quiet hours score as high as it does. If a stream has fewer than a hundred of
them, a tenth of them takes the place of the ten, and at least one. A detector that
ranks events so, and does not tell of them, has a threshold that is too high.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detector.events import F32, F64, Reason, Severity
from detector.model.bundle import Bundle
from detector.timestamps import HOUR
from training.evaluation.backtest import Incident
from training.evaluation.matching import Matches, MetricRows
from training.evaluation.overlay import Overlay
from training.history.labels import marked

# Quiet hours that an event must outrank, and their largest share of a stream's quiet
# hours. Ten false alarms a week are the largest of the default budgets; the share is by
# judgement.
WORST_HOURS = 10
_WORST_SHARE = 10


@dataclass(frozen=True, slots=True)
class EventWorth:
    """One labelled event at one budget; times in epoch seconds.

    Attributes:
        told_at: the first notification, or ``start`` if an incident was firing already;
            None if the event was missed.
        metric: the one that contributed most when the event was told. Of a missed
            event, at its largest margin; empty if nothing of it was scored.
        first: severity when it was told; NONE if it was missed.
        highest: the highest severity until shortly after its end.
        ended_early: how its incidents had ended when the event did; None if one was
            still firing, or the event was missed.
        ended_as: how the last of its incidents ended; None if that one still fired at
            the end of the data, or the event was missed.
        margin: largest distance of the score over the threshold until shortly after the
            end, negative below it; NaN if nothing of it was scored.
        hours_above: quiet hours of its stream that score as high or higher; None if
            there is no quiet hour, or nothing of the event was scored.
        outranks: whether its score is above the ten worst quiet hours.
    """

    stream: str
    start: float
    end: float
    told_at: float | None
    metric: str
    first: Severity
    highest: Severity
    ended_early: Reason | None
    ended_as: Reason | None
    margin: float
    hours_above: int | None
    outranks: bool

    @property
    def is_told(self) -> bool:
        return self.told_at is not None

    @property
    def is_held_back(self) -> bool:
        """Whether it was missed although its score reached the threshold."""
        return not self.is_told and self.margin >= 0

    @property
    def delay(self) -> float:
        """Seconds from its start until it was told; NaN if it was missed."""
        return math.nan if self.told_at is None else self.told_at - self.start


@dataclass(frozen=True, slots=True)
class StreamWorth:
    """All events of a stream at one budget, and the highest severity of each false
    alarm.
    """

    events: tuple[EventWorth, ...]
    false: tuple[Severity, ...]


@dataclass(frozen=True, slots=True)
class SeverityCounts:
    """Events and false alarms by the highest severity that they reached."""

    missed: int
    warning: int
    critical: int
    false_warning: int
    false_critical: int


@dataclass(frozen=True, slots=True)
class RankedCounts:
    """Events that outrank the ten worst quiet hours of their stream, and those that
    outrank all its quiet hours; how many of each were told.
    """

    above_ten: int
    above_ten_told: int
    above_all: int
    above_all_told: int


def count_severities(streams: Iterable[StreamWorth]) -> SeverityCounts:
    """All streams together."""
    events: list[Severity] = []
    false: list[Severity] = []
    for stream in streams:
        events += (event.highest for event in stream.events)
        false += stream.false
    return SeverityCounts(
        missed=events.count(Severity.NONE),
        warning=events.count(Severity.WARNING),
        critical=events.count(Severity.CRITICAL),
        false_warning=false.count(Severity.WARNING),
        false_critical=false.count(Severity.CRITICAL),
    )


def count_ranked(streams: Iterable[StreamWorth]) -> RankedCounts:
    """All streams together."""
    above_ten: list[EventWorth] = []
    for stream in streams:
        above_ten += (event for event in stream.events if event.outranks)
    above_all = [event for event in above_ten if event.hours_above == 0]
    return RankedCounts(
        above_ten=len(above_ten),
        above_ten_told=sum(event.is_told for event in above_ten),
        above_all=len(above_all),
        above_all_told=sum(event.is_told for event in above_all),
    )


def quiet_hours(whole: Overlay, events: F64, late: float) -> F32:
    """The highest score of each quiet hour of a stream, float32 [h], highest first.

    An hour is one of the UTC clock with a scored point. ``late`` is the time in seconds
    that still belongs to an event [k, 2] after its end.
    """
    hours = np.floor(whole.times / HOUR)
    widened = events + np.array([0.0, late])
    eventful = hours[marked(whole.times, widened)]
    is_quiet = ~np.isin(hours, eventful)
    if not is_quiet.any():
        return np.zeros(0, np.float32)
    _, firsts = np.unique(hours[is_quiet], return_index=True)
    highest = np.maximum.reduceat(whole.scores[is_quiet], firsts)
    return np.asarray(np.sort(highest)[::-1], np.float32)


def worst_hours(quiet: int) -> int:
    """How many of the quiet hours an event must outrank."""
    return min(WORST_HOURS, max(1, quiet // _WORST_SHARE))


@dataclass(frozen=True, slots=True)
class JudgedStream:
    """What :func:`judge_worth` looks at.

    Attributes:
        events: float64 [k, 2], those of all metrics together.
        late: seconds after an event's end in which an incident still tells of it.
        quiet: float32 [h], see :func:`quiet_hours`.
    """

    bundle: Bundle
    name: str
    metrics: Sequence[MetricRows]
    whole: Overlay
    events: F64
    late: float
    quiet: F32

    @property
    def last(self) -> float:
        """When it was scored last."""
        return float(self.whole.times.max()) if len(self.whole.times) else 0.0


def judge_worth(
    stream: JudgedStream, matches: Sequence[Matches], budget: int
) -> StreamWorth:
    """The stream at the budget with this number; ``matches`` of each of its metrics."""
    true: list[Incident] = []
    false: list[Severity] = []
    for match in matches:
        true += (i for i in match.outcome.incidents if i not in match.false)
        false += (i.severity(math.inf) for i in match.false)
    spans = stream.events.tolist()
    events = tuple(_event(stream, start, end, true, budget) for start, end in spans)
    return StreamWorth(events, tuple(false))


def _event(
    stream: JudgedStream,
    start: float,
    end: float,
    incidents: Sequence[Incident],
    budget: int,
) -> EventWorth:
    """The event from ``start`` to ``end``; ``incidents`` are no false alarms."""
    until = end + stream.late
    peak = _peak(stream, start, end, budget)
    met = [
        incident
        for incident in incidents
        if incident.fired_at <= until and incident.until(stream.last) >= start
    ]
    told = _Told.by(met, start, end, until)
    above = None
    outranks = False
    if peak.is_scored and len(stream.quiet):
        above = int(np.count_nonzero(stream.quiet >= peak.score))
        outranks = above < worst_hours(len(stream.quiet))
    return EventWorth(
        stream=stream.name,
        start=start,
        end=end,
        told_at=told.at,
        metric=peak.metric if told.at is None else told.metric,
        first=told.first,
        highest=told.highest,
        ended_early=told.ended_early,
        ended_as=told.ended_as,
        margin=peak.margin,
        hours_above=above,
        outranks=outranks,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What incidents told of an event, see :class:`EventWorth`."""

    at: float | None = None
    metric: str = ""
    first: Severity = Severity.NONE
    highest: Severity = Severity.NONE
    ended_early: Reason | None = None
    ended_as: Reason | None = None

    @classmethod
    def by(
        cls, met: Sequence[Incident], start: float, end: float, until: float
    ) -> _Told:
        """By the incidents that meet the event, which lasts from ``start`` to ``end``.

        The first one tells of it; of several at once, the gravest.
        """
        if not met:
            return cls()

        def precedence(incident: Incident) -> tuple[float, int, float]:
            at = max(start, incident.fired_at)
            margin = incident.score - incident.threshold
            return at, -incident.severity(at), -margin

        teller = min(met, key=precedence)
        at = max(start, teller.fired_at)
        return cls(
            at=at,
            metric=teller.metrics[0] if teller.metrics else "",
            first=teller.severity(at),
            highest=max(incident.severity(until) for incident in met),
            ended_early=_end_of([i for i in met if i.fired_at <= max(end, at)], end),
            ended_as=_end_of(met, math.inf),
        )


def _end_of(incidents: Sequence[Incident], moment: float) -> Reason | None:
    """How the last of them had ended by ``moment``; None if one was still firing."""
    ends = [incident.until(math.inf) for incident in incidents]
    is_over = [
        incident.ended_at is not None and incident.ended_at <= moment
        for incident in incidents
    ]
    if not all(is_over):
        return None
    return incidents[ends.index(max(ends))].ended_as


@dataclass(frozen=True, slots=True)
class _Peak:
    """How far the score of an event went.

    Attributes:
        score: the highest of all metrics that the event is about.
        margin: the largest distance over a threshold.
        metric: the one that contributed most at that margin.
    """

    score: float = -math.inf
    margin: float = math.nan
    metric: str = ""

    @property
    def is_scored(self) -> bool:
        return math.isfinite(self.margin)


def _peak(stream: JudgedStream, start: float, end: float, budget: int) -> _Peak:
    """Over the metrics that the event is about, until shortly after its ``end``."""
    until = end + stream.late
    peaks = []
    for metric in stream.metrics:
        begins_before_end = metric.events[:, 0] <= end
        ends_after_start = metric.events[:, 1] >= start
        if np.any(begins_before_end & ends_after_start):
            peaks.append(_metric_peak(stream.bundle, metric, start, until, budget))
    scored = [peak for peak in peaks if peak.is_scored]
    if not scored:
        return _Peak()
    highest = max(peak.score for peak in scored)
    furthest = max(scored, key=lambda peak: peak.margin)
    return replace(furthest, score=highest)


def _metric_peak(
    bundle: Bundle, metric: MetricRows, start: float, until: float, budget: int
) -> _Peak:
    times = metric.rows.times
    scores = metric.found.scores
    within = (times >= start) & (times <= until)
    rows = np.flatnonzero(within & np.isfinite(scores))
    if not len(rows):
        return _Peak()
    margins = scores[rows] - metric.found.thresholds[budget][rows]
    furthest = int(np.argmax(margins))
    contribution = metric.found.contribution[rows[furthest]]
    features = bundle.features_of(metric.rows.name)
    return _Peak(
        score=float(scores[rows].max()),
        margin=float(margins[furthest]),
        metric=features[int(contribution.argmax())].name,
    )
