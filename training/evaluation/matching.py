"""Which labelled events were found, when, and which incidents were false alarms.

Theory of operation. An event is *found* if an incident fires at some moment from the
event's start to a few ticks after its end. The time to alert runs from the event's
start to the incident's first notification; it is zero for an incident that was firing
already. An incident that meets no event is a *false alarm*.

If each metric is a stream of its own, a label is about all metrics of its stream unless
it names one. An event is found if any metric that it is about finds it; false alarms
are each metric's, as the budget is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from detector.events import F64
from training.evaluation.backtest import Backtest, Incident, StreamRows
from training.history.labels import Truth, marked

# Ticks after an event's end in which an alert still finds it.
LATE = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stream, or all metrics of one, at one budget.

    Attributes:
        found: for each event whether it was.
        delays: seconds to the alert, for each event that was found.
        false_alarms: how many of the incidents met no event.
        firing_outside: share of the time outside of events in which an incident was
            firing.
    """

    budget: float
    found: tuple[bool, ...]
    delays: tuple[float, ...]
    incidents: tuple[Incident, ...]
    false_alarms: int
    firing_outside: float


@dataclass(frozen=True, slots=True)
class Matches:
    """An outcome, the numbers of the events that were missed, and the false alarms."""

    outcome: Outcome
    missed: list[int]
    false: list[Incident]


@dataclass(frozen=True, slots=True)
class MetricRows:
    """One metric of a stream, or a stream that is scored as a whole.

    Attributes:
        rows, found: what there was, and what the backtest made of it.
        times: float64 [n], when it was scored.
        events: float64 [k, 2], the events that it is about.
        tick: seconds between two points.
    """

    rows: StreamRows
    found: Backtest
    times: F64
    events: F64
    tick: float


def match_events(
    events: F64,
    incidents: Sequence[Incident],
    times: F64,
    late: float,
    budget: float,
) -> Matches:
    """Events [k, 2] against incidents, on scored ``times`` [n].

    ``late``: seconds after an event's end in which an incident still finds it.
    """
    last = float(times.max()) if len(times) else 0.0
    spans = np.array([(i.fired_at, i.until(last)) for i in incidents]).reshape(-1, 2)
    begins_before_end = spans[None, :, 0] <= events[:, None, 1] + late
    ends_after_start = spans[None, :, 1] >= events[:, None, 0]
    meets = begins_before_end & ends_after_start  # [events, incidents]
    found = np.any(meets, axis=1)
    delays = []
    for met, start in zip(meets[found], events[found, 0], strict=True):
        delays.append(max(0.0, float(spans[met, 0].min()) - start))
    is_true = np.any(meets, axis=0).tolist()
    false = [i for i, true in zip(incidents, is_true, strict=True) if not true]
    outside = _outside(events, times, late)
    firing = _firing(spans, times, last)
    outcome = Outcome(
        budget=budget,
        found=tuple(found.tolist()),
        delays=tuple(delays),
        incidents=tuple(incidents),
        false_alarms=len(false),
        firing_outside=float(firing[outside].mean()) if outside.any() else 0.0,
    )
    return Matches(outcome, np.flatnonzero(~found).tolist(), false)


def _outside(events: F64, times: F64, late: float) -> Truth:
    """Which of ``times`` [n] are in no event."""
    if not len(events):
        return np.ones(len(times), np.bool_)
    widened = np.column_stack([events[:, 0], events[:, 1] + late])
    return ~marked(times, widened)


def _firing(spans: F64, times: F64, last: float) -> npt.NDArray[np.bool_]:
    """At which of ``times`` [n] an incident of ``spans`` [m, 2] fires."""
    firing = np.zeros(len(times), np.bool_)
    for start, end in spans:
        # one that fires at the end of the data includes the last point
        within = times < end if end < last else np.ones_like(firing)
        firing |= (times >= start) & within
    return firing


def match_any_metric(
    events: F64,
    matches: Sequence[Matches],
    times: F64,
    late: float,
    metrics: Sequence[MetricRows],
) -> Matches:
    """The outcome of all metrics of a stream.

    An event is found by any incident that meets one of its own metric's events.
    """
    hits: list[Incident] = []
    every: list[Incident] = []
    for match in matches:
        every += match.outcome.incidents
        hits += (i for i in match.outcome.incidents if i not in match.false)
    budget = matches[0].outcome.budget
    found = match_events(
        events,
        hits,
        times,
        late,
        budget,
    )
    scored = [max(1, len(metric.times)) for metric in metrics]
    firing = [match.outcome.firing_outside for match in matches]
    outcome = replace(
        found.outcome,
        incidents=tuple(sorted(every, key=lambda incident: incident.starts_at)),
        false_alarms=sum(match.outcome.false_alarms for match in matches),
        firing_outside=float(np.average(firing, weights=scored)),
    )
    false = [incident for match in matches for incident in match.false]
    return Matches(outcome, found.missed, false)
