"""``training fit`` from history to bundle, stage by stage; the same stages whatever the
detector.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from detector.alerting.policy import AlertTuning
from detector.events import F32
from detector.model.bundle import (
    GRAPH,
    REPORT,
    SCHEMA,
    STREAMS,
    Bundle,
    Feature,
    Manifest,
)
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import zones_of
from detector.model.tail import TailFit
from detector.timestamps import WEEK
from training.errors import TrainingError
from training.evaluation.gate import Candidate, Comparison, find_cases, trial, why_not
from training.fitting.calibrate import calibrated
from training.fitting.export import (
    AnyStep,
    archived,
    graph,
    staged,
    verify,
    write_files,
)
from training.fitting.pretrained import Pretrained, beforehand
from training.fitting.train import Progress, fit
from training.history.history import History, Split, split
from training.models import baselines
from training.models.multivariate import HIDDEN_MANY, AutoencoderStep, Fitted, Layout
from training.models.surprise import BOOKS, Front
from training.models.univariate import (
    HIDDEN,
    MAX_FEATURES,
    UnivariateStep,
    channels,
    first_row,
    young_row,
)
from training.models.walk import walk
from training.reports.fit_report import Findings, report
from training.settings import FitSettings

STATED = {"timezone", "units"}  # settings that the manifest holds in fields of its own


@dataclass(frozen=True, slots=True)
class Built:
    """What there is to say about a bundle that was written."""

    tail: TailFit
    parity: float


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A detector that is not a bundle yet.

    Attributes:
        first: float32 [N, S], each stream before its first point.
        initial: from the streams' last rows [N, S] to the row [S] of a stream that
            training has not seen.
        anew: whether ``first`` is what any stream starts from, so that these rows show
            how one does that training has not seen.
        fitted: the network behind the step, where there is one.
    """

    step: AnyStep
    first: F32
    initial: Callable[[F32], F32]
    cold_start: bool = False
    fitted: Fitted | None = None


def build(
    history: History,
    settings: FitSettings,
    out: Path,
    force: bool,
    accept: bool,
    progress: Progress,
    on_trial: Callable[[Comparison | str], None],
) -> Built:
    """Fit, compare, calibrate, export, verify, report; ``out`` is complete or
    untouched.

    ``on_trial`` is told how the detector does against the baselines, or why that can't
    be said, before anything is refused. Raises TrainingError: a network that is worse
    than one of them is not written unless ``accept``; ``lean`` where there is nothing
    to leave out.
    """
    if settings.lean and (
        settings.detector != "lstm" or len(history.features) > MAX_FEATURES
    ):
        what = (
            f"{len(history.features)} features"
            if settings.detector == "lstm"
            else f"the detector {settings.detector}"
        )
        raise TrainingError(
            f"lean leaves out a part that {what} does without anyway: it is for the network on one metric; take --lean away"
        )
    history = replace(history, zones=zones_of(settings.timezone))
    with staged(out, force) as stage:
        known = beforehand(settings, len(history.features))
        made = candidate(history, settings, progress, known)
        step = made.step
        data = graph(step)
        splits = [
            split(len(s), settings.fit_share, settings.validation_share)
            for s in history.series
        ]
        held_out = contest(made, data, history, splits, settings)
        on_trial(held_out or why_not(history, splits))
        if (
            made.fitted is not None
            and held_out is not None
            and held_out.worse
            and not accept
        ):
            raise TrainingError(_refusal(held_out))
        runtime = plain_runtime(data, history, step.layout.size)
        walked = walk(runtime, history, made.first)
        held = [s[p.calibration :] for s, p in zip(walked.scores, splits, strict=True)]
        ticks = [s.tick for s in history.series]
        initial = made.initial(walked.rows)
        new = (
            walked.scores
            if made.cold_start
            else _walked_anew(runtime, history, splits, initial)
        )
        tail, levels, counts = calibrated(
            held,
            ticks,
            AlertTuning(),
            new,
            settings.warm_up,
            None if known is None else known.prior,
        )
        weeks = np.array(
            [len(s) * tick / WEEK for s, tick in zip(held, ticks, strict=True)]
        )
        archive = {
            "initial": initial,
            "names": np.array([s.name for s in history.series], np.str_),
            "rows": walked.rows,
            "levels": levels,
            "tails": counts.astype(np.float32),
            "weeks": weeks,
            "seen": np.array(
                [s.times[-1] - s.times[0] + s.tick for s in history.series]
            ),
            "first": made.first[:1]
            if (made.first == made.first[0]).all()
            else made.first,
            "began": np.array([s.times[0] for s in history.series]),
        }
        findings = Findings(
            history,
            settings,
            made.fitted,
            tail,
            levels,
            counts.sum(axis=0),
            splits,
            walked,
            held_out,
        )
        files = {GRAPH: data, STREAMS: archived(archive), REPORT: report(findings)}
        fields = {
            "schema": SCHEMA,
            "name": settings.name,
            "version": settings.version,
            "features": tuple(
                Feature(f, settings.units.get(f, "")) for f in history.features
            ),
            "tick_interval": history.tick,
            "state_size": step.layout.size,
            "warm_up": settings.warm_up,
            "tail": tail,
            "provenance": provenance(history, settings, made, held_out),
            "timezone": settings.timezone,
        }
        write_files(stage, files, fields)
        parity = verify(
            stage,
            step,
            history,
            {
                s.name: p.calibration
                for s, p in zip(history.series, splits, strict=True)
            },
        )
    return Built(tail, parity)


def _walked_anew(
    runtime: OnnxEngine, history: History, splits: list[Split], initial: F32
) -> tuple[F32, ...]:
    """Scores of the calibration rows, as of streams that were never seen before."""
    series = (
        replace(s, times=s.times[p.calibration :], values=s.values[p.calibration :])
        for s, p in zip(history.series, splits, strict=True)
    )
    return walk(
        runtime,
        replace(history, series=tuple(series)),
        np.repeat(initial[None], len(splits), axis=0),
    ).scores


def candidate(
    history: History,
    settings: FitSettings,
    progress: Progress,
    known: Pretrained | None = None,
) -> FittedModel:
    """The detector that the settings name, fitted; a single metric's goes on from what
    is ``known`` of them.
    """
    splits = [
        split(len(s), settings.fit_share, settings.validation_share)
        for s in history.series
    ]
    if settings.detector != "lstm":
        plain = baselines.baseline(settings.detector, history, settings)
        return FittedModel(
            plain,
            baselines.first_rows(plain, history),
            lambda last: baselines.initial_row(plain),
        )
    if len(history.features) <= MAX_FEATURES:
        return _few(history, splits, settings, progress, known)
    fitted = fit(
        [s.scaled() for s in history.series],
        splits,
        settings,
        settings.hidden or HIDDEN_MANY,
        progress,
    )
    least = torch.from_numpy(np.min([s.scale for s in history.series], axis=0))
    step = AutoencoderStep(
        fitted.network, settings.power, settings.learning, least
    ).eval()
    layout = step.layout
    return FittedModel(
        step,
        first_rows(history, layout, settings.learning),
        lambda last: initial_row(history, layout, last),
        fitted=fitted,
    )


def _few(
    history: History,
    splits: list[Split],
    settings: FitSettings,
    progress: Progress,
    known: Pretrained | None,
) -> FittedModel:
    """Every stream starts with no past: what a metric's values mean is learned from its
    own.
    """
    front = Front(() if settings.lean else BOOKS).eval()
    read = channels(
        history.in_local_time(), [part.calibration for part in splits], front
    )
    fitted = fit(
        read,
        splits,
        settings,
        settings.hidden or HIDDEN,
        progress,
        None if known is None else known.weights,
    )
    step = UnivariateStep(
        fitted.network, settings.power, len(history.features), front
    ).eval()
    first = first_row(step)
    return FittedModel(
        step,
        np.repeat(first[None], len(history.series), axis=0),
        lambda last: young_row(first, last, step.layout),
        True,
        fitted,
    )


def contest(
    made: FittedModel,
    data: bytes,
    history: History,
    splits: list[Split],
    settings: FitSettings,
) -> Comparison | None:
    """The detector, whose graph is ``data``, against the baselines that it is not
    itself; None where there is too little to compare on.
    """
    cases = find_cases(history, splits, settings.seed)
    if cases is None:
        return None
    contenders = [
        Candidate(
            settings.detector,
            plain_runtime(data, history, made.step.layout.size),
            made.first,
        )
    ]
    for kind in baselines.BASELINES:
        if kind != settings.detector:
            rival = candidate(
                history, settings.model_copy(update={"detector": kind}), lambda *_: None
            )
            contenders.append(
                Candidate(
                    kind,
                    plain_runtime(graph(rival.step), history, rival.step.layout.size),
                    rival.first,
                )
            )
    return trial(history, cases, contenders)


def _refusal(held_out: Comparison) -> str:
    return (
        f"{held_out.sentence}; nothing was written: give it more history or --steps, fit the baseline with --detector {held_out.best_baseline.name}, "
        "or write it all the same with --allow-worse"
    )


def first_rows(history: History, layout: Layout, learning: int) -> F32:
    """float32 [N, S]: each stream before its first point, with the scaling of its fit
    rows, frozen.
    """
    rows = np.zeros((len(history.series), layout.size), np.float32)
    at = layout.slices()
    for i, series in enumerate(history.series):
        rows[i, at["center"]] = series.center
        rows[i, at["scale"]] = series.scale
    rows[:, at["seen"]] = learning
    rows[:, at["energy"]] = 1.0
    return rows


def initial_row(history: History, layout: Layout, last: F32) -> F32:
    """float32 [S] of a stream that training has not seen: the fleet's median scaling
    and energy, nothing seen yet.
    """
    at = layout.slices()
    row = np.zeros(layout.size, np.float32)
    row[at["center"]] = np.median([s.center for s in history.series], axis=0)
    row[at["scale"]] = np.median([s.scale for s in history.series], axis=0)
    row[at["energy"]] = np.median(last[:, at["energy"]], axis=0)
    row[at["errors"]] = np.median(last[:, at["errors"]], axis=0)
    return row


def plain_runtime(data: bytes, history: History, size: int) -> OnnxEngine:
    """The graph before there is a bundle around it."""
    features = tuple(map(Feature, history.features))
    manifest = Manifest(
        SCHEMA,
        "",
        "",
        features,
        history.tick,
        size,
        1,
        TailFit((0.0,), (1.0,), -1.0, 0.0),
        {},
        {},
    )
    return OnnxEngine(
        Bundle(
            Path("the exported graph"),
            "",
            manifest,
            data,
            np.zeros(size, np.float32),
            {},
            np.zeros((0, size), np.float32),
        )
    )


def provenance(
    history: History,
    settings: FitSettings,
    made: FittedModel,
    held_out: Comparison | None,
) -> dict[str, object]:
    return {
        "data_sha256": history.digest,
        "rows": history.rows,
        "streams": len(history.series),
        "settings": settings.model_dump(exclude=STATED),
        **({} if made.fitted is None else _course(made.fitted)),
        "held_out": None if held_out is None else _recorded(held_out),
        "libraries": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def _course(fitted: Fitted) -> dict[str, object]:
    """How the network's fit went."""
    step, loss, validation = fitted.curve[-1]
    return {
        "weights": sum(p.numel() for p in fitted.network.parameters()),
        "steps": step,
        "loss": round(loss, 6),
        "validation_loss": round(
            min(
                v
                for v in (fitted.start, *(v for _, _, v in fitted.curve))
                if v is not None
            ),
            6,
        ),
        "last_validation_loss": round(validation, 6),
    }


def _recorded(held_out: Comparison) -> dict[str, object]:
    """The comparison as the manifest keeps it."""
    return {
        "basis": held_out.basis,
        "streams": held_out.streams,
        "cases": held_out.cases,
        "lead": round(held_out.lead, 4),
        "noise": round(held_out.noise, 4),
        "detectors": {
            s.name: {
                "vus_pr": round(s.vus_pr, 4),
                "auc_pr": round(s.auc_pr, 4),
                "recall": round(s.recall, 4),
                "vus_pr_by_kind": {kind: round(v, 4) for kind, v in s.by_kind.items()},
            }
            for s in held_out.standings
        },
    }
