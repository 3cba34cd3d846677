"""``replay``: the daemon's pipeline over files."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from detector.alerting.incident_rates import fleet_rates
from detector.alerting.wording import fleet_in_words
from detector.cli.command_group import on_terminal
from detector.cli.options import A_BUNDLE, FILE, BundleType, config_option, data_options
from detector.compose import open_bundle
from detector.data.read_options import ReadOptions
from detector.errors import ConfigError
from detector.model.bundle import Bundle, load_bundle
from detector.replay.chunks import FileSource
from detector.replay.explain_point import ExplainRequest
from detector.replay.explain_point import explain as explain_point
from detector.replay.replay import Outputs, Summary
from detector.replay.replay import replay as replay_files
from detector.settings.alerting import AlertingSettings
from detector.settings.load import Settings, load
from detector.timestamps import EARLIEST, LATEST, seconds, unit_hint

Progress = Callable[[int, int], None]


@click.command()
@click.option(
    "--bundle",
    type=BundleType(),
    metavar="DIR",
    help=f"A {A_BUNDLE}.  [default: the one that is set, else `builtin`]",
)
@data_options
@click.option(
    "--scores",
    type=FILE,
    metavar="FILE",
    help="CSV to write: one row for each input row, or for each of its metrics.",
)
@click.option(
    "--alerts",
    type=FILE,
    metavar="FILE",
    help="NDJSON to write: one alert a line, as a receiver gets it.",
)
@click.option(
    "--explain",
    metavar="STREAM@TIME",
    help="Say why this point did or did not alert; time in ISO 8601 or epoch seconds.",
)
@config_option
def replay(
    bundle: Path | None,
    data: Path,
    reading: ReadOptions,
    scores: Path | None,
    alerts: Path | None,
    explain: str | None,
    config: Path | None,
) -> None:
    """Run the daemon's pipeline over files: what it would have scored and raised.

    \b
    Examples:
      streamwarden replay --data history.csv --scores scores.csv
      streamwarden replay --data history/ --scores scores.csv \\
        --alerts alerts.ndjson
      streamwarden replay --data history/ --explain host-1@2026-03-01T12:00:00Z
    """
    outputs = Outputs(scores, alerts)
    if explain is None and outputs == Outputs(None, None):
        raise click.UsageError("Give --scores, --alerts or --explain.")
    outputs.check(data)
    request = None if explain is None else explain_request(explain)
    settings = load(config)
    opened = load_bundle(bundle) if bundle else open_bundle(settings)
    source = FileSource(
        data, opened.feature_names, opened.manifest.each_metric, reading
    )
    answer = None
    if request is not None:
        tuning = settings.alerting.tuning(source.count_streams())
        answer = explain_point(request, opened, source, tuning, settings.model)
    if outputs != Outputs(None, None):
        _write(outputs, opened, source, settings)
    if answer is not None:
        click.echo(answer)


def _write(
    outputs: Outputs, bundle: Bundle, source: FileSource, settings: Settings
) -> None:
    """Replay, and print what came of it."""
    with _row_progress() as progress:
        summary = replay_files(
            bundle, source, outputs, settings.alerting, progress, settings.model
        )
    for line in _summary_lines(summary, settings.alerting):
        click.echo(line)
    for line in _fleet_lines(summary, settings.alerting):
        click.echo(line)


def explain_request(text: str) -> ExplainRequest:
    """Read ``STREAM@TIME``, time in ISO 8601 (UTC without an offset) or epoch seconds.

    Raises ConfigError.
    """
    stream, _, at = text.rpartition("@")
    try:
        time = seconds(at)
    except ValueError:
        time = math.nan
    if not EARLIEST < time < LATEST:
        raise ConfigError(
            f"--explain {text}: name a stream and a time, as in"
            f" host-1@2026-03-01T12:00:00Z or host-1@1772366400{unit_hint(time)}"
        )
    return ExplainRequest(stream, time)


@contextlib.contextmanager
def _row_progress() -> Iterator[Progress]:
    """A bar over rows on standard error if it is a terminal, nothing elsewhere."""
    with click.progressbar(
        length=1, label="rows", file=sys.stderr, hidden=not on_terminal(), show_pos=True
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def _summary_lines(summary: Summary, alerting: AlertingSettings) -> Iterator[str]:
    lost = summary.rows - summary.scored
    yield (
        f"{summary.rows:,} rows of {summary.streams:,} streams:"
        f" {summary.scored:,} scored, {lost:,} dropped;"
        f" {summary.fired} incidents, {summary.resolved} resolved"
    )
    if summary.dropped:
        counts = ", ".join(
            f"{count:,} {reason}" for reason, count in summary.dropped.items()
        )
        remedy = "; sort the data by time" if summary.dropped.get("late") else ""
        yield f"dropped: {counts}{remedy}"
    rates = summary.rates
    if not rates.streams:
        yield (
            "incidents a stream-week: no rate yet, since no stream has a day of points"
        )
        return
    shares = ", ".join(f"{name} {rate:.3g}" for name, rate in rates.shares.items())
    yield (
        f"incidents a stream-week: {rates.mean:.3g}"
        f" (budget: {alerting.stream_budget(summary.streams):g} false alarms);"
        f" over the {rates.streams:,} streams with at least a day of points: {shares}"
    )


def _fleet_lines(summary: Summary, alerting: AlertingSettings) -> Iterator[str]:
    """What the budget means for all streams together, and which number to state."""
    budget = alerting.stream_budget(summary.streams)
    yield fleet_in_words(
        fleet_rates(summary.streams, budget, summary.rates), "this data"
    )
    total = alerting.false_alarms_per_week_total
    if total is None:
        return
    stated = alerting.fleet_streams
    yield (
        f"the budget of {total:g} false alarms a week for the whole fleet is"
        f" {budget:.3g} for each of {stated or summary.streams:,} streams"
    )
    if stated is None:
        yield (
            "for `run`, set DETECTOR_ALERTING__FLEET_STREAMS:"
            f" {summary.streams} if this data is your whole fleet"
        )
    elif stated != summary.streams:
        yield (
            f"DETECTOR_ALERTING__FLEET_STREAMS is {stated:,},"
            f" and this data has {summary.streams:,} streams"
        )
