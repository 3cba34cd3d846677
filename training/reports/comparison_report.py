"""What a comparison of two bundles says on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from detector.timestamps import rfc3339
from training.evaluation.backtest import Incident
from training.evaluation.compare import BundleComparison
from training.evaluation.evaluate import Evaluation
from training.reports.durations import duration

# Incidents of a kind that are listed, and metrics of an incident.
_LISTED = 20
_METRICS = 3

Names = tuple[str, str]


def print_comparison(
    comparison: BundleComparison,
    names: Names,
    console: Console,
    everything: bool,
) -> None:
    """Figures of both bundles, called ``names``, then the incidents of each kind.

    At most 20 incidents of a kind are listed unless ``everything``.
    """
    console.print(_figures(comparison, names))
    if comparison.as_one:
        a_is_univariate = comparison.a.bundle.manifest.each_metric
        univariate = names[0] if a_is_univariate else names[1]
        console.print(
            f"\n{univariate} scores each metric by itself: here, overlapping incidents "
            "of one stream's metrics are one, and any metric finds an event; "
            "its budget holds for each metric.",
            highlight=False,
            soft_wrap=True,
        )
    only = ((names[0], comparison.only_a), (names[1], comparison.only_b))
    for name, incidents in only:
        console.print(f"\nonly in {name}: {len(incidents):,}", highlight=False)
        _list(console, [(incident,) for incident in incidents], everything)
    console.print(f"\nin both: {len(comparison.both):,}", highlight=False)
    _list(console, comparison.both, everything)


def budget_line(comparison: BundleComparison, names: Names, total: float | None) -> str:
    """The budget of a stream, with each bundle's own share of a ``total``, if any."""
    a = comparison.a.budgets[0].budget
    b = comparison.b.budgets[0].budget
    if total is None:
        return f"at {a:g} false alarms a stream-week:"
    return (
        f"at {total:g} false alarms a week for the whole fleet, a stream-week"
        f" {a:.3g} of {names[0]} and {b:.3g} of {names[1]}:"
    )


def _figures(comparison: BundleComparison, names: Names) -> Table:
    """One row for each bundle."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="none")
    shown.add_column("bundle")
    columns = ["incidents", "a stream-week", "only here"]
    judged = comparison.a.budgets[0].events > 0
    if judged:
        columns += ["events found", "false a stream-week", "to alert"]
        columns += ["AUC-PR", "VUS-PR"]
    for column in columns:
        shown.add_column(column, justify="right")
    sides = (comparison.a, comparison.b)
    only = (comparison.only_a, comparison.only_b)
    for name, side, incidents in zip(names, sides, only, strict=True):
        row = _row(side, len(incidents), judged)
        shown.add_row(name, *row)
    return shown


def _row(side: Evaluation, only_here: int, judged: bool) -> list[str]:
    at = side.budgets[0]
    per_week = at.incidents / side.weeks if side.weeks else 0.0
    row = [f"{at.incidents:,}", f"{per_week:.3g}", f"{only_here:,}"]
    if judged:
        row += [
            f"{at.found} of {at.events}",
            f"{at.false_alarms_per_week:.3g}",
            duration(at.delay_median),
            f"{side.auc_pr:.3f}",
            f"{side.vus_pr:.3f}",
        ]
    return row


def _list(
    console: Console, rows: Sequence[tuple[Incident, ...]], everything: bool
) -> None:
    """One line for each incident, or pair of them."""
    listed = rows if everything else rows[:_LISTED]
    for row in listed:
        console.print(_line(row), highlight=False, soft_wrap=True)
    left_out = len(rows) - len(listed)
    if left_out:
        more = f"  … and {left_out:,} more (--all lists them)"
        console.print(more, highlight=False)


def _line(row: tuple[Incident, ...]) -> str:
    first = row[0]
    until = "still firing"
    if first.ended_at is not None:
        until = f"for {duration(first.ended_at - first.starts_at)}"
    scores = " and ".join(f"{i.score:.2f} (threshold {i.threshold:.2f})" for i in row)
    metrics = ", ".join(first.metrics[:_METRICS])
    began = rfc3339(first.starts_at)
    return f"  {began}  {first.stream}  {until}, score {scores}: {metrics}"
