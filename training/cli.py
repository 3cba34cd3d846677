"""The commands of training: ``fit``, ``evaluate``, ``compare``.

This module declares options and imports little: each command imports its libraries
when it runs. ``streamwarden`` (:mod:`detector.cli.main`) finds the commands here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from detector.cli.broken_pipe import exit_on_broken_pipe
from detector.cli.command_group import invoke
from detector.cli.main import group
from detector.cli.options import (
    A_BUNDLE,
    FILE,
    BundleType,
    config_option,
    data_options,
    labels_option,
)
from detector.data.read_options import ReadOptions
from detector.errors import ConfigError
from detector.model.bundle import BUILTIN
from detector.settings.load import load as load_settings
from training.errors import TrainingError
from training.settings import Detector
from training.settings import load as load_fit_settings

if TYPE_CHECKING:
    from training.evaluation.evaluate import Evaluation

_WIDTH = 140  # columns of a table, whatever the terminal's width
_LARGEST_BUDGET = 10_000  # false alarms a stream-week, as in the daemon's settings
# as training.evaluation.compare.TOLERANCE, which is slow to import
_TICKS_APART = 10
# as training.reports.events_report.LISTED, which is slow to import
_EVENTS = 20
_PAGE = "evaluation.html"
_EVENTS_FILE = "events.csv"


class BudgetType(click.ParamType[Any]):
    """A number of false alarms a stream-week."""

    name = "budget"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            budget = float(value)
        except ValueError:
            budget = 0.0
        if not 0 < budget <= _LARGEST_BUDGET:
            self.fail(
                f"{value!r} is not a budget: give a number of false alarms a"
                f" stream-week, over 0 and at most {_LARGEST_BUDGET:,}",
                param,
                ctx,
            )
        return budget


class BudgetsType(BudgetType):
    """Budgets separated by commas, each once and in rising order."""

    name = "budgets"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, tuple):
            return value
        convert = super().convert
        return tuple(sorted({convert(part, param, ctx) for part in value.split(",")}))


class TicksType(click.ParamType[Any]):
    """A finite number of ticks, not negative."""

    name = "ticks"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            ticks = float(value)
        except ValueError:
            ticks = math.nan
        if not 0 <= ticks < math.inf:
            self.fail(f"{value!r} is not a number of ticks, 0 or more", param, ctx)
        return ticks


@click.command()
@data_options
@click.option(
    "--out",
    type=FILE,
    required=True,
    metavar="DIR",
    help="Directory of the bundle; it must not exist.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle, atomically.")
@click.option(
    "--allow-worse",
    is_flag=True,
    default=None,
    help="Write the bundle even if a plain baseline is better on held-out rows; one"
    " that was refused (DIR.refused) is taken without a second fit.",
)
@click.option(
    "--config", type=FILE, metavar="FILE", help="TOML file of settings of the fit."
)
@click.option("--name", help="Name of the bundle.  [default: streams]")
@click.option(
    "--detector",
    type=click.Choice(get_args(Detector)),
    help="The network, or a plain baseline in its place.  [default: lstm]",
)
@click.option(
    "--lean",
    is_flag=True,
    default=None,
    help="One metric: leave out the novelty of shapes, at three fifths of the cost.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Time zone of the streams' daily pattern, as Europe/Berlin.  [default: UTC]",
)
@click.option("--seed", type=int, help="Seed of every random choice.  [default: 0]")
@click.option("--steps", type=int, help="Maximum of gradient steps.  [default: 1200]")
@click.option(
    "--hidden",
    type=int,
    help="Width of both LSTMs.  [default: 16 for one feature, else 48]",
)
def fit(
    data: Path,
    reading: ReadOptions,
    out: Path,
    force: bool,
    config: Path | None,
    **given: Any,
) -> None:
    """Train a bundle on history, calibrate it, compare it, export it, report.

    The bundle is complete or it is not written. `fit` writes no network that a plain
    baseline beats on held-out rows, unless --allow-worse is given.

    \b
    Examples:
      streamwarden fit --data history.csv --out bundle
      streamwarden fit --data history/ --out bundle --timezone Europe/Berlin
    """
    from training.fitting.build_bundle import build
    from training.fitting.export import check_out
    from training.history.history import load_history
    from training.progress import FitProgress
    from training.reports import fit_terminal as shown
    from training.reports.fit_report import report

    settings = load_fit_settings(config, **given)
    check_out(out, force)
    with _saying_nothing_was_written(), FitProgress() as progress:
        history = load_history(
            data, settings.fit_share, settings.validation_share, reading
        )
        _print_lines(shown.history_lines(history))
        built = build(
            history,
            settings,
            out,
            force,
            report,
            progress,
            lambda found: _print_lines(shown.comparison_lines(found)),
        )
    _print_lines(shown.bundle_lines(built, out, data, history))


@contextlib.contextmanager
def _saying_nothing_was_written() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("streamwarden: interrupted; nothing was written", err=True)
        raise


@click.command()
@click.option(
    "--bundle",
    type=BundleType(),
    metavar="DIR",
    help=f"A {A_BUNDLE}.  [default: the one that is set, else `builtin`]",
)
@data_options
@labels_option
@click.option(
    "--budgets",
    type=BudgetsType(),
    help="False alarms a stream-week, separated by commas."
    "  [default: 0.1,1,10, and the stream's share of a budget for the whole fleet]",
)
@click.option(
    "--budget",
    type=BudgetType(),
    help="Budget of the list of events and the pictures."
    "  [default: the share of the fleet's budget, else the middle one]",
)
@click.option(
    "--events",
    type=click.IntRange(min=0),
    default=_EVENTS,
    metavar="N",
    help="Events that are listed, at most.",
)
@click.option(
    "--out",
    type=FILE,
    metavar="DIR",
    help="Directory to write evaluation.html and events.csv into.",
)
@click.option("--force", is_flag=True, help="Replace the files of an evaluation.")
@config_option
def evaluate(
    bundle: Path | None,
    data: Path,
    reading: ReadOptions,
    labels: Path | None,
    budgets: tuple[float, ...] | None,
    budget: float | None,
    events: int,
    out: Path | None,
    force: bool,
    config: Path | None,
) -> None:
    """Show what a bundle finds in labelled data, what it misses, how often it errs.

    \b
    Examples:
      streamwarden evaluate --data labelled.csv
      streamwarden evaluate --bundle bundle --data history/ --labels labels.csv \\
        --out report
    """
    from training.evaluation.evaluate import evaluate as judge
    from training.progress import RowProgress

    settings = load_settings(config)
    if out is not None:
        _refuse_existing_evaluation(out, force)
    with RowProgress() as progress:
        evaluation = judge(
            bundle or settings.model.bundle or BUILTIN,
            data,
            labels,
            settings.alerting,
            budgets,
            progress,
            settings.model,
            budget,
            reading,
        )
    _print_evaluation(evaluation, events)
    if out is not None:
        _write_evaluation(evaluation, out)


def _print_evaluation(evaluation: Evaluation, events: int) -> None:
    """The figures, and at most ``events`` rows of events."""
    from rich.console import Console

    from training.reports import evaluation_report, events_report

    console = Console(width=_WIDTH)
    evaluation_report.say(evaluation, console)
    events_report.print_events(evaluation, console, events)


def _refuse_existing_evaluation(out: Path, force: bool) -> None:
    """Raises TrainingError if a file exists and may not be replaced."""
    for name in (_PAGE, _EVENTS_FILE):
        file = out / name
        if file.exists() and not force:
            raise TrainingError(
                f"{file} exists: choose another --out, or replace it with --force"
            )


def _write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """The page and the events. Raises ConfigError if one can't be written."""
    from training.reports import evaluation_report, events_report

    page = out / _PAGE
    events = out / _EVENTS_FILE
    _write_file(page, evaluation_report.page(evaluation))
    _write_file(events, events_report.events_csv(evaluation))
    click.echo(f"plots, the worst misses and the worst false alarms: {page}")
    click.echo(f"every event: {events}")


def _write_file(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file} can't be written ({error.strerror})") from None


@click.command()
@click.argument("a", type=BundleType(), metavar="A")
@click.argument("b", type=BundleType(), metavar="B")
@data_options
@labels_option
@click.option(
    "--budget",
    type=BudgetType(),
    help="False alarms a stream-week.  [default: as configured]",
)
@click.option(
    "--tolerance",
    type=TicksType(),
    default=_TICKS_APART,
    help="Ticks between two starts of the same incident, at most.",
)
@click.option("--all", "everything", is_flag=True, help="List every incident.")
@config_option
def compare(
    a: Path,
    b: Path,
    data: Path,
    reading: ReadOptions,
    labels: Path | None,
    budget: float | None,
    tolerance: float,
    everything: bool,
    config: Path | None,
) -> None:
    """Compare what two bundles, A and B, raise on the same data.

    A bundle is a directory that `fit` wrote, or `builtin`, the bundle of the package.

    \b
    Examples:
      streamwarden compare builtin bundle --data history.csv
      streamwarden compare old new --data history/ --budget 1 --all
    """
    from rich.console import Console

    from training.evaluation.backtest import at_budgets
    from training.evaluation.compare import compare as compare_bundles
    from training.progress import RowProgress
    from training.reports.comparison_report import budget_line, print_comparison

    settings = load_settings(config)
    alerting = settings.alerting
    if budget is not None:
        (alerting,) = at_budgets(alerting, [budget])
    with RowProgress() as progress:
        found = compare_bundles(
            (a, b),
            data,
            labels,
            alerting,
            tolerance,
            progress,
            settings.model,
            reading,
        )
    names = (_bundle_name(a), _bundle_name(b))
    click.echo(budget_line(found, names, alerting.false_alarms_per_week_total))
    print_comparison(found, names, Console(width=_WIDTH), everything)


def _bundle_name(path: Path) -> str:
    return BUILTIN.name if path == BUILTIN else str(path)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


@exit_on_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m training``. Returns the exit status."""
    commands = group("Train and judge")
    return invoke(commands, arguments, "python -m training")
