"""What a run found, printed at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from deploy.demo.judge import Verdict
from deploy.demo.run import Run
from detector.phrases import duration

NO_FAULT = "\nNo fault was found: the demo failed."
NONE_RESOLVED = "\nNo incident was resolved: the demo failed."


def summarise(run: Run, verdict: Verdict, console: Console) -> None:
    """Print the summary, and what to try next."""
    table = Table(title="Summary", show_header=False)
    table.add_column("what")
    table.add_column("value")
    for what, value in _rows(run, verdict):
        table.add_row(what, value)
    console.print(table)
    if run.hours_left:
        hours = f"{run.hours_left:.0f} of {run.options.hours:g} hours"
        console.print(f"This machine was too slow: {hours} were not produced.")
        console.print(f"Give it more time: --seconds {3 * run.options.seconds:g}")
    for line in next_steps(verdict):
        console.print(line, markup=False, soft_wrap=True)


def _rows(run: Run, verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "Faults injected", str(len(verdict.faults))
    yield "Faults found", f"{verdict.found_count} ({_by_kind(verdict)})"
    event_delay = verdict.event_delay()
    in_event_time = "-" if event_delay is None else duration(event_delay)
    yield "Median time to alert, event time", in_event_time
    wall_delay = verdict.wall_delay(run.produced)
    in_wall_time = "-" if wall_delay is None else f"{wall_delay:.2f} s"
    yield "Median time to alert, wall time", in_wall_time
    yield "False alarms", _false_alarms(verdict, run.options.budget)
    resolved = f"{verdict.incidents}, {verdict.resolved}"
    yield "Incidents, and of these resolved", resolved
    yield (
        "Records",
        f"{run.records:,} produced at {_rate(run.records, run.producing_s)}",
    )
    yield "Points scored", f"{run.scored:,.0f} at {_rate(run.scored, run.scoring_s)}"


def _false_alarms(verdict: Verdict, budget: float) -> str:
    count = len(verdict.false_alarms)
    per_week = f"{verdict.false_alarms_per_week:.2f} a stream-week, budget {budget:g}"
    return f"{count} in {verdict.stream_weeks:.0f} stream-weeks ({per_week})"


def _rate(count: float, seconds: float) -> str:
    return f"{count / max(seconds, 1e-9):,.0f} a second"


def _by_kind(verdict: Verdict) -> str:
    found: dict[str, int] = {}
    injected: dict[str, int] = {}
    for fault, incident in zip(verdict.faults, verdict.found, strict=True):
        kind = fault.kind.value
        injected[kind] = injected.get(kind, 0) + 1
        found[kind] = found.get(kind, 0) + (incident is not None)
    return ", ".join(f"{kind} {found[kind]}/{injected[kind]}" for kind in injected)


def next_steps(verdict: Verdict) -> list[str]:
    """Commands to try, or why the demo failed."""
    if not verdict.found_count:
        return [NO_FAULT]
    if not verdict.resolved:
        return [NONE_RESOLVED]
    python = os.path.relpath(sys.executable)
    # `make setup` makes this environment: it has all dependencies, not the package
    command = ".venv/bin/python -m"
    out = "--scores scores.csv --alerts alerts.ndjson"
    return [
        "\nWhat to try next (docs/get-started.md):",
        f"  {python} -m deploy.demo --seed 8 --budget 1",
        "      other noise, other faults, a larger false-alarm budget",
        f"  make setup && {command} training fit --data YOUR.csv --out my-bundle",
        "      a detector from your own history",
        f"  {command} detector replay --bundle my-bundle --data NEW.csv {out}",
        "      the alerts that it would have raised, before it pages anybody",
        f"  {command} detector check",
        "      your settings, your bundle and the way to your Kafka",
    ]
