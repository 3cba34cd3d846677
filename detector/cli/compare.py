"""``compare``: two bundles side by side, at a running daemon or on data.

Without bundles it asks a daemon how its shadow differs from the bundle in force. With
two bundles and data it is the command of :mod:`training.cli`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from detector.cli.control import DaemonClient, at_daemon
from detector.phrases import escaped
from detector.pipeline.comparison import ComparisonReport, SideReport, ToldAlone
from detector.timestamps import rfc3339
from detector.web.control import Compared
from detector.web.facts import BundleName

_DIGITS = 12  # of a digest
_WIDTH = 30  # columns of a row's name
_MOVED = 5  # streams that are listed


class _LiveOrOnData(click.Command):
    """Takes the command of training if bundles or data are named."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        names_bundles = bool(args) and not args[0].startswith("-")
        names_data = any(arg.partition("=")[0] == "--data" for arg in args)
        if names_bundles or names_data:
            on_data = importlib.import_module("training.cli").compare
            context: click.Context = on_data.make_context(
                info_name, args, parent, **extra
            )
            return context
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_LiveOrOnData)
@click.option("--json", "as_json", is_flag=True, help="The daemon's whole answer.")
@at_daemon
def compare(as_json: bool, url: str | None, config: Path | None) -> int:
    """Compare the bundle in shadow with the one in force, at a running daemon.

    Only what both could tell counts: points of streams that the shadow has warmed up
    for. Incidents are the same if they overlap, or almost.

    `compare A B --data DATA` compares two bundles on data instead; `compare A B --help`
    lists its options.

    \b
    Examples:
      streamwarden compare
      streamwarden compare --json | jq .report.shadow
      streamwarden compare builtin bundle --data history.csv
    """
    answer = DaemonClient(url, config).get("/api/v1/compare")
    if as_json:
        click.echo(answer.decode())
        return 0
    for line in lines_of(msgspec.json.decode(answer, type=Compared)):
        click.echo(escaped(line))
    return 0


def lines_of(found: Compared) -> Iterator[str]:
    """What a person reads of a comparison."""
    report = found.report
    yield f"in force:  {_name(found.live)}"
    yield f"in shadow: {_name(found.shadow)}, since {rfc3339(found.since)}"
    yield (
        f"compared:  {report.points:,} points, {report.stream_weeks:.3g} stream-weeks,"
        f" {report.warm:,} of {report.streams:,} streams"
    )
    if report.warm < report.streams:
        yield "           the shadow has not warmed up for the others"
    yield ""
    yield from _table(report, found.budget)
    yield ""
    yield from _ranks(report)
    yield from _alone("in force", report.live.told_alone)
    yield from _alone("in shadow", report.shadow.told_alone)


def _name(bundle: BundleName) -> str:
    return f"{bundle.name} {bundle.version} ({bundle.digest[:_DIGITS]})"


def _table(report: ComparisonReport, budget: float) -> Iterator[str]:
    sides = (report.live, report.shadow)
    yield _row("", "in force", "in shadow")
    yield _row("incidents", *(f"{side.incidents:,}" for side in sides))
    yield _row("told by this one alone", *(f"{side.alone:,}" for side in sides))
    yield _row("open now", *(f"{side.open:,}" for side in sides))
    rates = (_number(side.per_week) for side in sides)
    yield _row(f"a stream-week (budget {budget:g})", *rates)
    yield _row("microseconds a point", *map(_cost, sides))


def _row(name: str, live: str, shadow: str) -> str:
    return f"{name:<{_WIDTH}} {live:>11} {shadow:>11}".rstrip()


def _cost(side: SideReport) -> str:
    return _number(side.microseconds_per_point)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _ranks(report: ComparisonReport) -> Iterator[str]:
    if report.rank_correlation is None:
        return
    yield (
        "Streams by how far their score got over their threshold: rank correlation"
        f" {report.rank_correlation:.2f} (1: the same order)"
    )
    for moved in report.moved[:_MOVED]:
        yield (
            f"  {moved.stream}: rank {moved.live:,} in force ({moved.live_margin:+.2f}),"
            f" {moved.shadow:,} in shadow ({moved.shadow_margin:+.2f})"
        )
    yield ""


def _alone(where: str, incidents: Sequence[ToldAlone]) -> Iterator[str]:
    if not incidents:
        return
    yield f"Told {where} alone, the newest first:"
    for told in incidents:
        yield (
            f"  {rfc3339(told.starts_at)} {told.stream}:"
            f" score {told.score:.2f}, threshold {told.threshold:.2f}"
        )
