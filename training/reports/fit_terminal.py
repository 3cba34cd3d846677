"""What ``fit`` prints: the history, the comparison with the baselines, the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detector.alerting.thresholds import effective_budget
from detector.model.bundle import BUILTIN
from training.evaluation.gate import Comparison
from training.fitting.build_bundle import Built
from training.history.history import History
from training.history.notes import counted

_BUDGETS = (0.1, 1.0, 10.0)  # false alarms a stream-week


def history_lines(history: History) -> Iterator[str]:
    """Size and notes of the history that was read."""
    yield (
        f"{history.rows:,} rows of {counted(len(history.series), 'stream')},"
        f" {counted(len(history.features), 'feature')},"
        f" a point every {history.tick:g} s"
    )
    for note in history.notes:
        yield f"note: {note}"


def comparison_lines(held_out: Comparison | str) -> Iterator[str]:
    """The detector beside the baselines, one a line, or why there is no comparison."""
    if isinstance(held_out, str):
        yield f"note: not compared with the baselines: {held_out}"
        return
    judged = "labels" if held_out.basis == "labels" else "made faults"
    if held_out.why:
        yield f"note: {held_out.why}"
    budget = held_out.results[0].told.budget
    yield (
        f"held-out rows with {judged}, {counted(held_out.cases, 'case')} of"
        f" {counted(held_out.streams, 'stream')}; VUS-PR, AUC-PR, events told at {budget:g} a"
        " week and false alarms a stream-week with it, VUS-PR by kind:"
    )
    kinds = [kind for kind in held_out.results[0].by_kind if kind != "labelled"]
    width = max(len(result.name) for result in held_out.results)
    names = ("VUS-PR", "AUC-PR", "told", "false")
    figures = "".join(f"{name:>8}" for name in names)
    yield " " * (width + 2) + figures + "".join(f"{kind:>13}" for kind in kinds)
    for result in held_out.results:
        told = result.told
        row = (
            f"{result.vus_pr:8.3f}",
            f"{result.auc_pr:8.3f}",
            f"{told.told_events / told.events:8.0%}",
            f"{told.false_alarms_per_week:8.2g}",
            *(f"{result.by_kind[kind]:13.3f}" for kind in kinds),
        )
        yield f"  {result.name:<{width}}" + "".join(row)
    for result in held_out.results:
        if result.told.exceeds:
            yield f"note: {result.name} exceeds the budget in these rows"
    yield held_out.sentence


def bundle_lines(
    built: Built,
    out: Path,
    data: Path,
    history: History,
) -> Iterator[str]:
    """Thresholds of the bundle, where it is, and the command to try it with."""
    tail = built.tail
    thresholds = ", ".join(
        f"{budget:g} a week {tail.threshold(effective_budget(budget)):.2f}"
        for budget in _BUDGETS
    )
    yield (
        f"initial thresholds by budget: {thresholds}"
        f" (from {tail.stream_weeks:.3g} stream-weeks of held-out rows)"
    )
    if built.taken_from is not None:
        yield f"taken from {built.taken_from}: same data, settings and code; not fitted again"
    else:
        yield (
            f"opened as the daemon opens it: equal to torch within {built.parity:.1g}"
            f" on {counted(len(history.series), 'stream')}"
        )
    yield f"bundle: {out}   report: {out / 'report.html'}"
    # the bare word is the built-in bundle
    named = f"./{out}" if str(out) == BUILTIN.name else out
    yield (
        f"next: streamwarden replay --bundle {named} --data {data}"
        " --scores scores.csv --alerts alerts.ndjson"
    )
