"""``report.html``: what an operator should know before trusting a bundle, as one
self-contained page of plots and sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.alerting.thresholds import effective_budget
from detector.events import F32
from detector.model.tail import TailFit
from detector.timestamps import DAY, MINUTE
from training.fitting.build_bundle import Findings
from training.reports.plots import Plot, png, rendered, sheet, styled

# False alarms a stream-week: the daemon's default, and those of the table.
DEFAULT_BUDGET = 1.0
BUDGETS = (0.1, 1.0, 10.0)
# Streams whose worst moment is shown, and whose held-out scores are.
_WORST = 6
_SHOWN = 5
# Ticks on either side of a worst moment.
_AROUND = 60
# Incidents that a rate must rest on to be called counted.
_EVIDENCE = 3


def report(findings: Findings) -> bytes:
    """UTF-8 HTML."""
    with styled():
        plots = [
            *_loss(findings),
            _held_out_scores(findings),
            _tail(findings),
            _features(findings),
            *_worst_moments(findings),
        ]
    tail = findings.calibration.tail
    return rendered(
        "report.html.j2",
        name=findings.settings.name,
        history=findings.history,
        missing=list(_missing(findings)),
        plots=plots,
        budgets=[(budget, _threshold(tail, budget)) for budget in BUDGETS],
        settings=findings.settings,
        comparison=findings.comparison,
    )


def _threshold(tail: TailFit, budget: float) -> float:
    return tail.threshold(effective_budget(budget))


def _missing(findings: Findings) -> Iterator[tuple[str, float]]:
    """Each feature and the share of its cells that are missing, mean over streams."""
    for j, feature in enumerate(findings.history.features):
        shares = [np.isnan(s.values[:, j]).mean() for s in findings.history.series]
        yield feature, float(np.mean(shares))


def _held_out(findings: Findings) -> list[F32]:
    """The scores of each stream's calibration rows."""
    pairs = zip(findings.scored.scores, findings.splits, strict=True)
    return [scores[part.calibration :] for scores, part in pairs]


def _loss(findings: Findings) -> list[Plot]:
    if findings.fitted is None:
        return []
    figure = sheet()
    axes = figure.add_subplot()
    steps, loss, validation = zip(*findings.fitted.curve, strict=True)
    axes.plot(steps, loss, label="fit rows")
    axes.plot(steps, validation, label="validation rows (reconstruction only)")
    axes.set(xlabel="gradient step", ylabel="loss")
    axes.legend(frameon=False)
    text = (
        "Both should fall and flatten. The bundle has the weights of the lowest "
        "validation loss."
    )
    return [Plot("Loss", png(figure), text)]


def _held_out_scores(findings: Findings) -> Plot:
    figure = sheet()
    axes = figure.add_subplot()
    threshold = _threshold(findings.calibration.tail, DEFAULT_BUDGET)
    held_out = _held_out(findings)
    highest = [-float(np.max(scores, initial=0)) for scores in held_out]
    for i in np.argsort(highest)[:_SHOWN]:
        series = findings.history.series[i]
        times = series.times[findings.splits[i].calibration :]
        days = (times - series.times[0]) / DAY
        axes.plot(
            days,
            held_out[i],
            lw=0.7,
            label=series.name,
        )
    label = f"threshold at {DEFAULT_BUDGET:g} a week"
    axes.axhline(
        threshold,
        color="crimson",
        lw=1,
        label=label,
    )
    axes.set(xlabel="days since the stream's first row", ylabel="score")
    axes.legend(frameon=False, ncols=3, fontsize=7)
    text = (
        "Held-out rows of the five streams with the highest scores. What is over the "
        "line would have been an incident; check whether it should be one."
    )
    return Plot("Score on held-out data", png(figure), text)


def _tail(findings: Findings) -> Plot:
    figure = sheet()
    axes = figure.add_subplot()
    tail = findings.calibration.tail
    counts = findings.calibration.counts.sum(axis=0)
    seen = counts > 0
    thresholds = findings.calibration.thresholds[seen]
    weeks = tail.stream_weeks
    axes.semilogy(
        thresholds,
        counts[seen] / weeks,
        ".",
        label="counted",
    )
    lowest = min(0.01, tail.rates[-1] / 10)
    rates = np.geomspace(tail.rates[0], lowest, 50)
    fitted = [tail.threshold(float(rate)) for rate in rates]
    axes.semilogy(fitted, rates, label="tail fit")
    axes.axhline(
        DEFAULT_BUDGET,
        color="crimson",
        lw=1,
        label="default budget",
    )
    axes.set(xlabel="threshold", ylabel="incidents a stream-week")
    axes.legend(frameon=False)
    text = (
        f"Counted on {weeks:.3g} stream-weeks of held-out rows. Beyond the dots, the "
        f"line is extrapolated: budgets under {_EVIDENCE / weeks:.2g} a week rest on "
        "the shape of the tail and not on evidence."
    )
    return Plot("False-alarm budget and threshold", png(figure), text)


def _features(findings: Findings) -> Plot:
    names = findings.history.features
    figure = sheet(max(2.0, 0.6 + 0.16 * len(names)))
    axes = figure.add_subplot()
    share = np.zeros(len(names))
    pairs = zip(findings.scored.contribution, findings.splits, strict=True)
    for contribution, part in pairs:
        share += contribution[part.calibration :].mean(axis=0)
    order = np.argsort(share)
    axes.barh(np.array(names)[order], share[order] / len(findings.splits))
    axes.set(xlabel="mean share of the error")
    text = (
        "The network can't predict a metric that has most of the error: alerts will "
        "often name that metric, and it hides the others."
    )
    return Plot("Error by feature", png(figure), text)


def _worst_moments(findings: Findings) -> list[Plot]:
    """The highest scores on held-out rows, one for each stream."""
    peaks = []
    for i, scores in enumerate(_held_out(findings)):
        if len(scores):
            row = findings.splits[i].calibration + int(scores.argmax())
            peaks.append((float(scores.max()), i, row))
    worst = sorted(peaks, reverse=True)[:_WORST]
    return [
        _moment(
            findings,
            i,
            row,
            score,
        )
        for score, i, row in worst
    ]


def _moment(
    findings: Findings,
    i: int,
    row: int,
    score: float,
) -> Plot:
    """The feature that contributed most, observed against expected."""
    series = findings.history.series[i]
    j = int(findings.scored.contribution[i][row].argmax())
    feature = findings.history.features[j]
    window = slice(max(0, row - _AROUND), row + _AROUND)
    expected = findings.scored.expected[i][window, j]
    figure = sheet(2.0)
    axes = figure.add_subplot()
    minutes = (series.times[window] - series.times[row]) / MINUTE
    axes.plot(
        minutes,
        series.values[window, j],
        label="observed",
        lw=1,
    )
    axes.plot(minutes, expected, label="expected", lw=1)
    axes.axvline(0, color="crimson", lw=0.8)
    axes.set(xlabel="minutes", ylabel=feature)
    axes.legend(frameon=False)
    title = f"Worst moment of {series.name}: score {score:.2f}"
    text = f"{feature} contributed most to the error at the red line."
    return Plot(title, png(figure), text)
