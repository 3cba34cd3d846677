"""From the settings to a fitted detector, and its comparison with the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.events import F32
from detector.model.bundle import SCHEMA, Bundle, Feature, Manifest
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from training.evaluation.at_budget import FitTail
from training.evaluation.cases import find_cases
from training.evaluation.gate import Candidate, Comparison, compare_candidates
from training.fitting.calibrate import HeldOut, Prior, calibrate
from training.fitting.export import AnyStep, graph
from training.fitting.pretrained import Pretrained
from training.fitting.train import ReportLoss, Weights, fit
from training.history.history import History, Split
from training.models import baselines, multivariate, univariate
from training.models.module_engine import ModuleEngine
from training.models.multivariate import HIDDEN_MANY, AutoencoderStep, Fitted
from training.models.network_input import channels
from training.models.settled import settled_rows
from training.models.shapes import BOOKS
from training.models.surprise import Front
from training.models.univariate import HIDDEN, MAX_FEATURES, UnivariateStep
from training.settings import FitSettings


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A detector that is not a bundle yet.

    Attributes:
        step: the module that is exported.
        first: float32 [N, S], each stream before its first point.
        new_stream_row: from the streams' last rows [N, S] to the row [S] of a stream
            that training has not seen.
        cold_start: whether every stream starts as an unseen one does, so that the
            scores from ``first`` on show how an unseen one begins.
        fitted: the network behind the step, if there is one.
    """

    step: AnyStep
    first: F32
    new_stream_row: Callable[[F32], F32]
    cold_start: bool = False
    fitted: Fitted | None = None


def fit_model(
    history: History,
    settings: FitSettings,
    report_progress: ReportLoss,
    pretrained: Pretrained | None = None,
) -> FittedModel:
    """The detector that the settings name, fitted to the history.

    A single metric's network goes on from the ``pretrained`` weights.
    """
    splits = history.splits(settings.fit_share, settings.validation_share)
    if settings.detector != "lstm":
        return _fit_baseline(history, settings)
    if len(history.features) <= MAX_FEATURES:
        start = None if pretrained is None else pretrained.weights
        return _fit_univariate(
            history,
            splits,
            settings,
            report_progress,
            start,
        )
    return _fit_multivariate(history, splits, settings, report_progress)


def _fit_baseline(history: History, settings: FitSettings) -> FittedModel:
    step = baselines.baseline(settings.detector, history, settings)
    first = baselines.first_rows(step, history)
    return FittedModel(step, first, lambda last: baselines.new_stream_row(step))


def _fit_multivariate(
    history: History,
    splits: Sequence[Split],
    settings: FitSettings,
    report_progress: ReportLoss,
) -> FittedModel:
    scaled = [s.scaled() for s in history.series]
    hidden = settings.hidden or HIDDEN_MANY
    fitted = fit(
        scaled,
        splits,
        settings,
        hidden,
        report_progress,
    )
    step = AutoencoderStep(fitted.network, settings.power, settings.learning)
    layout = step.layout
    blank = multivariate.first_rows(history, layout, settings.learning)
    heads = [
        series.part(0, part.fit)
        for series, part in zip(history.series, splits, strict=True)
    ]
    first = settled_rows(
        open_graph(graph(step.eval()), history, layout.size),
        heads,
        blank,
        layout,
        history.local_times,
    )
    return FittedModel(
        step=step,
        first=first,
        new_stream_row=lambda last: multivariate.new_stream_row(history, layout, last),
        fitted=fitted,
    )


def _fit_univariate(
    history: History,
    splits: Sequence[Split],
    settings: FitSettings,
    report_progress: ReportLoss,
    start: Weights | None,
) -> FittedModel:
    """Every stream starts without a past: a metric's values mean what its own past
    says.
    """
    front = Front(() if settings.lean else BOOKS).eval()
    read = channels(history, [part.calibration for part in splits], front)
    hidden = settings.hidden or HIDDEN
    fitted = fit(
        read,
        splits,
        settings,
        hidden,
        report_progress,
        start,
    )
    features = len(history.features)
    step = UnivariateStep(
        fitted.network,
        settings.power,
        features,
        front,
    ).eval()
    first = univariate.first_row(step)
    return FittedModel(
        step=step,
        first=np.repeat(first[None], len(history.series), axis=0),
        new_stream_row=lambda last: univariate.new_stream_row(first, last, step.layout),
        cold_start=True,
        fitted=fitted,
    )


def compare_with_baselines(
    model: FittedModel,
    data: bytes,
    history: History,
    splits: Sequence[Split],
    settings: FitSettings,
    prior: Prior | None = None,
) -> Comparison | None:
    """The detector, whose graph is ``data``, against the baselines that it is not
    itself; None if there is too little to compare on.

    ``prior``: what is known of the detector's own rates.
    """
    cases = find_cases(history, splits, settings.seed)
    if cases is None:
        return None
    own = Candidate(
        settings.detector,
        open_graph(data, history, model.step.layout.size),
        model.first,
        tail_fitter(settings.alerting, prior),
    )
    return compare_candidates(
        history,
        splits,
        cases,
        [own, *_baselines_beside(history, settings)],
        settings.alerting,
        settings.seed,
    )


def _baselines_beside(history: History, settings: FitSettings) -> Iterator[Candidate]:
    """All baselines but the detector itself."""
    fit_tail = tail_fitter(settings.alerting, None)
    for kind in baselines.BASELINES:
        if kind != settings.detector:
            plain = settings.model_copy(update={"detector": kind})
            rival = _fit_baseline(history, plain)
            yield Candidate(
                kind,
                ModuleEngine(rival.step),
                rival.first,
                fit_tail,
            )


def tail_fitter(tuning: AlertTuning, prior: Prior | None) -> FitTail:
    """How a fit gets from scores to a tail."""

    def fit_tail(scores: Sequence[F32], ticks: Sequence[float]) -> TailFit:
        return calibrate(HeldOut(scores, ticks), tuning, None, prior).tail

    return fit_tail


def open_graph(data: bytes, history: History, size: int) -> OnnxEngine:
    """An engine on a graph, before there is a bundle around it.

    ``size``: floats of a state row.
    """
    manifest = Manifest(
        schema=SCHEMA,
        name="",
        version="",
        features=tuple(map(Feature, history.features)),
        tick_interval=history.tick,
        state_size=size,
        warm_up=1,
        tail=TailFit(
            (0.0,),
            (1.0,),
            -1.0,
            0.0,
        ),
        files={},
        provenance={},
    )
    bundle = Bundle(
        path=Path("the exported graph"),
        digest="",
        manifest=manifest,
        graph=data,
        initial=np.zeros(size, np.float32),
        rows={},
        trained=np.zeros((0, size), np.float32),
    )
    return OnnxEngine(bundle)
