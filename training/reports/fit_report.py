"""``report.html``: what an operator should know before trusting a bundle, as one
self-contained page of plots and sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.alerting.thresholds import effective_budget
from detector.events import F64
from detector.model.tail import TailFit
from training.evaluation.gate import Comparison
from training.history.history import History, Split
from training.models.multivariate import Fitted
from training.models.walk import Walk
from training.reports.plots import Plot, png, rendered, sheet, styled
from training.settings import FitSettings

DEFAULT_BUDGET = 1.0
_WORST = 6
_AROUND = 60  # ticks on either side of a worst moment


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report draws from. ``counts`` [K] incidents at ``levels`` [K] on the
    calibration rows.
    """

    history: History
    settings: FitSettings
    fitted: Fitted | None
    tail: TailFit
    levels: F64
    counts: F64
    splits: list[Split]
    walked: Walk
    held_out: Comparison | None


def report(findings: Findings) -> bytes:
    """UTF-8 HTML."""
    with styled():
        plots = [
            *_loss(findings),
            _scores(findings),
            _tail(findings),
            _features(findings),
            *_worst(findings),
        ]
    history = findings.history
    missing = [
        float(np.mean([np.isnan(s.values[:, j]).mean() for s in history.series]))
        for j in range(len(history.features))
    ]
    budgets = [
        (b, findings.tail.threshold(effective_budget(b))) for b in (0.1, 1.0, 10.0)
    ]
    return rendered(
        "report.html.j2",
        name=findings.settings.name,
        history=history,
        missing=list(zip(history.features, missing, strict=True)),
        plots=plots,
        budgets=budgets,
        tail=findings.tail,
        settings=findings.settings,
        held_out=findings.held_out,
    )


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
    return [
        Plot(
            "Loss",
            png(figure),
            "Both should fall and flatten. The weights kept are those of the lowest validation loss.",
        )
    ]


def _scores(findings: Findings) -> Plot:
    figure = sheet()
    axes = figure.add_subplot()
    level = findings.tail.threshold(effective_budget(DEFAULT_BUDGET))
    held = [
        s[p.calibration :]
        for s, p in zip(findings.walked.scores, findings.splits, strict=True)
    ]
    for i in np.argsort([-float(np.max(s, initial=0)) for s in held])[:5]:
        series = findings.history.series[i]
        days = (
            series.times[findings.splits[i].calibration :] - series.times[0]
        ) / 86_400
        axes.plot(days, held[i], lw=0.7, label=series.name)
    axes.axhline(
        level, color="crimson", lw=1, label=f"level of {DEFAULT_BUDGET:g} a week"
    )
    axes.set(xlabel="days since the stream's first row", ylabel="score")
    axes.legend(frameon=False, ncols=3, fontsize=7)
    text = "Held-out rows of the five streams with the highest scores. What stands over the line would have been an incident; look whether it should."
    return Plot("Score on held-out data", png(figure), text)


def _tail(findings: Findings) -> Plot:
    figure = sheet()
    axes = figure.add_subplot()
    seen = findings.counts > 0
    axes.semilogy(
        findings.levels[seen],
        findings.counts[seen] / findings.tail.stream_weeks,
        ".",
        label="counted",
    )
    rates = np.geomspace(
        findings.tail.rates[0], min(0.01, findings.tail.rates[-1] / 10), 50
    )
    axes.semilogy(
        [findings.tail.threshold(float(r)) for r in rates], rates, label="tail fit"
    )
    axes.axhline(DEFAULT_BUDGET, color="crimson", lw=1, label="default budget")
    axes.set(xlabel="level", ylabel="incidents a stream-week")
    axes.legend(frameon=False)
    weeks = findings.tail.stream_weeks
    text = (
        f"Counted on {weeks:.3g} stream-weeks of held-out rows. Where the line leaves the dots it is extrapolated: "
        f"budgets under {3 / weeks:.2g} a week rest on the shape of the tail and not on evidence."
    )
    return Plot("False-alarm budget and level", png(figure), text)


def _features(findings: Findings) -> Plot:
    names = findings.history.features
    figure = sheet(max(2.0, 0.6 + 0.16 * len(names)))
    axes = figure.add_subplot()
    share = np.zeros(len(names))
    for contribution, part in zip(
        findings.walked.contribution, findings.splits, strict=True
    ):
        share += contribution[part.calibration :].mean(axis=0)
    order = np.argsort(share)
    axes.barh(np.array(names)[order], share[order] / len(findings.splits))
    axes.set(xlabel="mean share of the error")
    text = "A metric with most of the error is one the network can't predict: it will be named often, and hides the others."
    return Plot("Error by feature", png(figure), text)


def _worst(findings: Findings) -> list[Plot]:
    """The highest scores on held-out rows, one a stream, with the feature that
    contributed most: observed against expected.
    """
    peaks = []
    for i, (scores, part) in enumerate(
        zip(findings.walked.scores, findings.splits, strict=True)
    ):
        held = scores[part.calibration :]
        if len(held):
            peaks.append((float(held.max()), i, part.calibration + int(held.argmax())))
    plots = []
    for score, i, t in sorted(peaks, reverse=True)[:_WORST]:
        series = findings.history.series[i]
        j = int(findings.walked.contribution[i][t].argmax())
        window = slice(max(0, t - _AROUND), t + _AROUND)
        figure = sheet(2.0)
        axes = figure.add_subplot()
        minutes = (series.times[window] - series.times[t]) / 60
        axes.plot(minutes, series.values[window, j], label="observed", lw=1)
        axes.plot(
            minutes, findings.walked.expected[i][window, j], label="expected", lw=1
        )
        axes.axvline(0, color="crimson", lw=0.8)
        axes.set(xlabel="minutes", ylabel=findings.history.features[j])
        axes.legend(frameon=False)
        title = f"Worst moment of {series.name}: score {score:.2f}"
        plots.append(
            Plot(
                title,
                png(figure),
                f"{findings.history.features[j]} contributed most to the error at the red line.",
            )
        )
    return plots
