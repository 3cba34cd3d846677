"""``training evaluate``: what a bundle would have found in labelled data, what it would
have missed, and how often it would have raised a false alarm.

Theory of operation. :mod:`training.evaluation.backtest` says what the daemon would have
raised at each budget; :mod:`training.evaluation.matching` compares that with the
labels. Rates are per stream-week of rows that were scored. Areas under curves
(:mod:`training.evaluation.metrics`) need no budget; they are means over the streams
that have events.

With the built-in bundle, each metric is a stream of its own. Then false alarms are
counted by each metric's weeks, as the budget is. Areas are those of the whole stream
(:mod:`training.evaluation.overlay`).

Streams are shared out to all cores. If there are fewer streams than cores, so are the
budgets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.read_options import ReadOptions
from detector.data.table import Table
from detector.errors import DataError
from detector.model.bundle import Bundle, load_bundle
from detector.model.settings import ModelSettings
from detector.replay.chunks import count_streams
from detector.settings.alerting import AlertingSettings
from training.evaluation.backtest import (
    StreamRows,
    at_budgets,
    rows_by_stream,
    shares,
    tables_for,
)
from training.evaluation.event_worth import StreamWorth
from training.evaluation.judging import Share, StreamEvaluation, judge_share
from training.evaluation.pictures import Picture, worst
from training.history.labels import Labels, applied, label_column, read_labels
from training.parallel import available_cores, on_cores

#: False alarms a stream-week, if none are named: a decade either side of the default.
_DEFAULT = ReadOptions()
BUDGETS = (0.1, 1.0, 10.0)

# Rows for which a process is worth its start, some two seconds.
WORTH_A_PROCESS = 20_000

#: Receives the rows done and the rows in all.
ReportTotal = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AtBudget:
    """All streams together at one budget of false alarms a stream-week; times in
    seconds, NaN if nothing was found.
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
    """The whole outcome; ``pictured_budget`` is that of the pictures and of the list of
    events, ``share`` is a stream's of the budget for the whole fleet, if there is one.
    """

    bundle: Bundle
    streams: tuple[StreamEvaluation, ...]
    budgets: tuple[AtBudget, ...]
    auc_pr: float
    vus_pr: float
    pictured_budget: float | None
    share: float | None = None

    @property
    def weeks(self) -> float:
        return sum(s.weeks for s in self.streams)

    def worth(self, number: int) -> list[StreamWorth]:
        """Of each stream at the budget with this number; empty if none was judged."""
        return [s.worth[number] for s in self.streams if s.worth]

    def worst(self, miss: bool) -> list[Picture]:
        """The worst misses, or false alarms."""
        pictures: list[Picture] = []
        for stream in self.streams:
            pictures += (p for p in stream.pictures if p.miss == miss)
        return worst(pictures)


def evaluate(
    path: Path,
    data: Path,
    labels: Path | None,
    alerting: AlertingSettings,
    budgets: Sequence[float] | None,
    report_progress: ReportTotal,
    model: ModelSettings | None = None,
    shown: float | None = None,
    options: ReadOptions = _DEFAULT,
) -> Evaluation:
    """The bundle at ``path`` over labelled data.

    ``budgets`` None: :data:`BUDGETS`, and a stream's share of a budget for the whole
    fleet, if there is one. ``labels`` None: the label column of the data. ``model``
    says which time zones the streams have, if not those of the bundle. ``shown`` is the
    budget of the pictures and the list of events, if not the share or the middle one.
    Raises DataError, BundleError, ConfigError.
    """
    tables = tables_for(data, load_bundle(path), options=options)
    known = events(tables, labels, data)
    share = None if budgets else _share(alerting, tables)
    judged = _with_budgets(budgets or BUDGETS, share, shown)
    pictured = shown or share or judged[len(judged) // 2]
    evaluation = judge(
        path, tables, known, alerting, judged, pictured, report_progress, model=model
    )
    return replace(evaluation, share=share)


def _share(alerting: AlertingSettings, tables: Sequence[Table]) -> float | None:
    """A stream's share of the budget for the whole fleet, if there is one."""
    if alerting.false_alarms_per_week_total is None:
        return None
    return alerting.stream_budget(count_streams(tables))


def _with_budgets(budgets: Sequence[float], *more: float | None) -> Sequence[float]:
    """All budgets that are given, in rising order."""
    return sorted({*budgets, *(budget for budget in more if budget is not None)})


def judge(
    path: Path,
    tables: Sequence[Table],
    labels: Labels,
    alerting: AlertingSettings,
    budgets: Sequence[float],
    pictured: float | None,
    report_progress: ReportTotal,
    as_one: bool = False,
    model: ModelSettings | None = None,
) -> Evaluation:
    """The bundle at ``path`` over DATA at each of the budgets, with pictures of one.

    ``as_one``: overlapping incidents of a stream's metrics are one, and a stream's
    weeks are counted once.
    """
    bundle = load_bundle(path)
    of = rows_by_stream(tables, bundle.feature_names)
    work = [
        Share(
            bundle=path,
            streams=tuple(part),
            labels={s.name: labels[s.name] for s in part if s.name in labels},
            alerting=tuple(at_budgets(alerting, some)),
            pictured=pictured,
            as_one=as_one,
            model=model,
        )
        for part, some in divide(of, budgets)
    ]
    streams = _judge_shares(work, report_progress)
    with_events = [s for s in streams if np.isfinite(s.auc_pr)]
    return Evaluation(
        bundle=bundle,
        streams=tuple(streams),
        budgets=tuple(_at_budget(b, i, streams) for i, b in enumerate(budgets)),
        auc_pr=_mean([s.auc_pr for s in with_events]),
        vus_pr=_mean([s.vus_pr for s in with_events]),
        pictured_budget=pictured,
    )


def _judge_shares(
    work: Sequence[Share], report_progress: ReportTotal
) -> list[StreamEvaluation]:
    """All shares, on all cores."""
    total = sum(len(stream) for share in work for stream in share.streams)
    done = 0

    def report_rows(count: int) -> None:
        nonlocal done
        done += count
        report_progress(done, total)

    results = on_cores(judge_share, work, report_rows)
    return _by_stream(itertools.chain.from_iterable(results))


def _mean(areas: Sequence[float]) -> float:
    return float(np.mean(areas)) if areas else float("nan")


def events(tables: Sequence[Table], labels: Path | None, data: Path) -> Labels:
    """From the file ``labels``, or from the label column if there is none.

    Raises DataError: neither is there, a label meets no data, or there is no event.
    """
    if labels is not None:
        known = applied(read_labels(labels), tables, labels)
    else:
        column = label_column(tables)
        if column is None:
            raise DataError(
                f"{data} has no `label` column: add one of 0 and 1, or give intervals "
                "with --labels FILE (stream,start,end)"
            )
        known = column
    if not any(map(len, known.values())):
        raise DataError(
            f"{labels or data} labels no event: there is nothing to evaluate against"
        )
    return known


def divide(
    streams: Sequence[StreamRows], budgets: Sequence[float]
) -> list[tuple[list[StreamRows], Sequence[float]]]:
    """A share of the streams, or else of the budgets, for each core."""
    rows = sum(map(len, streams))
    most = max(1, min(available_cores(), rows // WORTH_A_PROCESS))
    parts = shares(streams, most)
    spare = max(1, min(most // len(parts), len(budgets)))
    cuts = np.linspace(0, len(budgets), spare + 1).astype(int).tolist()
    ranges = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    return [(part, budgets[some]) for part in parts for some in ranges]


def _by_stream(results: Iterable[StreamEvaluation]) -> list[StreamEvaluation]:
    """Streams by name, each with its outcomes at all budgets."""
    found: dict[str, StreamEvaluation] = {}
    for one in results:
        first = found.setdefault(one.stream, one)
        if first is not one:
            outcomes = first.outcomes + one.outcomes
            pictures = first.pictures + one.pictures
            worth = first.worth + one.worth
            both = replace(first, outcomes=outcomes, pictures=pictures, worth=worth)
            found[one.stream] = both
    return [found[name] for name in sorted(found)]


def _at_budget(
    budget: float, number: int, streams: Sequence[StreamEvaluation]
) -> AtBudget:
    """All streams at the budget with this number."""
    outcomes = [s.outcomes[number] for s in streams]
    delays = [delay for outcome in outcomes for delay in outcome.delays]
    weeks = sum(s.weeks for s in streams)
    false = sum(outcome.false_alarms for outcome in outcomes)
    pairs = zip(outcomes, streams, strict=True)
    outside = sum(outcome.firing_outside * s.weeks for outcome, s in pairs)
    nan = float("nan")
    return AtBudget(
        budget=budget,
        events=sum(s.events for s in streams),
        found=sum(sum(outcome.found) for outcome in outcomes),
        incidents=sum(len(outcome.incidents) for outcome in outcomes),
        false_alarms=false,
        false_alarms_per_week=false / weeks if weeks else nan,
        delay_median=float(np.median(delays)) if delays else nan,
        delay_p90=float(np.quantile(delays, 0.9)) if delays else nan,
        firing_outside=outside / weeks if weeks else nan,
    )
