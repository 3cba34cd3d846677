"""``training compare``: what two bundles raise over the same data: what both do, and
what only one of them does.

Theory of operation. Both run as the daemon would run them, at the same budget. Two
incidents of a stream are the same if they overlap in time or begin within a tolerance
of each other. Pairs are made from the nearest beginnings on. Each incident is in one
pair at most, so that one long incident does not stand for many short ones. With labels,
each bundle also shows how it does against them.

A bundle that makes each metric a stream raises ``host-1/cpu`` where another raises
``host-1``. Beside such a bundle, its metrics are merged by their stream: overlapping
incidents of one stream are one, its week is counted once, and an event is found if any
metric finds it. Its budget still holds for each metric, so that a stream of many may
raise as many times as much: that is what running it comes to. Two such bundles are
compared metric by metric. A budget for the whole fleet is shared by the streams of each
bundle, so that both may raise as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.data.read_options import ReadOptions
from detector.data.table import Table
from detector.model.bundle import load_bundle
from detector.model.settings import ModelSettings
from detector.replay.chunks import count_streams
from detector.settings.alerting import AlertingSettings
from training.evaluation.backtest import Incident, tables_for
from training.evaluation.evaluate import Evaluation, ReportTotal, events, judge
from training.history.labels import Labels

# Ticks that the same incident may begin apart.
_DEFAULT = ReadOptions()
TOLERANCE = 10.0


@dataclass(frozen=True, slots=True)
class Pairing:
    """Incidents of A and B that are the same, and those that only one raised."""

    both: list[tuple[Incident, Incident]]
    only_a: list[Incident]
    only_b: list[Incident]


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Two bundles on the same data; all incidents in order of time.

    Attributes:
        both: pairs of A's incident and B's.
        as_one: one of them scores each metric by itself and the other does not;
            overlapping incidents of a stream's metrics are one.
    """

    a: Evaluation
    b: Evaluation
    both: tuple[tuple[Incident, Incident], ...]
    only_a: tuple[Incident, ...]
    only_b: tuple[Incident, ...]
    as_one: bool


def compare(
    paths: tuple[Path, Path],
    data: Path,
    labels: Path | None,
    alerting: AlertingSettings,
    tolerance: float,
    report_progress: ReportTotal,
    model: ModelSettings | None = None,
    options: ReadOptions = _DEFAULT,
) -> BundleComparison:
    """``tolerance`` in ticks; labels None: the data's label column, if any.

    ``model`` says which time zones the streams have, if not those of each bundle.
    Raises DataError, BundleError, ConfigError.
    """
    bundles = [load_bundle(path) for path in paths]
    each = [bundle.manifest.each_metric for bundle in bundles]
    tables = {}
    for kind in dict.fromkeys(each):
        alike = [b for b in bundles if b.manifest.each_metric == kind]
        tables[kind] = tables_for(data, *alike, options=options)
    known = _labels(tables, labels, data)
    as_one = len(tables) > 1
    budgets = _budgets(alerting, tables)
    a, b = (
        judge(
            path,
            tables[kind],
            known[kind],
            alerting,
            (budgets[kind],),
            None,
            report_progress,
            as_one,
            model,
        )
        for path, kind in zip(paths, each, strict=True)
    )
    tick = max(_median_tick(evaluation) for evaluation in (a, b))
    return _paired(a, b, tolerance * tick, as_one)


def _budgets(
    alerting: AlertingSettings, tables: Mapping[bool, Sequence[Table]]
) -> dict[bool, float]:
    """The budget of one stream, by kind of bundle.

    No one stated number is that of whole streams and that of their metrics. So the
    streams of the data share the fleet's budget if both kinds are compared.
    """
    if len(tables) > 1:
        alerting = alerting.model_copy(update={"fleet_streams": None})
    return {
        kind: alerting.stream_budget(count_streams(found))
        for kind, found in tables.items()
    }


def _labels(
    tables: Mapping[bool, Sequence[Table]], labels: Path | None, data: Path
) -> dict[bool, Labels]:
    """The labels by kind of bundle; metrics have those of their stream if both are."""
    known = {kind: _known(found, labels, data) for kind, found in tables.items()}
    if len(tables) > 1:
        known[True] = _of_metrics(known[False], tables[True])
    return known


def _known(tables: Sequence[Table], labels: Path | None, data: Path) -> Labels:
    if labels is None and all(table.label is None for table in tables):
        return {}
    return events(tables, labels, data)


def _of_metrics(labels: Labels, tables: Sequence[Table]) -> Labels:
    """The labels of whole streams, for each of their metrics.

    An event of the stream is one of each metric, whichever has a point in it.
    """
    found = {}
    for table in tables:
        for name, whole in zip(table.streams, table.wholes, strict=True):
            if whole in labels:
                found[name] = labels[whole]
    return found


def _median_tick(evaluation: Evaluation) -> float:
    return float(np.median([s.tick for s in evaluation.streams]))


def _paired(
    a: Evaluation,
    b: Evaluation,
    tolerance: float,
    as_one: bool,
) -> BundleComparison:
    """All streams together; ``tolerance`` in seconds."""
    ours = _incidents(a)
    theirs = _incidents(b)
    both: list[tuple[Incident, Incident]] = []
    only_a: list[Incident] = []
    only_b: list[Incident] = []
    for stream in sorted({*ours, *theirs}):
        found = pair(ours.get(stream, ()), theirs.get(stream, ()), tolerance)
        both += found.both
        only_a += found.only_a
        only_b += found.only_b
    return BundleComparison(
        a=a,
        b=b,
        both=tuple(sorted(both, key=lambda two: two[0].starts_at)),
        only_a=tuple(sorted(only_a, key=lambda one: one.starts_at)),
        only_b=tuple(sorted(only_b, key=lambda one: one.starts_at)),
        as_one=as_one,
    )


def _incidents(evaluation: Evaluation) -> Mapping[str, Sequence[Incident]]:
    found: dict[str, list[Incident]] = {}
    for stream in evaluation.streams:
        for incident in stream.outcomes[0].incidents:
            found.setdefault(incident.stream, []).append(incident)
    return found


def pair(a: Sequence[Incident], b: Sequence[Incident], tolerance: float) -> Pairing:
    """Incidents of one stream; ``tolerance`` in seconds."""
    candidates = []
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            apart = abs(one.starts_at - other.starts_at)
            if apart <= tolerance or _overlap(one, other):
                candidates.append((apart, i, j))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return Pairing(
        both=[(a[i], b[j]) for i, j in sorted(pairs.items())],
        only_a=[one for i, one in enumerate(a) if i not in pairs],
        only_b=[other for j, other in enumerate(b) if j not in taken],
    )


def _overlap(one: Incident, other: Incident) -> bool:
    starts_before_end = one.starts_at <= other.until(np.inf)
    ends_after_start = other.starts_at <= one.until(np.inf)
    return starts_before_end and ends_after_start
