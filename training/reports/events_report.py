"""What alerts were worth, event by event: for the terminal, the page and a file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from detector.events import Severity
from detector.timestamps import rfc3339
from training.evaluation.evaluate import Evaluation
from training.evaluation.event_worth import (
    EventWorth,
    count_ranked,
    count_severities,
)
from training.reports.durations import duration

#: Events that the terminal lists, if nobody says how many.
LISTED = 20

SEVERITY_HEADINGS = (
    "asked",
    "events: missed",
    "warning",
    "critical",
    "false alarms: warning",
    "critical",
)
EVENT_HEADINGS = (
    "stream",
    "start",
    "length",
    "told",
    "after",
    "metric",
    "first told as",
    "highest",
    "at event's end",
    "ended as",
    "peak margin",
)
_COLUMNS = (
    "stream",
    "start",
    "end",
    "length_seconds",
    "budget",
    "told",
    "told_after_seconds",
    "metric",
    "first_severity",
    "highest_severity",
    "at_event_end",
    "ended_as",
    "peak_margin",
    "quiet_hours_above",
)
# Columns of names, which may be long.
_WRAPPED = ("stream", "metric")
_NONE = "-"
_FIRING = "still firing"


def print_events(evaluation: Evaluation, console: Console, most: int) -> None:
    """Severities at each budget, how many well ranked events were told, and a list.

    At most ``most`` events are listed: missed ones first, then the slowest.
    """
    console.print("\nevents and false alarms at each budget, by highest severity:")
    console.print(_table(SEVERITY_HEADINGS, severity_rows(evaluation), left=0))
    console.print(ranked_line(evaluation), highlight=False, soft_wrap=True)
    events = shown_events(evaluation)
    if any(event.is_held_back for event in events):
        console.print(held_back_line(evaluation), highlight=False, soft_wrap=True)
    if not most:
        return
    listed = sorted(events, key=_worst_first)[:most]
    rows = [event_cells(event) for event in listed]
    budget = f"{evaluation.pictured_budget:g}"
    console.print(
        f"\nevents at {budget} a week, missed ones first, then the slowest:",
        highlight=False,
    )
    console.print(_table(EVENT_HEADINGS, rows, left=2), highlight=False)
    left_out = len(events) - len(listed)
    if left_out:
        console.print(
            f"… and {left_out:,} more (--events {len(events)} lists them)",
            highlight=False,
        )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Table:
    """The first ``left`` columns are aligned to the left."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="none")
    for number, heading in enumerate(headings):
        shown.add_column(
            heading,
            justify="left" if number < left else "right",
            no_wrap=heading not in _WRAPPED,
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*row)
    return shown


def _worst_first(event: EventWorth) -> tuple[bool, float, str, float]:
    """Of the missed ones, the least margin first; of the others, the longest delay."""
    worst = -event.delay if event.is_told else event.margin
    known = worst if math.isfinite(worst) else -math.inf
    return event.is_told, known, event.stream, event.start


def shown_events(evaluation: Evaluation) -> list[EventWorth]:
    """All events at the budget that is shown, by stream and start."""
    budgets = [b.budget for b in evaluation.budgets]
    if evaluation.pictured_budget not in budgets:
        return []
    number = budgets.index(evaluation.pictured_budget)
    found: list[EventWorth] = []
    for stream in evaluation.worth(number):
        found += stream.events
    return found


def severity_rows(evaluation: Evaluation) -> list[list[str]]:
    """One row for each budget, under :data:`SEVERITY_HEADINGS`."""
    rows = []
    for number, at in enumerate(evaluation.budgets):
        counts = count_severities(evaluation.worth(number))
        numbers = (
            counts.missed,
            counts.warning,
            counts.critical,
            counts.false_warning,
            counts.false_critical,
        )
        rows.append([f"{at.budget:g}", *(f"{count:,}" for count in numbers)])
    return rows


def ranked_line(evaluation: Evaluation) -> str:
    """How many of the events that outrank quiet hours were told, at each budget."""
    numbers = range(len(evaluation.budgets))
    counts = [count_ranked(evaluation.worth(number)) for number in numbers]
    budgets = [f"{at.budget:g}" for at in evaluation.budgets]
    told_ten = [f"{count.above_ten_told:,}" for count in counts]
    told_all = [f"{count.above_all_told:,}" for count in counts]
    at_budgets = zip(told_ten, budgets, strict=True)
    told = ", ".join(f"{told} at {budget}" for told, budget in at_budgets)
    return (
        "events whose score ranks above the ten worst quiet hours of their stream: "
        f"{counts[0].above_ten:,}, told: {told} a week; "
        f"above every quiet hour: {counts[0].above_all:,}, told: {', '.join(told_all)}"
    )


def held_back_line(evaluation: Evaluation) -> str:
    """How many of the missed events were over their threshold."""
    events = shown_events(evaluation)
    missed = sum(not event.is_told for event in events)
    held_back = sum(event.is_held_back for event in events)
    return (
        f"missed at {evaluation.pictured_budget:g} a week: {missed:,}, of them over the "
        f"threshold but held back by warm-up, gap or confirmation: {held_back:,}"
    )


def event_cells(event: EventWorth) -> list[str]:
    """The event under :data:`EVENT_HEADINGS`."""
    margin = f"{event.margin:+.2f}" if math.isfinite(event.margin) else _NONE
    return [
        event.stream,
        rfc3339(event.start, 0),
        duration(event.end - event.start),
        "told" if event.is_told else "missed",
        duration(event.delay),
        event.metric or _NONE,
        _severity(event.first) or _NONE,
        _severity(event.highest) or _NONE,
        _at_event_end(event) or _NONE,
        _ended_as(event) or _NONE,
        margin,
    ]


def events_csv(evaluation: Evaluation) -> bytes:
    """Every event at the budget that is shown, UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for event in shown_events(evaluation):
        writer.writerow(_record(event, evaluation.pictured_budget))
    return text.getvalue().encode()


def _record(event: EventWorth, budget: float | None) -> list[str]:
    """The event under :data:`_COLUMNS`; empty where there is nothing to say."""
    is_scored = math.isfinite(event.margin)
    return [
        event.stream,
        rfc3339(event.start),
        rfc3339(event.end),
        f"{event.end - event.start:g}",
        f"{budget:g}",
        "told" if event.is_told else "missed",
        f"{event.delay:g}" if event.is_told else "",
        event.metric,
        _severity(event.first),
        _severity(event.highest),
        _at_event_end(event),
        _ended_as(event),
        f"{event.margin:.3f}" if is_scored else "",
        "" if event.hours_above is None else str(event.hours_above),
    ]


def _severity(severity: Severity) -> str:
    return "" if severity is Severity.NONE else severity.label


def _at_event_end(event: EventWorth) -> str:
    """What its incidents were when the event ended."""
    if not event.is_told:
        return ""
    return _FIRING if event.ended_early is None else event.ended_early.label


def _ended_as(event: EventWorth) -> str:
    """How the last of its incidents ended."""
    if not event.is_told:
        return ""
    return _FIRING if event.ended_as is None else event.ended_as.label
