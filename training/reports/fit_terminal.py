"""What ``fit`` prints: the history, the comparison with the baselines, the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detector.alerting.thresholds import effective_budget
from detector.model.bundle import BUILTIN
from training.evaluation.gate import Comparison
from training.fitting.build_bundle import Built
from training.history.history import History

_BUDGETS = (0.1, 1.0, 10.0)  # false alarms a stream-week


def history_lines(history: History) -> Iterator[str]:
    """Size and notes of the history that was read."""
    yield (
        f"{history.rows:,} rows of {len(history.series):,} streams,"
        f" {len(history.features)} features, a point every {history.tick:g} s"
    )
    for note in history.notes:
        yield f"note: {note}"


def comparison_lines(held_out: Comparison | str) -> Iterator[str]:
    """The detector beside the baselines, one a line, or why there is no comparison."""
    if isinstance(held_out, str):
        yield f"note: not compared with the baselines: {held_out}"
        return
    judged = "labels" if held_out.basis == "labels" else "made faults"
    yield (
        f"held-out rows with {judged}, {held_out.cases} cases of"
        f" {held_out.streams} streams; VUS-PR, AUC-PR, found, VUS-PR by kind:"
    )
    kinds = held_out.results[0].by_kind
    figures = "".join(f"{name:>8}" for name in ("VUS-PR", "AUC-PR", "found"))
    yield " " * 10 + figures + "".join(f"{kind:>13}" for kind in kinds)
    for result in held_out.results:
        means = (result.vus_pr, result.auc_pr, result.recall)
        by_kind = "".join(f"{value:13.3f}" for value in result.by_kind.values())
        yield f"  {result.name:<8}" + "".join(f"{v:8.3f}" for v in means) + by_kind
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
    yield (
        f"opened as the daemon opens it: equal to torch within {built.parity:.1g}"
        f" on {len(history.series):,} streams"
    )
    yield f"bundle: {out}   report: {out / 'report.html'}"
    # the bare word is the built-in bundle
    named = f"./{out}" if str(out) == BUILTIN.name else out
    yield (
        f"next: streamwarden replay --bundle {named} --data {data}"
        " --scores scores.csv --alerts alerts.ndjson"
    )
