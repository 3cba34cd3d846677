"""From a fitted step to a bundle on disk: exported, opened as the daemon opens it,
compared with torch, and only then put in place.

The graph's bytes depend on the weights alone: the exporter's stack traces and names of
this machine's files are taken out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import torch

from detector.errors import BundleError
from detector.model.bundle import MANIFEST, Manifest, load_bundle, sha256
from detector.model.engine import clock_input
from detector.model.onnx_engine import INPUTS, OUTPUTS, OnnxEngine
from training.errors import TrainingError
from training.history.history import History
from training.models.baselines import Baseline
from training.models.multivariate import AutoencoderStep
from training.models.univariate import UnivariateStep

TOLERANCE = 1e-4
AnyStep = AutoencoderStep | UnivariateStep | Baseline
# held-out ticks of each of so many streams
_COMPARED = 300
_STREAMS = 256


def graph(step: AnyStep) -> bytes:
    """The step as one ONNX graph, batch size free."""
    batch = torch.export.Dim("batch", min=1)
    layout = step.layout
    example = (
        torch.zeros(2, layout.features),
        torch.zeros(2, 3),
        torch.ones(2, layout.size),
    )
    with warnings.catch_warnings(), _quiet():
        # the exporter's own deprecations; what it makes is checked below
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            step.eval(),
            example,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=18,
            verbose=False,
            dynamic_shapes={"x": {0: batch}, "clock": {0: batch}, "state": {0: batch}},
        )
    assert program is not None
    model = program.model_proto
    _anonymise(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _anonymise(model: onnx.ModelProto) -> None:
    """Take out what is not the computation: stack traces, file names, the exporter's
    notes.
    """
    del model.metadata_props[:]
    model.doc_string = ""
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    model.graph.name = "step"
    for part in (
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
        *model.graph.initializer,
        *model.functions,
    ):
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress to standard output and to torch's loggers."""
    before = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(before)


def archived(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An npz with fixed timestamps: numpy's own writer stamps the time of writing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.ascontiguousarray(array), allow_pickle=False
            )
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return out.getvalue()


@contextlib.contextmanager
def staged(out: Path, force: bool) -> Iterator[Path]:
    """A directory beside ``out`` that becomes ``out`` if the block ends well, and
    vanishes if it doesn't.

    Raises TrainingError if ``out`` exists and ``force`` is not given.
    """
    refuse_existing(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield stage
        stage.chmod(0o755)
        _swap(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise TrainingError(
            f"{out} exists: choose another --out, or replace it with --force"
        )
    if out.exists() and not (out / MANIFEST).is_file():
        raise TrainingError(
            f"{out} exists and is no bundle: --force replaces bundles only"
        )


def _swap(stage: Path, out: Path) -> None:
    old = stage.with_name(f"{stage.name}-old")
    if out.exists():
        out.rename(old)
    try:
        stage.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_files(
    stage: Path, files: Mapping[str, bytes], fields: Mapping[str, Any]
) -> None:
    """Every file and then the manifest that vouches for them; ``fields`` is the
    manifest less its digests.
    """
    for name, data in files.items():
        (stage / name).write_bytes(data)
    manifest = Manifest(
        **fields, files={name: sha256(data) for name, data in files.items()}
    )
    (stage / MANIFEST).write_bytes(
        msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    )
    for path in stage.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def verify(
    stage: Path, step: AnyStep, history: History, first: Mapping[str, int]
) -> float:
    """Open ``stage`` as the daemon does and step held-out rows through both; the
    largest relative difference of a score.

    Each step starts both from the same row: a choice between two that are all but equal
    may fall either way, and from there on two rows would go their own ways. For the
    same reason one step in a hundred may differ. Raises TrainingError if the difference
    is over :data:`TOLERANCE` or the bundle can't be opened.
    """
    try:
        bundle = load_bundle(stage)
        runtime = OnnxEngine(bundle)
    except BundleError as error:
        raise TrainingError(
            f"the exported bundle can't be opened ({error}); nothing was written"
        ) from None
    chosen = history.series[:_STREAMS]
    starts = [min(first[series.name], len(series) - 1) for series in chosen]
    state = np.repeat(bundle.initial[None], len(chosen), axis=0)
    found = []
    for t in range(_COMPARED):
        running = [i for i, series in enumerate(chosen) if starts[i] + t < len(series)]
        if not running:
            break
        x = np.stack([chosen[i].values[starts[i] + t] for i in running])
        times = np.array([chosen[i].times[starts[i] + t] for i in running])
        clock = clock_input(
            np.array([chosen[i].tick for i in running]), history.wall(times)
        )
        served = runtime.step(x, clock, state[running])
        with torch.no_grad():
            score = step(
                torch.from_numpy(x),
                torch.from_numpy(clock),
                torch.from_numpy(state[running]),
            )[0].numpy()
        found.append(np.abs(served.score - score) / np.maximum(np.abs(score), 1e-3))
        state[running] = served.next_state
    worst = float(np.quantile(np.concatenate(found), 0.99, method="lower"))
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"the exported graph differs from torch by {worst:.2g}, more than {TOLERANCE:g}; nothing was written"
        )
    return worst
