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
from training.fitting.calibrate import (
    Calibration,
    HeldOut,
    NewStreams,
    Prior,
    calibrate,
)
from training.fitting.candidate import (
    FittedModel,
    compare_with_baselines,
    fit_model,
    open_graph,
)
from training.fitting.export import (
    archived,
    graph,
    refuse_existing,
    staged,
    swap,
    verify,
    write_files,
)
from training.fitting.pretrained import pretrained_for
from training.fitting.provenance import libraries, provenance, recorded
from training.fitting.refused import (
    FIT_DIGEST,
    drop_refused,
    find_refused,
    fit_digest,
    keep_refused,
)
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
        parity: largest relative difference of a score between torch and the graph; None
            if the bundle was taken from ``taken_from``.
        taken_from: where the bundle of an earlier, refused fit waited.
    """

    tail: TailFit
    parity: float | None
    taken_from: Path | None = None


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

    A bundle that is refused waits beside ``out``. If the settings allow it, and data
    and settings are the same, it is taken from there without a second fit.
    """
    _refuse_lean(history, settings)
    if taken := _take_refused(history, settings, out, force):
        return taken
    history = replace(history, zones=zones_of(settings.timezone))
    splits = history.splits(settings.fit_share, settings.validation_share)
    with staged(out, force) as stage:
        pretrained = pretrained_for(settings, len(history.features), history.tick)
        model = fit_model(history, settings, report_progress, pretrained)
        data = graph(model.step)
        fit = _Fit(history, settings, splits, model, data)
        prior = None if pretrained is None else pretrained.prior
        comparison = _compare(fit, prior, report_comparison)
        scores = _score(fit)
        found = _calibrate(fit, scores, prior)
        report = render(_findings(fit, scores, found, comparison))
        files = {GRAPH: data, STREAMS: _streams(fit, scores), REPORT: report}
        write_files(stage, files, _manifest(fit, found, comparison))
        parity = _verify(stage, fit)
        if not settings.allow_worse:
            _refuse_worse(model, comparison, stage, out)
    drop_refused(out)
    return Built(found.tail, parity)


def _take_refused(
    history: History,
    settings: FitSettings,
    out: Path,
    force: bool,
) -> Built | None:
    """Put the bundle that waits for ``out`` in its place; None if none does, or if it
    may not be taken.
    """
    if not settings.allow_worse:
        return None
    digest = fit_digest(history, settings, libraries())
    bundle = find_refused(out, digest)
    if bundle is None:
        return None
    refuse_existing(out, force)
    swap(bundle.path, out)
    return Built(bundle.manifest.tail, None, bundle.path)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A detector and what it was fitted to; ``graph`` is its ONNX file."""

    history: History
    settings: FitSettings
    splits: Sequence[Split]
    model: FittedModel
    graph: bytes


@dataclass(frozen=True, slots=True)
class _Scores:
    """What the graph makes of the history.

    Attributes:
        known: each stream from its own first row.
        initial: float32 [S], the row of a stream that training has not seen.
        new: float32 [n_i], scores as of streams that start from ``initial``.
    """

    known: ScoredStreams
    initial: F32
    new: Sequence[F32]


def _compare(
    fit: _Fit, prior: Prior | None, report_comparison: ReportComparison
) -> Comparison | None:
    """Compare with the baselines, and report it."""
    comparison = compare_with_baselines(
        fit.model,
        fit.graph,
        fit.history,
        fit.splits,
        fit.settings,
        prior,
    )
    report_comparison(comparison or why_no_cases(fit.history, fit.splits))
    return comparison


def _score(fit: _Fit) -> _Scores:
    history = fit.history
    engine = open_graph(fit.graph, history, fit.model.step.layout.size)
    known = score_history(engine, history, fit.model.first)
    initial = fit.model.new_stream_row(known.rows)
    new = _scores_of_new_streams(engine, fit, known, initial)
    return _Scores(known, initial, new)


def _calibrate(fit: _Fit, scores: _Scores, prior: Prior | None) -> Calibration:
    """Thresholds of the rows that neither fit nor validation has seen."""
    settings = fit.settings
    held_out = _held_out(fit.history, fit.splits, scores.known)
    unseen = NewStreams(scores.new, settings.warm_up)
    return calibrate(held_out, settings.alerting, unseen, prior)


def _findings(
    fit: _Fit,
    scores: _Scores,
    found: Calibration,
    comparison: Comparison | None,
) -> Findings:
    return Findings(
        history=fit.history,
        settings=fit.settings,
        fitted=fit.model.fitted,
        calibration=found,
        splits=fit.splits,
        scored=scores.known,
        comparison=comparison,
    )


def _verify(stage: Path, fit: _Fit) -> float:
    """:func:`verify` over the calibration rows."""
    names = [s.name for s in fit.history.series]
    starts = [part.calibration for part in fit.splits]
    first_rows = dict(zip(names, starts, strict=True))
    return verify(stage, fit.model.step, fit.history, first_rows)


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


def _refuse_worse(
    model: FittedModel,
    comparison: Comparison | None,
    stage: Path,
    out: Path,
) -> None:
    """Raises TrainingError if the model is a network that a baseline beats.

    The finished bundle in ``stage`` then waits beside ``out``.
    """
    if model.fitted is None or comparison is None or not comparison.worse:
        return
    kept = keep_refused(stage, out)
    again = "write it all the same with --allow-worse"
    if kept is not None:
        again = (
            f"take it as it is: the bundle waits in {kept}, with its report, and the "
            "same command with --allow-worse puts it in place without a second fit"
        )
    raise TrainingError(
        f"{comparison.sentence}; nothing was written to {out}: give it more history or "
        f"--steps, or fit the baseline with --detector {comparison.best_baseline.name}, "
        f"or {again}"
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
    fit: _Fit,
    known: ScoredStreams,
    initial: F32,
) -> Sequence[F32]:
    """Scores as of streams that training has not seen, from their first point on."""
    if fit.model.cold_start:
        return known.scores
    history = fit.history
    unseen = [
        series.part(part.calibration, len(series))
        for series, part in zip(history.series, fit.splits, strict=True)
    ]
    first = np.repeat(initial[None], len(unseen), axis=0)
    return score_streams(engine, unseen, first, history.local_times).scores


def _streams(fit: _Fit, scores: _Scores) -> bytes:
    """``streams.npz``: what the daemon starts each stream from."""
    series = fit.history.series
    first = fit.model.first
    begin_alike = bool((first == first[0]).all())
    seen = [s.times[-1] - s.times[0] + s.tick for s in series]
    return archived(
        {
            "initial": scores.initial,
            "names": np.array([s.name for s in series], np.str_),
            "rows": scores.known.rows,
            "seen": np.array(seen),
            "first": first[:1] if begin_alike else first,
            "began": np.array([s.times[0] for s in series]),
        }
    )


def _manifest(fit: _Fit, found: Calibration, comparison: Comparison | None) -> Manifest:
    history = fit.history
    settings = fit.settings
    model = fit.model
    return Manifest(
        schema=SCHEMA,
        name=settings.name,
        version=settings.version,
        features=tuple(
            Feature(name, settings.units.get(name, ""), name in history.counters)
            for name in history.features
        ),
        tick_interval=history.tick,
        state_size=model.step.layout.size,
        warm_up=settings.warm_up,
        tail=found.tail,
        files={},
        provenance=_provenance(fit, comparison),
        timezone=settings.timezone,
    )


def _provenance(fit: _Fit, comparison: Comparison | None) -> dict[str, object]:
    """The same whether a worse network is allowed or not: a bundle that is refused may
    be taken later.
    """
    origin = provenance(fit.history, fit.settings, fit.model.fitted, comparison)
    settings = recorded(fit.settings)
    del settings["allow_worse"]
    digest = fit_digest(fit.history, fit.settings, libraries())
    return {**origin, "settings": settings, FIT_DIGEST: digest}
