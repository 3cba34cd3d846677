"""The commands: fit, evaluate, compare. Exit status 2 and one sentence where the
operator must act.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from detector.alerting.thresholds import effective_budget
from detector.cli.broken_pipe import exit_on_broken_pipe
from detector.errors import ConfigError, DetectorError
from detector.model.bundle import BUILTIN, bundle_path
from detector.settings.load import load as load_settings
from training import settings as config
from training.errors import TrainingError
from training.evaluation.backtest import at_budgets
from training.evaluation.compare import TOLERANCE, compare
from training.evaluation.compare import say as say_comparison
from training.evaluation.evaluate import evaluate
from training.evaluation.gate import Comparison
from training.history.history import History, load_history
from training.reports import evaluation_report

if TYPE_CHECKING:
    from training.fitting.build_bundle import Built

_WIDTH = 140
_A_BUNDLE = "directory that `training fit` wrote, or `builtin`, the package's own, each metric a stream"


@exit_on_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.command(chosen))
    except DetectorError as error:
        print(f"training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("training: interrupted; nothing was written", file=sys.stderr)
        return 130


def _fit(chosen: argparse.Namespace) -> int:
    # torch takes seconds to load, and no other command needs it
    from training.fitting.build_bundle import build  # noqa: PLC0415
    from training.fitting.export import refuse_existing  # noqa: PLC0415

    given = {
        name: getattr(chosen, name)
        for name in ("name", "detector", "lean", "seed", "steps", "hidden", "timezone")
    }
    settings = config.load(chosen.config, **given)
    refuse_existing(chosen.out, chosen.force)
    history = load_history(chosen.data, settings.fit_share)
    print(
        f"{history.rows:,} rows of {len(history.series):,} streams, {len(history.features)} features, a point every {history.tick:g} s"
    )
    for note in history.notes:
        print(f"note: {note}")
    with ExitStack() as stack:
        built = build(
            history,
            settings,
            chosen.out,
            chosen.force,
            chosen.accept,
            _Shown(stack),
            _compared,
        )
    _summary(built, chosen.out, chosen.data, history)
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen.config)
    bundle = chosen.bundle or settings.model.bundle or BUILTIN
    written = None if chosen.out is None else chosen.out / "evaluation.html"
    if written is not None and written.exists() and not chosen.force:
        raise TrainingError(
            f"{written} exists: choose another --out, or replace it with --force"
        )
    with ExitStack() as stack:
        evaluation = evaluate(
            bundle,
            chosen.data,
            chosen.labels,
            settings.alerting,
            chosen.budgets,
            _Rows(stack),
            settings.model,
        )
    evaluation_report.say(evaluation, Console(width=_WIDTH))
    if written is not None:
        try:
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(evaluation_report.page(evaluation))
        except OSError as error:
            raise ConfigError(
                f"{written} can't be written ({error.strerror})"
            ) from None
        print(f"plots, the worst misses and the worst false alarms: {written}")
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    settings = load_settings(chosen.config)
    alerting = settings.alerting
    if chosen.budget is not None:
        alerting = at_budgets(alerting, [chosen.budget])[0]
    with ExitStack() as stack:
        found = compare(
            (chosen.a, chosen.b),
            chosen.data,
            chosen.labels,
            alerting,
            chosen.tolerance,
            _Rows(stack),
            settings.model,
        )
    print(f"at {alerting.false_alarms_per_week:g} false alarms a stream-week:")
    names = tuple(
        BUILTIN.name if path == BUILTIN else str(path) for path in (chosen.a, chosen.b)
    )
    say_comparison(found, (names[0], names[1]), Console(width=_WIDTH), chosen.all)
    return 0


class _Rows:
    """Progress over rows: a bar on a terminal, nothing elsewhere."""

    def __init__(self, stack: ExitStack) -> None:
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = stack.enter_context(
                Progress(
                    TextColumn("rows"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeRemainingColumn(),
                    console=console,
                )
            )
            self._task = self._bar.add_task("rows", total=None)

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)


class _Shown:
    """Progress of the fit: a bar on a terminal, a line every tenth elsewhere."""

    def __init__(self, stack: ExitStack) -> None:
        console = Console()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("fit"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
            )
            self._bar = stack.enter_context(Progress(*columns, console=console))
            self._task = self._bar.add_task("fit", total=None, loss="")

    def __call__(self, step: int, steps: int, loss: float, validation: float) -> None:
        text = f"loss {loss:.4f}, validation {validation:.4f}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=steps, loss=text)
        elif step % max(1, steps // 10) == 0:
            print(f"step {step:,} of {steps:,}: {text}", flush=True)


def _compared(held_out: Comparison | str) -> None:
    """The detector beside the baselines, one a line, or why not."""
    if isinstance(held_out, str):
        print(f"note: not compared with the baselines: {held_out}")
        return
    first = held_out.standings[0]
    judged = "labels" if held_out.basis == "labels" else "made faults"
    print(
        f"held-out rows with {judged}, {held_out.cases} cases of {held_out.streams} streams; VUS-PR, AUC-PR, found, VUS-PR by kind:"
    )
    print(
        " " * 10
        + "".join(f"{name:>8}" for name in ("VUS-PR", "AUC-PR", "found"))
        + "".join(f"{kind:>13}" for kind in first.by_kind)
    )
    for s in held_out.standings:
        print(
            f"  {s.name:<8}"
            + "".join(f"{v:8.3f}" for v in (s.vus_pr, s.auc_pr, s.recall))
            + "".join(f"{v:13.3f}" for v in s.by_kind.values())
        )
    print(held_out.sentence)


def _summary(built: Built, out: Path, data: Path, history: History) -> None:
    levels = ", ".join(
        f"{b:g} a week {built.tail.threshold(effective_budget(b)):.2f}"
        for b in (0.1, 1.0, 10.0)
    )
    print(
        f"levels at first by budget: {levels} (from {built.tail.stream_weeks:.3g} stream-weeks of held-out rows)"
    )
    print(
        f"opened as the daemon opens it: equal to torch within {built.parity:.1g} on {len(history.series):,} streams"
    )
    print(f"bundle: {out}   report: {out / 'report.html'}")
    # the bare word is the package's own
    named = f"./{out}" if str(out) == BUILTIN.name else out
    print(
        f"next: python -m detector replay --bundle {named} --data {data} --scores scores.csv --alerts alerts.ndjson"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "training",
        description="Train a bundle for the detector from a stream's history.",
    )
    commands = parser.add_subparsers(required=True, metavar="fit|evaluate|compare")
    fit = commands.add_parser("fit", help="train, calibrate, export, report")
    fit.set_defaults(command=_fit)
    fit.add_argument(
        "--data", type=Path, required=True, help="CSV or Parquet, a file or a directory"
    )
    fit.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the bundle's directory, which must not exist",
    )
    fit.add_argument("--config", type=Path, help="TOML file of settings")
    fit.add_argument(
        "--force", action="store_true", help="replace an existing bundle, atomically"
    )
    fit.add_argument(
        "--accept",
        action="store_true",
        help="write the bundle though a plain baseline is better on held-out rows",
    )
    fit.add_argument("--name", help="the bundle's name")
    fit.add_argument(
        "--detector",
        choices=get_args(config.Detector),
        help="the network (lstm, the default) or a plain baseline",
    )
    fit.add_argument(
        "--lean",
        action="store_true",
        default=None,
        help="one metric: without the novelty of shape, at three fifths of the cost",
    )
    fit.add_argument(
        "--timezone",
        help="time zone whose wall clock the streams follow, as Europe/Berlin (default: UTC)",
    )
    fit.add_argument("--seed", type=int)
    fit.add_argument("--steps", type=int, help="gradient steps at most")
    fit.add_argument("--hidden", type=int, help="width of both LSTMs")
    judged = commands.add_parser(
        "evaluate",
        help="what a bundle finds in labelled data, what it misses, how often it cries wolf",
    )
    judged.set_defaults(command=_evaluate)
    judged.add_argument(
        "--bundle",
        type=bundle_path,
        help=f"{_A_BUNDLE} (default: the one that is set, else `builtin`)",
    )
    judged.add_argument(
        "--out", type=Path, help="directory to write evaluation.html into"
    )
    judged.add_argument(
        "--force", action="store_true", help="replace an evaluation.html that is there"
    )
    judged.add_argument(
        "--budgets",
        type=_budgets,
        default=(0.1, 1.0, 10.0),
        help="false alarms a stream-week, comma-separated (0.1,1,10)",
    )
    sides = commands.add_parser(
        "compare", help="what two bundles raise on the same data: both, only A, only B"
    )
    sides.set_defaults(command=_compare)
    sides.add_argument("a", type=bundle_path, metavar="A", help=_A_BUNDLE)
    sides.add_argument("b", type=bundle_path, metavar="B", help="another")
    sides.add_argument(
        "--budget", type=_budget, help="false alarms a stream-week (as configured)"
    )
    sides.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="ticks that the same incident may begin apart (%(default)g)",
    )
    sides.add_argument("--all", action="store_true", help="list every incident")
    for command in (judged, sides):
        command.add_argument(
            "--data",
            type=Path,
            required=True,
            help="CSV or Parquet, a file or a directory",
        )
        about = "CSV of stream,start,end, where host-1/cpu is a metric of host-1 (default: the 0/1 column `label` of the data)"
        command.add_argument("--labels", type=Path, help=about)
        command.add_argument(
            "--config",
            type=Path,
            help="TOML file of the daemon's settings; the environment overrides it",
        )
    return parser


def _budgets(text: str) -> tuple[float, ...]:
    """Rising, each once."""
    return tuple(sorted({_budget(part) for part in text.split(",")}))


def _budget(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if not 0 < budget <= 10_000:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no budget: it is a number of false alarms a stream-week, over 0 and at most 10,000"
        )
    return budget
