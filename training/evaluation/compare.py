"""``training compare``: what two bundles raise over the same data: what both do, and
what only one of them does.

Both are run as the daemon would run them, at the same budget. Two incidents of a stream
are the same if they overlap in time or begin within a tolerance of each other. Pairs
are made from the nearest beginnings on, and each incident is in one pair at most, so
that one long incident does not stand for many short ones. With labels, each bundle also
shows how it does against them.

A bundle that makes each metric a stream raises ``host-1/cpu`` where another raises
``host-1``. Beside such a one its metrics are laid over each other by their stream:
incidents of one stream that overlap are one, a week of it is one week, and an event is
found if any metric finds it. Its budget still holds for each metric, so that a stream
of many may raise as many times as much: that is what running it comes to. Two such
bundles are compared metric by metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as Shown

from detector.data.tables import Table
from detector.model.bundle import load_bundle
from detector.model.settings import ModelSettings
from detector.settings.alerting import AlertingSettings
from detector.timestamps import rfc3339
from training.evaluation.backtest import Incident, tables_for
from training.evaluation.evaluate import Evaluation, events, judge
from training.history.labels import Labels
from training.reports.evaluation_report import duration

TOLERANCE = 10.0  # ticks
_LISTED = 20


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Two bundles on the same data; ``both`` holds pairs of A's incident and B's. All
    in order of time.

    ``as_one``: one of them scores each metric by itself and the other does not;
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
    progress: Callable[[int, int], None],
    model: ModelSettings | None = None,
) -> BundleComparison:
    """``tolerance`` in ticks; labels None: none, or those of the data's label column;
    ``model`` says where streams live, if not where those of each bundle do. Raises
    DataError, BundleError, ConfigError.
    """
    bundles = [load_bundle(path) for path in paths]
    each = [bundle.manifest.each_metric for bundle in bundles]
    kinds = {
        k: tables_for(
            data, *(bundle for bundle in bundles if bundle.manifest.each_metric == k)
        )
        for k in each
    }
    known = {k: _known(tables, labels, data) for k, tables in kinds.items()}
    as_one = len(kinds) > 1
    budget = (alerting.false_alarms_per_week,)
    # an event of the stream is one of each of its metrics, whichever of them has a
    # point in it
    if as_one:
        known[True] = {
            name: known[False][whole]
            for t in kinds[True]
            for name, whole in zip(t.streams, t.wholes, strict=True)
            if whole in known[False]
        }
    a, b = (
        judge(path, kinds[k], known[k], alerting, budget, None, progress, as_one, model)
        for path, k in zip(paths, each, strict=True)
    )
    seconds = tolerance * max(
        float(np.median([s.tick for s in e.streams])) for e in (a, b)
    )
    both: list[tuple[Incident, Incident]] = []
    only_a = []
    only_b = []
    mine = _incidents(a)
    theirs = _incidents(b)
    for stream in sorted({*mine, *theirs}):
        pairs, left, right = paired(
            mine.get(stream, ()), theirs.get(stream, ()), seconds
        )
        both += pairs
        only_a += left
        only_b += right
    both.sort(key=lambda pair: pair[0].starts_at)
    first, second = (
        tuple(sorted(left, key=lambda i: i.starts_at)) for left in (only_a, only_b)
    )
    return BundleComparison(a, b, tuple(both), first, second, as_one)


def _known(tables: Sequence[Table], labels: Path | None, data: Path) -> Labels:
    return (
        events(tables, labels, data)
        if labels is not None or any(t.label is not None for t in tables)
        else {}
    )


def _incidents(evaluation: Evaluation) -> Mapping[str, Sequence[Incident]]:
    found: dict[str, list[Incident]] = {}
    for incident in (i for s in evaluation.streams for i in s.outcomes[0].incidents):
        found.setdefault(incident.stream, []).append(incident)
    return found


def paired(
    a: Sequence[Incident], b: Sequence[Incident], tolerance: float
) -> tuple[list[tuple[Incident, Incident]], list[Incident], list[Incident]]:
    """Pairs, and what is left of each side; ``tolerance`` in seconds."""
    candidates = []
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            apart = abs(one.starts_at - other.starts_at)
            overlap = one.starts_at <= other.until(
                np.inf
            ) and other.starts_at <= one.until(np.inf)
            if overlap or apart <= tolerance:
                candidates.append((apart, i, j))
    pairs: dict[int, int] = {}
    for _, i, j in sorted(candidates):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    taken = set(pairs.values())
    left = [one for i, one in enumerate(a) if i not in pairs]
    right = [other for j, other in enumerate(b) if j not in taken]
    return [(a[i], b[j]) for i, j in sorted(pairs.items())], left, right


def say(
    comparison: BundleComparison,
    names: tuple[str, str],
    console: Console,
    everything: bool,
) -> None:
    """Figures of both sides, then the incidents of each kind: the last ones of many,
    unless ``everything``.
    """
    console.print(_figures(comparison, names))
    if comparison.as_one:
        one = names[0] if comparison.a.bundle.manifest.each_metric else names[1]
        console.print(
            f"\n{one} scores each metric by itself: incidents of one stream's metrics that overlap are one here, and any metric finds an event; "
            "its budget holds for each metric.",
            highlight=False,
            soft_wrap=True,
        )
    for title, incidents in (
        (f"only in {names[0]}", comparison.only_a),
        (f"only in {names[1]}", comparison.only_b),
    ):
        console.print(f"\n{title}: {len(incidents):,}", highlight=False)
        _list(console, [(i,) for i in incidents], everything)
    console.print(f"\nin both: {len(comparison.both):,}", highlight=False)
    _list(console, comparison.both, everything)


def _figures(comparison: BundleComparison, names: tuple[str, str]) -> Shown:
    shown = Shown(box=None, padding=(0, 2, 0, 0), header_style="none")
    columns = ["bundle", "incidents", "a stream-week", "only here"]
    judged = comparison.a.budgets[0].events > 0
    columns += (
        ["events found", "false a stream-week", "to alert", "AUC-PR", "VUS-PR"]
        if judged
        else []
    )
    for name in columns:
        shown.add_column(name, justify="left" if name == "bundle" else "right")
    for name, side, only in zip(
        names,
        (comparison.a, comparison.b),
        (comparison.only_a, comparison.only_b),
        strict=True,
    ):
        at = side.budgets[0]
        row = [
            name,
            f"{at.incidents:,}",
            f"{at.incidents / side.weeks if side.weeks else 0.0:.3g}",
            f"{len(only):,}",
        ]
        if judged:
            row += [
                f"{at.found} of {at.events}",
                f"{at.false_alarms_per_week:.3g}",
                duration(at.delay_median),
                f"{side.auc_pr:.3f}",
                f"{side.vus_pr:.3f}",
            ]
        shown.add_row(*row)
    return shown


def _list(
    console: Console, rows: Sequence[tuple[Incident, ...]], everything: bool
) -> None:
    listed = rows if everything else rows[:_LISTED]
    for row in listed:
        first = row[0]
        until = (
            "still firing"
            if first.ended_at is None
            else f"for {duration(first.ended_at - first.starts_at)}"
        )
        scores = " and ".join(f"{i.score:.2f} (level {i.level:.2f})" for i in row)
        console.print(
            f"  {rfc3339(first.starts_at)}  {first.stream}  {until}, score {scores}: {', '.join(first.metrics[:3])}",
            highlight=False,
            soft_wrap=True,
        )
    if len(listed) < len(rows):
        console.print(
            f"  … and {len(rows) - len(listed):,} more (--all lists them)",
            highlight=False,
        )
