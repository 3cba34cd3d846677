"""``training evaluate``: what a bundle would have found in labelled data, what it would
have missed, and how often it would have cried wolf.

Theory of operation. :mod:`training.evaluation.backtest` says what the daemon would have
raised at each budget; here that meets the labels. An event is *found* if an incident is
firing at some moment from its start to :data:`LATE` ticks after its end; the time to
alert runs from the event's start to the incident's first notification, and is zero for
one that was firing already. An incident that meets no event is a *false alarm*. Rates
are per stream-week of rows that were scored. Areas under curves
(:mod:`training.evaluation.metrics`) need no budget; they are means over the streams
that have events.

Where each metric is a stream of its own, as with the bundle in the package, a label is
about all metrics of its stream unless it names one. An event is found if any metric
that it is about tells of it; false alarms, and the weeks that they are counted by, are
each metric's, as the budget is. Areas are those of the stream: at each moment the
highest score of its metrics (:mod:`training.evaluation.overlay`).

Streams are shared out to all cores; where there are fewer streams than cores, so are
the budgets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.tables import Table
from detector.errors import DataError
from detector.events import F32, F64, I64
from detector.model.bundle import Bundle, load_bundle
from detector.model.settings import ModelSettings
from detector.settings.alerting import AlertingSettings
from detector.timestamps import WEEK
from training.evaluation.backtest import (
    Backtest,
    Incident,
    StreamRows,
    at_budgets,
    backtest,
    shared,
    tables_for,
    tracks,
)
from training.evaluation.metrics import average_precision, buffer_length, vus_pr
from training.evaluation.overlay import as_one as laid_as_one
from training.evaluation.overlay import overlaid
from training.history.labels import (
    Labels,
    applied,
    joined,
    label_column,
    marked,
    read_labels,
)
from training.parallel import ReportProgress, cores, on_cores

LATE = 5  # ticks after an event's end in which an alert still finds it
PICTURED = 6  # worst misses, and as many false alarms
# rows before and after what is pictured, and rows in all
_AROUND = 60
_WIDEST = 2_000
WORTH_A_PROCESS = 20_000  # rows: fewer are done sooner than a process starts


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stream, or all metrics of one, at one budget.

    Attributes:
        found: for each event whether it was.
        delays: seconds to the alert for each event that was found.
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
class Picture:
    """What to look at: some rows around a moment, the metric that weighed most, and how
    bad it is (larger: sooner shown).
    """

    miss: bool
    badness: float
    stream: str
    metric: str
    moment: float
    level: float
    times: F64
    observed: F32
    expected: F32
    scores: F32
    events: F64


@dataclass(frozen=True, slots=True)
class StreamEvaluation:
    """One stream of DATA: areas are nan where it has no event. ``tick`` is in seconds;
    ``metrics`` counts those that are streams of their own.
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


@dataclass(frozen=True, slots=True)
class AtBudget:
    """All streams together at one budget of false alarms a stream-week; times in
    seconds, nan where nothing was found.
    """

    budget: float
    events: int
    found: int
    incidents: int
    false_alarms: int
    false_alarms_per_week: float
    delay_median: float
    delay_p90: float
    firing_outside: float

    @property
    def recall(self) -> float:
        return self.found / self.events if self.events else float("nan")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The whole outcome; ``pictured_budget`` is the one that the pictures were taken
    at.
    """

    bundle: Bundle
    streams: tuple[StreamEvaluation, ...]
    budgets: tuple[AtBudget, ...]
    auc_pr: float
    vus_pr: float
    pictured_budget: float | None

    @property
    def weeks(self) -> float:
        return sum(s.weeks for s in self.streams)

    def worst(self, miss: bool) -> list[Picture]:
        """The worst misses, or false alarms."""
        return sorted(
            (p for s in self.streams for p in s.pictures if p.miss == miss),
            key=lambda p: -p.badness,
        )[:PICTURED]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process does."""

    bundle: Path
    tracks: tuple[StreamRows, ...]
    labels: Labels
    alerting: tuple[AlertingSettings, ...]
    pictured: float | None
    as_one: bool
    model: ModelSettings | None


@dataclass(frozen=True, slots=True)
class _Part:
    """One track of a stream: when it was scored, float64 [n]; the events that it is
    about, float64 [k, 2]; seconds from point to point.
    """

    track: StreamRows
    found: Backtest
    times: F64
    intervals: F64
    tick: float


def evaluate(
    path: Path,
    data: Path,
    labels: Path | None,
    alerting: AlertingSettings,
    budgets: Sequence[float],
    progress: Callable[[int, int], None],
    model: ModelSettings | None = None,
) -> Evaluation:
    """``labels`` None: the label column of the data. ``progress`` is told rows done and
    rows in all; ``model`` says where streams live, if not where those of the bundle do.
    Raises DataError, BundleError, ConfigError.
    """
    tables = tables_for(data, load_bundle(path))
    known = events(tables, labels, data)
    return judge(
        path,
        tables,
        known,
        alerting,
        budgets,
        budgets[len(budgets) // 2],
        progress,
        model=model,
    )


def judge(
    path: Path,
    tables: Sequence[Table],
    labels: Labels,
    alerting: AlertingSettings,
    budgets: Sequence[float],
    pictured: float | None,
    progress: Callable[[int, int], None],
    as_one: bool = False,
    model: ModelSettings | None = None,
) -> Evaluation:
    """The bundle at ``path`` over DATA at each of the budgets, with pictures of one of
    them.

    ``as_one``: incidents of a stream's metrics that overlap are one, and its weeks are
    counted once.
    """
    bundle = load_bundle(path)
    of = tracks(tables, bundle.feature_names)
    shares = [
        _Share(
            path,
            tuple(part),
            {t.name: labels[t.name] for t in part if t.name in labels},
            tuple(at_budgets(alerting, some)),
            pictured,
            as_one,
            model,
        )
        for part, some in divided(of, budgets)
    ]
    total = sum(len(t) for s in shares for t in s.tracks)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    streams = _joined(
        [j for results in on_cores(_judge, shares, tell) for j in results]
    )
    with_events = [s for s in streams if np.isfinite(s.auc_pr)]
    auc, vus = (
        float(np.mean(areas)) if areas else float("nan")
        for areas in ([s.auc_pr for s in with_events], [s.vus_pr for s in with_events])
    )
    together = tuple(
        _together(b, [s.outcomes[i] for s in streams], streams)
        for i, b in enumerate(budgets)
    )
    return Evaluation(bundle, tuple(streams), together, auc, vus, pictured)


def events(tables: Sequence[Table], labels: Path | None, data: Path) -> Labels:
    """From the file, or the column where there is none. Raises DataError: neither, or a
    label that meets no data, or no event at all.
    """
    if labels is not None:
        known = applied(read_labels(labels), tables, labels)
    else:
        column = label_column(tables)
        if column is None:
            raise DataError(
                f"{data} has no `label` column: add one of 0 and 1, or give intervals with --labels FILE (stream,start,end)"
            )
        known = column
    if not any(map(len, known.values())):
        raise DataError(
            f"{labels or data} labels no event: there is nothing to evaluate against"
        )
    return known


def divided(
    of: Sequence[StreamRows], budgets: Sequence[float]
) -> list[tuple[list[StreamRows], Sequence[float]]]:
    """A share of the streams, or else of the budgets, for each core."""
    most = max(1, min(cores(), sum(map(len, of)) // WORTH_A_PROCESS))
    parts = shared(of, most)
    spare = max(1, min(most // len(parts), len(budgets)))
    cuts = np.linspace(0, len(budgets), spare + 1).astype(int).tolist()
    return [(part, budgets[a:b]) for part in parts for a, b in itertools.pairwise(cuts)]


def _joined(results: Sequence[StreamEvaluation]) -> list[StreamEvaluation]:
    """Streams by name, each with its outcomes at all budgets."""
    found: dict[str, StreamEvaluation] = {}
    for one in results:
        first = found.get(one.stream)
        together = (
            one
            if first is None
            else replace(
                first,
                outcomes=first.outcomes + one.outcomes,
                pictures=first.pictures + one.pictures,
            )
        )
        found[one.stream] = together
    return [found[name] for name in sorted(found)]


def _judge(share: _Share, tell: ReportProgress) -> list[StreamEvaluation]:
    bundle = load_bundle(share.bundle)
    scans = backtest(bundle, share.tracks, share.alerting, tell, share.model)
    wholes: dict[str, list[tuple[StreamRows, Backtest]]] = {}
    for track, found in zip(share.tracks, scans, strict=True):
        wholes.setdefault(track.whole, []).append((track, found))
    return [_judged(bundle, share, stream, of) for stream, of in wholes.items()]


def _judged(
    bundle: Bundle,
    share: _Share,
    stream: str,
    of: Sequence[tuple[StreamRows, Backtest]],
) -> StreamEvaluation:
    """One stream: its only track, or those of all its metrics."""
    parts = [_part(bundle, share, track, found) for track, found in of]
    whole = overlaid(of)
    intervals = joined([p.intervals for p in parts])
    tick = max(p.tick for p in parts)
    truth = marked(whole.times, intervals)
    some = bool(truth.any())
    outcomes = []
    pictures = []
    for i, settings in enumerate(share.alerting):
        budget = settings.false_alarms_per_week
        if share.as_one:
            raised = laid_as_one(
                stream, [incident for p in parts for incident in p.found.incidents[i]]
            )
            outcomes.append(
                match_events(intervals, raised, whole.times, LATE * tick, budget)[0]
            )
            continue
        met = [
            match_events(
                p.intervals, p.found.incidents[i], p.times, LATE * p.tick, budget
            )
            for p in parts
        ]
        outcome, missed = _any_metric(intervals, met, whole.times, LATE * tick, parts)
        outcomes.append(outcome)
        if budget == share.pictured:
            pictures += _misses(bundle, parts, intervals, missed, i)
            pictures += [
                x
                for p, (_, _, false) in zip(parts, met, strict=True)
                for x in _false_alarms(bundle, p.track, p.found, p.intervals, false)
            ]
    return StreamEvaluation(
        stream=stream,
        metrics=len(of),
        rows=sum(len(track) for track, _ in of),
        tick=tick,
        weeks=(
            len(whole.times) * tick
            if share.as_one
            else sum(len(p.times) * p.tick for p in parts)
        )
        / WEEK,
        events=len(intervals),
        auc_pr=average_precision(whole.scores, truth) if some else float("nan"),
        vus_pr=vus_pr(whole.scores, truth, buffer_length(whole.values))
        if some
        else float("nan"),
        outcomes=tuple(outcomes),
        pictures=tuple(pictures),
    )


def _part(bundle: Bundle, share: _Share, track: StreamRows, found: Backtest) -> _Part:
    times = track.times[np.isfinite(found.scores)]
    tick = bundle.manifest.tick_interval
    if bundle.manifest.each_metric and len(times) > 1:
        tick = float(np.median(np.diff(times)))  # the bundle is for streams of any
    return _Part(
        track, found, times, share.labels.get(track.name, np.zeros((0, 2))), tick
    )


def _any_metric(
    intervals: F64,
    met: Sequence[tuple[Outcome, list[int], list[Incident]]],
    times: F64,
    late: float,
    parts: Sequence[_Part],
) -> tuple[Outcome, list[int]]:
    """What all metrics of a stream come to: an event is found by any incident that
    meets one of its own metric's; and which are missed.
    """
    hits = [i for outcome, _, false in met for i in outcome.incidents if i not in false]
    found, missed, _ = match_events(intervals, hits, times, late, met[0][0].budget)
    scored = [max(1, len(p.times)) for p in parts]
    outcome = replace(
        found,
        incidents=tuple(
            sorted(
                (i for o, _, _ in met for i in o.incidents), key=lambda i: i.starts_at
            )
        ),
        false_alarms=sum(o.false_alarms for o, _, _ in met),
        firing_outside=float(
            np.average([o.firing_outside for o, _, _ in met], weights=scored)
        ),
    )
    return outcome, missed


def match_events(
    intervals: F64,
    incidents: Sequence[Incident],
    times: F64,
    late: float,
    budget: float,
) -> tuple[Outcome, list[int], list[Incident]]:
    """Events [k, 2] against incidents, on scored ``times`` [n]; also which events were
    missed and which incidents were false.
    """
    last = float(times.max()) if len(times) else 0.0
    spans = np.array([(i.fired_at, i.until(last)) for i in incidents]).reshape(-1, 2)
    # [events, incidents]
    meets = (spans[None, :, 0] <= intervals[:, None, 1] + late) & (
        spans[None, :, 1] >= intervals[:, None, 0]
    )
    found = np.any(meets, axis=1)
    delays = [
        max(0.0, float(spans[m, 0].min()) - start)
        for m, start in zip(meets[found], intervals[found, 0], strict=True)
    ]
    false = [
        i
        for i, met in zip(incidents, np.any(meets, axis=0).tolist(), strict=True)
        if not met
    ]
    outside = (
        ~marked(times, np.column_stack([intervals[:, 0], intervals[:, 1] + late]))
        if len(intervals)
        else np.ones(len(times), np.bool_)
    )
    firing = np.zeros(len(times), np.bool_)
    for start, end in spans:
        firing |= (times >= start) & (times < end) if end < last else times >= start
    share = float(firing[outside].mean()) if outside.any() else 0.0
    outcome = Outcome(
        budget,
        tuple(found.tolist()),
        tuple(delays),
        tuple(incidents),
        len(false),
        share,
    )
    return outcome, np.flatnonzero(~found).tolist(), false


def _together(
    budget: float, outcomes: Sequence[Outcome], streams: Sequence[StreamEvaluation]
) -> AtBudget:
    delays = [d for o in outcomes for d in o.delays]
    total = sum(s.weeks for s in streams)
    false = sum(o.false_alarms for o in outcomes)
    outside = sum(
        o.firing_outside * s.weeks for o, s in zip(outcomes, streams, strict=True)
    )
    return AtBudget(
        budget=budget,
        events=sum(s.events for s in streams),
        found=sum(sum(o.found) for o in outcomes),
        incidents=sum(len(o.incidents) for o in outcomes),
        false_alarms=false,
        false_alarms_per_week=false / total if total else float("nan"),
        delay_median=float(np.median(delays)) if delays else float("nan"),
        delay_p90=float(np.quantile(delays, 0.9)) if delays else float("nan"),
        firing_outside=outside / total if total else float("nan"),
    )


def _misses(
    bundle: Bundle,
    parts: Sequence[_Part],
    intervals: F64,
    missed: Sequence[int],
    budget: int,
) -> list[Picture]:
    """The events that stayed farthest under their level, each in the metric that came
    nearest.
    """
    pictures = []
    for k in missed:
        about = [
            p
            for p in parts
            if np.any(
                (p.intervals[:, 0] <= intervals[k, 1])
                & (p.intervals[:, 1] >= intervals[k, 0])
            )
        ]
        seen = [
            picture
            for p in about
            if (picture := _miss(bundle, p, intervals, k, p.found.levels[budget]))
            is not None
        ]
        if seen:
            pictures.append(min(seen, key=lambda p: p.badness))
    return sorted(pictures, key=lambda p: -p.badness)[:PICTURED]


def _miss(
    bundle: Bundle, part: _Part, intervals: F64, k: int, levels: F32
) -> Picture | None:
    """None where nothing of the event was scored."""
    track = part.track
    found = part.found
    rows = np.flatnonzero(
        (track.times >= intervals[k, 0])
        & (track.times <= intervals[k, 1])
        & np.isfinite(found.scores)
    )
    if not len(rows):
        return None
    peak = int(rows[np.argmax(found.scores[rows])])
    share = found.contribution[rows].sum(axis=0)
    level = float(levels[peak])
    badness = level - float(found.scores[peak])
    return _picture(
        bundle,
        track,
        found,
        intervals,
        True,
        badness,
        int(share.argmax()),
        peak,
        level,
        rows,
    )


def _false_alarms(
    bundle: Bundle,
    track: StreamRows,
    found: Backtest,
    intervals: F64,
    false: Sequence[Incident],
) -> list[Picture]:
    """The incidents that stood highest over their level."""
    pictures = []
    last = float(track.times.max())
    for incident in false:
        rows = np.flatnonzero(
            (track.times >= incident.starts_at)
            & (track.times <= incident.until(last))
            & np.isfinite(found.scores)
        )
        peak = int(rows[np.argmax(found.scores[rows])])
        badness = float(found.scores[peak]) - incident.level
        metric = int(found.contribution[peak].argmax())
        pictures.append(
            _picture(
                bundle,
                track,
                found,
                intervals,
                False,
                badness,
                metric,
                peak,
                incident.level,
                rows,
            )
        )
    return sorted(pictures, key=lambda p: -p.badness)[:PICTURED]


def _picture(
    bundle: Bundle,
    track: StreamRows,
    found: Backtest,
    intervals: F64,
    miss: bool,
    badness: float,
    metric: int,
    peak: int,
    level: float,
    rows: I64,
) -> Picture:
    """The rows around what happened, in the order of time."""
    first = max(0, int(rows[0]) - _AROUND)
    last = min(len(track), int(rows[-1]) + _AROUND)
    if last - first > _WIDEST:
        first = max(first, peak - _WIDEST // 2)
        last = min(last, peak + _WIDEST // 2)
    window = np.arange(first, last)
    window = window[np.argsort(track.times[window], kind="stable")]
    times = track.times[window]
    near = intervals[(intervals[:, 1] >= times[0]) & (intervals[:, 0] <= times[-1])]
    return Picture(
        miss,
        badness,
        track.name,
        bundle.features_of(track.name)[metric].name,
        float(track.times[peak]),
        level,
        times,
        track.values[window, metric],
        found.expected[window, metric],
        found.scores[window],
        near,
    )
