"""What an evaluation says: a table for the terminal, and ``evaluation.html``, one
self-contained page of plots and sentences.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from detector.timestamps import HOUR, MINUTE
from training.evaluation.evaluate import Evaluation
from training.evaluation.matching import LATE
from training.evaluation.pictures import Picture
from training.reports.durations import duration
from training.reports.events_report import (
    EVENT_HEADINGS,
    SEVERITY_HEADINGS,
    event_cells,
    held_back_line,
    ranked_line,
    severity_rows,
    shown_events,
)
from training.reports.plots import Plot, png, rendered, sheet, styled

_BARS = 40
EACH = (
    "each metric is a stream of its own, with its own budget and weeks; "
    "an event counts once for its stream, found if any metric that it is about finds it"
)


def table(evaluation: Evaluation) -> Table:
    """One row a budget."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="none")
    for name in (
        "asked",
        "false alarms",
        "realised",
        "incidents",
        "events found",
        "to alert",
        "nine of ten",
        "firing outside",
    ):
        shown.add_column(name, justify="right")
    for b in evaluation.budgets:
        shown.add_row(
            f"{b.budget:g}",
            f"{b.false_alarms:,}",
            f"{b.false_alarms_per_week:.3g}",
            f"{b.incidents:,}",
            f"{b.found:,} of {b.events:,} ({b.recall:.0%})",
            duration(b.delay_median),
            duration(b.delay_p90),
            f"{b.firing_outside:.2%}",
        )
    return shown


def say(evaluation: Evaluation, console: Console) -> None:
    rows = sum(s.rows for s in evaluation.streams)
    with_events = sum(1 for s in evaluation.streams if s.events)
    console.print(
        f"{rows:,} {held(evaluation)}, {evaluation.weeks:.3g} stream-weeks; "
        f"{evaluation.budgets[0].events:,} events in {with_events:,} streams",
        highlight=False,
    )
    console.print(
        f"AUC-PR {evaluation.auc_pr:.3f}   VUS-PR {evaluation.vus_pr:.3f}   "
        "(means over streams with events)",
        highlight=False,
    )
    console.print(
        "false alarms a stream-week, asked and realised; time from an event's start to its alert:",
        highlight=False,
    )
    console.print(table(evaluation), highlight=False)
    if evaluation.share is not None:
        console.print(
            f"asked {evaluation.share:g} is a stream's share of the fleet's budget",
            highlight=False,
        )
    if evaluation.bundle.manifest.each_metric:
        console.print(EACH, highlight=False, soft_wrap=True)


def held(evaluation: Evaluation) -> str:
    """What the rows are of."""
    metrics = sum(s.metrics for s in evaluation.streams)
    of = f"{len(evaluation.streams):,} streams"
    return (
        f"points of {metrics:,} metrics of {of}"
        if evaluation.bundle.manifest.each_metric
        else f"rows of {of}"
    )


def page(evaluation: Evaluation) -> bytes:
    """UTF-8 HTML."""
    with styled():
        plots = [_rates(evaluation), _delays(evaluation), _streams(evaluation)]
        misses = [_pictured(p) for p in evaluation.worst(miss=True)]
        alarms = [_pictured(p) for p in evaluation.worst(miss=False)]
    manifest = evaluation.bundle.manifest
    return rendered(
        "evaluation.html.j2",
        e=evaluation,
        manifest=manifest,
        plots=plots,
        misses=misses,
        alarms=alarms,
        duration=duration,
        late=LATE,
        held=held(evaluation),
        each=EACH,
        severity_headings=SEVERITY_HEADINGS,
        severities=severity_rows(evaluation),
        ranked=ranked_line(evaluation),
        held_back=held_back_line(evaluation),
        event_headings=EVENT_HEADINGS,
        events=[event_cells(event) for event in shown_events(evaluation)],
    )


def _rates(evaluation: Evaluation) -> Plot:
    figure = sheet()
    left, right = figure.subplots(1, 2)
    asked = [b.budget for b in evaluation.budgets]
    least = 1 / max(evaluation.weeks, 1e-9)
    left.loglog(
        asked,
        [max(b.false_alarms_per_week, least / 3) for b in evaluation.budgets],
        "o-",
    )
    left.loglog(
        asked,
        asked,
        color="gray",
        lw=0.8,
        ls="--",
        label="as asked",
    )
    left.axhline(
        least,
        color="crimson",
        lw=0.8,
        label="one in all of the data",
    )
    left.set(xlabel="false alarms a stream-week asked for", ylabel="realised")
    left.legend(frameon=False, fontsize=7)
    right.semilogx(asked, [b.recall for b in evaluation.budgets], "o-")
    right.set(
        xlabel="false alarms a stream-week asked for",
        ylabel="share of events found",
        ylim=(0, 1.05),
    )
    text = (
        "Under the red line, the data is too short to tell a rate from none. "
        "An anomaly without a label counts as a false alarm: look at the pictures."
    )
    return Plot("False alarms and events found by budget", png(figure), text)


def _delays(evaluation: Evaluation) -> Plot:
    figure = sheet()
    axes = figure.add_subplot()
    for i, b in enumerate(evaluation.budgets):
        delays = (
            np.sort([d for s in evaluation.streams for d in s.outcomes[i].delays])
            / MINUTE
        )
        share = np.arange(1, len(delays) + 1) / max(b.events, 1)
        axes.step(
            np.concatenate([[0], delays]),
            np.concatenate([[0], share]),
            where="post",
            label=f"{b.budget:g} a week",
        )
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set(
        xlabel="minutes since the event began",
        ylabel="share of events alerted",
        ylim=(0, 1.05),
    )
    axes.legend(frameon=False)
    return Plot(
        "Time to alert",
        png(figure),
        "The share of all events that have been alerted after some time. "
        "Beyond the end of a line, nothing more is found.",
    )


def _streams(evaluation: Evaluation) -> Plot:
    judged = sorted(
        (s for s in evaluation.streams if np.isfinite(s.vus_pr)), key=lambda s: s.vus_pr
    )[:_BARS][::-1]
    figure = sheet(max(1.6, 0.7 + 0.17 * len(judged)))
    axes = figure.add_subplot()
    axes.barh([s.stream for s in judged], [s.vus_pr for s in judged])
    axes.set(xlabel="VUS-PR", xlim=(0, 1))
    title = (
        "VUS-PR of each stream"
        if len(judged) < _BARS
        else f"VUS-PR of the {_BARS} worst streams"
    )
    return Plot(
        title,
        png(figure),
        "Look at the streams at the top first: at their labels and their metrics. "
        "Or give them a bundle of their own.",
    )


def _pictured(picture: Picture) -> Plot:
    figure = sheet(3.0)
    top, bottom = figure.subplots(2, 1, sharex=True)
    is_long = picture.times[-1] - picture.times[0] > 6 * HOUR
    unit, name = (HOUR, "hours") if is_long else (MINUTE, "minutes")
    at = (picture.times - picture.moment) / unit
    top.plot(at, picture.observed, lw=1, label="observed")
    top.plot(at, picture.expected, lw=1, label="expected")
    top.set(ylabel=picture.metric)
    top.legend(frameon=False, fontsize=7, loc="upper left")
    bottom.plot(at, picture.scores, lw=1, color="black")
    bottom.axhline(picture.threshold, color="crimson", lw=0.8)
    bottom.set(
        xlabel=f"{name} around the highest score",
        ylabel="score",
        xlim=(at[0], at[-1]) if len(at) > 1 else None,
    )
    for axes in (top, bottom):
        _shade_events(axes, picture, unit)
    how = "under" if picture.miss else "over"
    when = np.datetime_as_string(np.datetime64(int(picture.moment), "s"))
    return Plot(
        f"{picture.stream}, {when}Z",
        png(figure),
        f"The score was {abs(picture.badness):.2f} {how} its threshold; "
        f"{picture.metric} contributed most.",
    )


def _shade_events(axes: Axes, picture: Picture, unit: float) -> None:
    """Mark the events on an axis of ``unit`` seconds around the moment."""
    for start, end in (picture.events - picture.moment) / unit:
        axes.axvspan(
            start,
            end,
            color="gold",
            alpha=0.3,
            lw=0,
        )
