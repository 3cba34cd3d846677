"""``training evaluate``: what a bundle would have found in labelled data, what it would have missed, and how often it would have cried wolf.

Theory of operation. :mod:`training.scan` says what the daemon would have raised at each budget; here that meets the labels. An event is *found*
if an incident is firing at some moment from its start to :data:`LATE` ticks after its end; the time to alert runs from the event's start to the
incident's first notification, and is zero for one that was firing already. An incident that meets no event is a *false alarm*. Rates are per
stream-week of rows that were scored. Areas under curves (:mod:`training.metrics`) need no budget; they are means over the streams that have events.

Streams are shared out to all cores; where there are fewer streams than cores, so are the budgets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.alerting.config import AlertingSettings
from detector.errors import DataError
from detector.events import F32, F64, I64
from detector.ingest.tables import Table, read_tables
from detector.model.bundle import Bundle, load_bundle
from training.cores import Tell, cores, on_cores
from training.labels import Labels, label_column, marked, read_labels, refuse_strangers
from training.metrics import average_precision, buffer_length, vus_pr
from training.scan import Incident, Scan, Track, at_budgets, scan, shared, tracks, weeks

LATE = 5  # ticks after an event's end in which an alert still finds it
PICTURED = 6  # worst misses, and as many false alarms
_AROUND, _WIDEST = 60, 2_000  # rows before and after what is pictured, and rows in all
WORTH_A_PROCESS = 20_000  # rows: fewer are done sooner than a process starts


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stream at one budget.

    Attributes:
        found: for each event whether it was.
        delays: seconds to the alert for each event that was found.
        false_alarms: how many of the incidents met no event.
        firing_outside: share of the time outside of events in which an incident was firing.
    """

    budget: float
    found: tuple[bool, ...]
    delays: tuple[float, ...]
    incidents: tuple[Incident, ...]
    false_alarms: int
    firing_outside: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What to look at: some rows around a moment, the metric that weighed most, and how bad it is (larger: sooner shown)."""

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
class Judged:
    """One stream: areas are nan where it has no event."""

    stream: str
    rows: int
    weeks: float
    events: int
    auc_pr: float
    vus_pr: float
    outcomes: tuple[Outcome, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class AtBudget:
    """All streams together at one budget of false alarms a stream-week; times in seconds, nan where nothing was found."""

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
    """The whole outcome; ``pictured_budget`` is the one that the pictures were taken at."""

    bundle: Bundle
    streams: tuple[Judged, ...]
    budgets: tuple[AtBudget, ...]
    auc_pr: float
    vus_pr: float
    pictured_budget: float | None

    @property
    def weeks(self) -> float:
        return sum(s.weeks for s in self.streams)

    def worst(self, miss: bool) -> list[Picture]:
        """The worst misses, or false alarms."""
        return sorted((p for s in self.streams for p in s.pictures if p.miss == miss), key=lambda p: -p.badness)[:PICTURED]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process does."""

    bundle: Path
    tracks: tuple[Track, ...]
    labels: Labels
    alerting: tuple[AlertingSettings, ...]
    pictured: float | None


def evaluate(
    path: Path,
    data: Path,
    labels: Path | None,
    alerting: AlertingSettings,
    budgets: Sequence[float],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """``labels`` None: the label column of the data. ``progress`` is told rows done and rows in all. Raises DataError, BundleError."""
    tables = read_tables(data)
    known = events(tables, labels, data)
    return judge(path, tables, known, alerting, budgets, budgets[len(budgets) // 2], progress)


def judge(
    path: Path,
    tables: Sequence[Table],
    labels: Labels,
    alerting: AlertingSettings,
    budgets: Sequence[float],
    pictured: float | None,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """The bundle at ``path`` over DATA at each of the budgets, with pictures of one of them."""
    bundle = load_bundle(path)
    of = tracks(tables, bundle.feature_names)
    shares = [
        _Share(path, tuple(part), {t.name: labels[t.name] for t in part if t.name in labels}, tuple(at_budgets(alerting, some)), pictured)
        for part, some in divided(of, budgets)
    ]
    total, done = sum(len(t) for s in shares for t in s.tracks), 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    streams = _joined([j for results in on_cores(_judge, shares, tell) for j in results])
    with_events = [s for s in streams if np.isfinite(s.auc_pr)]
    auc, vus = (float(np.mean(areas)) if areas else float("nan") for areas in ([s.auc_pr for s in with_events], [s.vus_pr for s in with_events]))
    together = tuple(_together(b, [s.outcomes[i] for s in streams], streams) for i, b in enumerate(budgets))
    return Evaluation(bundle, tuple(streams), together, auc, vus, pictured)


def events(tables: Sequence[Table], labels: Path | None, data: Path) -> Labels:
    """From the file, or the column where there is none. Raises DataError: neither, or a label that meets no data, or no event at all."""
    spans: dict[str, tuple[float, float]] = {}
    for table in tables:
        for name, rows in table.by_stream():
            first, last = spans.get(name, (np.inf, -np.inf))
            spans[name] = (min(first, float(table.times[rows].min())), max(last, float(table.times[rows].max())))
    if labels is not None:
        known = read_labels(labels)
        refuse_strangers(known, spans, labels)
    else:
        column = label_column(tables)
        if column is None:
            raise DataError(f"{data} has no `label` column: add one of 0 and 1, or give intervals with --labels FILE (stream,start,end)")
        known = column
    if not any(map(len, known.values())):
        raise DataError(f"{labels or data} labels no event: there is nothing to evaluate against")
    return known


def divided(of: Sequence[Track], budgets: Sequence[float]) -> list[tuple[list[Track], Sequence[float]]]:
    """A share of the streams, or else of the budgets, for each core."""
    most = max(1, min(cores(), sum(map(len, of)) // WORTH_A_PROCESS))
    parts = shared(of, most)
    spare = max(1, min(most // len(parts), len(budgets)))
    cuts = np.linspace(0, len(budgets), spare + 1).astype(int).tolist()
    return [(part, budgets[a:b]) for part in parts for a, b in itertools.pairwise(cuts)]


def _joined(results: Sequence[Judged]) -> list[Judged]:
    """Streams by name, each with its outcomes at all budgets."""
    found: dict[str, Judged] = {}
    for one in results:
        first = found.get(one.stream)
        together = one if first is None else replace(first, outcomes=first.outcomes + one.outcomes, pictures=first.pictures + one.pictures)
        found[one.stream] = together
    return [found[name] for name in sorted(found)]


def _judge(share: _Share, tell: Tell) -> list[Judged]:
    bundle = load_bundle(share.bundle)
    scans = scan(bundle, share.tracks, share.alerting, tell)
    return [_judged(bundle, share, t, s) for t, s in zip(share.tracks, scans, strict=True)]


def _judged(bundle: Bundle, share: _Share, track: Track, found: Scan) -> Judged:
    intervals, tick = share.labels.get(track.name, np.zeros((0, 2))), bundle.manifest.tick_interval
    scored = np.isfinite(found.scores)
    truth = marked(track.times, intervals)[scored]
    scores = found.scores[scored]
    some = bool(truth.any())
    outcomes, pictures = [], []
    for settings, levels, incidents in zip(share.alerting, found.levels, found.incidents, strict=True):
        outcome, missed, false = meet(intervals, incidents, track.times[scored], LATE * tick, settings.false_alarms_per_week)
        outcomes.append(outcome)
        if settings.false_alarms_per_week == share.pictured:
            pictures += _misses(bundle, track, found, intervals, missed, levels) + _false_alarms(bundle, track, found, intervals, false)
    return Judged(
        stream=track.name,
        rows=len(track),
        weeks=weeks(found.scores, tick),
        events=len(intervals),
        auc_pr=average_precision(scores, truth) if some else float("nan"),
        vus_pr=vus_pr(scores, truth, buffer_length(track.values[scored])) if some else float("nan"),
        outcomes=tuple(outcomes),
        pictures=tuple(pictures),
    )


def meet(intervals: F64, incidents: Sequence[Incident], times: F64, late: float, budget: float) -> tuple[Outcome, list[int], list[Incident]]:
    """Events [k, 2] against incidents, on scored ``times`` [n]; also which events were missed and which incidents were false."""
    last = float(times.max()) if len(times) else 0.0
    spans = np.array([(i.fired_at, i.until(last)) for i in incidents]).reshape(-1, 2)
    meets = (spans[None, :, 0] <= intervals[:, None, 1] + late) & (spans[None, :, 1] >= intervals[:, None, 0])  # [events, incidents]
    found = np.any(meets, axis=1)
    delays = [max(0.0, float(spans[m, 0].min()) - start) for m, start in zip(meets[found], intervals[found, 0], strict=True)]
    false = [i for i, met in zip(incidents, np.any(meets, axis=0).tolist(), strict=True) if not met]
    outside = ~marked(times, np.column_stack([intervals[:, 0], intervals[:, 1] + late])) if len(intervals) else np.ones(len(times), np.bool_)
    firing = np.zeros(len(times), np.bool_)
    for start, end in spans:
        firing |= (times >= start) & (times < end) if end < last else times >= start
    share = float(firing[outside].mean()) if outside.any() else 0.0
    outcome = Outcome(budget, tuple(found.tolist()), tuple(delays), tuple(incidents), len(false), share)
    return outcome, np.flatnonzero(~found).tolist(), false


def _together(budget: float, outcomes: Sequence[Outcome], streams: Sequence[Judged]) -> AtBudget:
    delays = [d for o in outcomes for d in o.delays]
    total = sum(s.weeks for s in streams)
    false = sum(o.false_alarms for o in outcomes)
    outside = sum(o.firing_outside * s.weeks for o, s in zip(outcomes, streams, strict=True))
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


def _misses(bundle: Bundle, track: Track, found: Scan, intervals: F64, missed: Sequence[int], levels: F32) -> list[Picture]:
    """The events that stayed farthest under their level."""
    pictures = []
    for k in missed:
        rows = np.flatnonzero((track.times >= intervals[k, 0]) & (track.times <= intervals[k, 1]) & np.isfinite(found.scores))
        if len(rows):
            peak = int(rows[np.argmax(found.scores[rows])])
            share = found.contribution[rows].sum(axis=0)
            level = float(levels[peak])
            badness = level - float(found.scores[peak])
            pictures.append(_picture(bundle, track, found, intervals, True, badness, int(share.argmax()), peak, level, rows))
    return sorted(pictures, key=lambda p: -p.badness)[:PICTURED]


def _false_alarms(bundle: Bundle, track: Track, found: Scan, intervals: F64, false: Sequence[Incident]) -> list[Picture]:
    """The incidents that stood highest over their level."""
    pictures, last = [], float(track.times.max())
    for incident in false:
        rows = np.flatnonzero((track.times >= incident.starts_at) & (track.times <= incident.until(last)) & np.isfinite(found.scores))
        peak = int(rows[np.argmax(found.scores[rows])])
        badness = float(found.scores[peak]) - incident.level
        metric = int(found.contribution[peak].argmax())
        pictures.append(_picture(bundle, track, found, intervals, False, badness, metric, peak, incident.level, rows))
    return sorted(pictures, key=lambda p: -p.badness)[:PICTURED]


def _picture(
    bundle: Bundle, track: Track, found: Scan, intervals: F64, miss: bool, badness: float, metric: int, peak: int, level: float, rows: I64
) -> Picture:
    """The rows around what happened, in the order of time."""
    first, last = max(0, int(rows[0]) - _AROUND), min(len(track), int(rows[-1]) + _AROUND)
    if last - first > _WIDEST:
        first, last = max(first, peak - _WIDEST // 2), min(last, peak + _WIDEST // 2)
    window = np.arange(first, last)
    window = window[np.argsort(track.times[window], kind="stable")]
    times = track.times[window]
    near = intervals[(intervals[:, 1] >= times[0]) & (intervals[:, 0] <= times[-1])]
    return Picture(
        miss, badness, track.name, bundle.feature_names[metric], float(track.times[peak]), level, times,
        track.values[window, metric], found.expected[window, metric], found.scores[window], near,
    )  # fmt: skip
