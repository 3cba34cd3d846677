"""What a manifest says of how its bundle was made: data, settings, fit, comparison."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from training.evaluation.gate import Comparison, Result
from training.evaluation.interval import LEVEL, Interval
from training.history.history import History
from training.models.multivariate import Fitted
from training.settings import FitSettings

#: Settings that the manifest holds in fields of its own, and the operator's rules:
#: nothing that is fitted or calibrated depends on them.
STATED: dict[str, Any] = {"timezone": True, "units": True, "alerting": {"rules"}}


def provenance(
    history: History,
    settings: FitSettings,
    fitted: Fitted | None,
    comparison: Comparison | None,
) -> dict[str, object]:
    """For people; nothing computes with it."""
    return {
        "data_sha256": history.digest,
        "rows": history.rows,
        "streams": len(history.series),
        "settings": recorded(settings),
        **({} if fitted is None else _course(fitted)),
        "held_out": None if comparison is None else _recorded(comparison),
        "libraries": libraries(),
    }


def recorded(settings: FitSettings) -> dict[str, Any]:
    """The settings that a manifest records."""
    return settings.model_dump(exclude=STATED)


def libraries() -> dict[str, str]:
    """The versions that a fit's numbers depend on."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def _course(fitted: Fitted) -> dict[str, object]:
    """How the network's fit went."""
    step, loss, last_validation = fitted.curve[-1]
    validations = [validation for _, _, validation in fitted.curve]
    if fitted.start is not None:
        validations.append(fitted.start)
    return {
        "weights": sum(p.numel() for p in fitted.network.parameters()),
        "steps": step,
        "loss": round(loss, 6),
        "validation_loss": round(min(validations), 6),
        "last_validation_loss": round(last_validation, 6),
    }


def _recorded(comparison: Comparison) -> dict[str, object]:
    return {
        "basis": comparison.basis,
        "verdict": comparison.verdict,
        "streams": comparison.streams,
        "cases": comparison.cases,
        "best_baseline": comparison.best_baseline.name,
        "lead": _interval(comparison.lead),
        "told_lead": _interval(comparison.told_lead),
        "budget": comparison.results[0].told.budget,
        "detectors": {r.name: _figures(r) for r in comparison.results},
    }


def _interval(lead: Interval) -> dict[str, object]:
    return {
        "mean": round(lead.mean, 4),
        "low": round(lead.low, 4),
        "high": round(lead.high, 4),
        "level": LEVEL,
        "over": lead.over,
    }


def _figures(result: Result) -> dict[str, object]:
    return {
        "vus_pr": round(result.vus_pr, 4),
        "auc_pr": round(result.auc_pr, 4),
        "told": result.told.told_events,
        "events": result.told.events,
        "false_alarms_per_week": round(result.told.false_alarms_per_week, 4),
        "vus_pr_by_kind": {k: round(v, 4) for k, v in result.by_kind.items()},
    }
