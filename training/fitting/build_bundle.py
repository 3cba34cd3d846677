"""``training fit`` from history to bundle, stage by stage, for every detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.events import F32
from detector.model.bundle import (
    GRAPH,
    REPORT,
    SCHEMA,
    STREAMS,
    Feature,
    Manifest,
)
from detector.model.engine import Engine
from detector.model.settings import zones_of
from detector.model.tail import TailFit
from training.errors import TrainingError
from training.evaluation.cases import why_no_cases
from training.evaluation.gate import Comparison
from training.fitting.calibrate import Calibration, HeldOut, NewStreams, calibrate
from training.fitting.candidate import (
    FittedModel,
    compare_with_baselines,
    fit_model,
    open_graph,
)
from training.fitting.export import archived, graph, staged, verify, write_files
from training.fitting.pretrained import pretrained_for
from training.fitting.provenance import provenance
from training.fitting.train import ReportLoss
from training.history.history import History, Split
from training.models.multivariate import Fitted
from training.models.univariate import MAX_FEATURES
from training.models.walk import ScoredStreams, score_history, score_streams
from training.settings import FitSettings

ReportComparison = Callable[[Comparison | str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What there is to say about a bundle that was written.

    Attributes:
        tail: the tail fit in its manifest.
        parity: largest relative difference of a score between torch and the graph.
    """

    tail: TailFit
    parity: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report of a fit draws from.

    Attributes:
        fitted: the network, if the detector is one.
        calibration: thresholds and counts of the calibration rows.
        scored: what the graph makes of the whole history.
        comparison: with the baselines, or None if it could not be compared.
    """

    history: History
    settings: FitSettings
    fitted: Fitted | None
    calibration: Calibration
    splits: Sequence[Split]
    scored: ScoredStreams
    comparison: Comparison | None


def build(
    history: History,
    settings: FitSettings,
    out: Path,
    force: bool,
    render: Callable[[Findings], bytes],
    report_progress: ReportLoss,
    report_comparison: ReportComparison,
) -> Built:
    """Fit, compare, calibrate, export, verify, report; ``out`` is complete or
    untouched.

    ``render`` makes the report, UTF-8 HTML. ``report_comparison`` receives how the
    detector compares with the baselines, or why it could not be compared, before
    anything is refused. Raises TrainingError for a network that is worse than a
    baseline unless the settings allow it, and for ``lean`` if there is nothing to omit.
    """
    _refuse_lean(history, settings)
    history = replace(history, zones=zones_of(settings.timezone))
    splits = history.splits(settings.fit_share, settings.validation_share)
    with staged(out, force) as stage:
        pretrained = pretrained_for(settings, len(history.features))
        model = fit_model(history, settings, report_progress, pretrained)
        data = graph(model.step)
        comparison = compare_with_baselines(model, data, history, splits, settings)
        report_comparison(comparison or why_no_cases(history, splits))
        if not settings.allow_worse:
            _refuse_worse(model, comparison)
        engine = open_graph(data, history, model.step.layout.size)
        scored = score_history(engine, history, model.first)
        initial = model.new_stream_row(scored.rows)
        new = _scores_of_new_streams(engine, history, splits, model, scored, initial)
        held_out = _held_out(history, splits, scored)
        prior = None if pretrained is None else pretrained.prior
        unseen = NewStreams(new, settings.warm_up)
        found = calibrate(held_out, settings.alerting, unseen, prior)
        findings = Findings(
            history, settings, model.fitted, found, splits, scored, comparison
        )
        files = {
            GRAPH: data,
            STREAMS: _streams(history, model, scored, initial),
            REPORT: render(findings),
        }
        manifest = _manifest(history, settings, model, found, comparison)
        write_files(stage, files, manifest)
        names = [s.name for s in history.series]
        starts = [part.calibration for part in splits]
        first_rows = dict(zip(names, starts, strict=True))
        parity = verify(stage, model.step, history, first_rows)
    return Built(found.tail, parity)


def _refuse_lean(history: History, settings: FitSettings) -> None:
    """Raises TrainingError for ``lean`` if the detector has no shapes to omit."""
    one_metric = len(history.features) <= MAX_FEATURES
    if not settings.lean or (settings.detector == "lstm" and one_metric):
        return
    what = f"the detector {settings.detector}"
    if settings.detector == "lstm":
        what = f"{len(history.features)} features"
    raise TrainingError(
        f"lean omits a part that {what} does not have: "
        "it is for the network on one metric; remove --lean"
    )


def _refuse_worse(model: FittedModel, comparison: Comparison | None) -> None:
    """Raises TrainingError if the model is a network that a baseline beats."""
    if model.fitted is None or comparison is None or not comparison.worse:
        return
    raise TrainingError(
        f"{comparison.sentence}; nothing was written: give it more history or --steps, "
        f"fit the baseline with --detector {comparison.best_baseline.name}, "
        "or write it all the same with --allow-worse"
    )


def _held_out(
    history: History, splits: Sequence[Split], scored: ScoredStreams
) -> HeldOut:
    """The scores of the calibration rows."""
    scores = [
        s[part.calibration :] for s, part in zip(scored.scores, splits, strict=True)
    ]
    return HeldOut(scores, [s.tick for s in history.series])


def _scores_of_new_streams(
    engine: Engine,
    history: History,
    splits: Sequence[Split],
    model: FittedModel,
    scored: ScoredStreams,
    initial: F32,
) -> Sequence[F32]:
    """Scores as of streams that training has not seen, from their first point on."""
    if model.cold_start:
        return scored.scores
    unseen = [
        series.part(part.calibration, len(series))
        for series, part in zip(history.series, splits, strict=True)
    ]
    first = np.repeat(initial[None], len(unseen), axis=0)
    return score_streams(engine, unseen, first, history.local_times).scores


def _streams(
    history: History, model: FittedModel, scored: ScoredStreams, initial: F32
) -> bytes:
    """``streams.npz``: what the daemon starts each stream from."""
    series = history.series
    first = model.first
    begin_alike = bool((first == first[0]).all())
    seen = [s.times[-1] - s.times[0] + s.tick for s in series]
    return archived(
        {
            "initial": initial,
            "names": np.array([s.name for s in series], np.str_),
            "rows": scored.rows,
            "seen": np.array(seen),
            "first": first[:1] if begin_alike else first,
            "began": np.array([s.times[0] for s in series]),
        }
    )


def _manifest(
    history: History,
    settings: FitSettings,
    model: FittedModel,
    found: Calibration,
    comparison: Comparison | None,
) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name=settings.name,
        version=settings.version,
        features=tuple(
            Feature(name, settings.units.get(name, "")) for name in history.features
        ),
        tick_interval=history.tick,
        state_size=model.step.layout.size,
        warm_up=settings.warm_up,
        tail=found.tail,
        files={},
        provenance=provenance(history, settings, model.fitted, comparison),
        timezone=settings.timezone,
    )
