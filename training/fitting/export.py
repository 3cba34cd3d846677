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
from detector.events import F32
from detector.model.bundle import MANIFEST, Bundle, Manifest, load_bundle, sha256
from detector.model.onnx_engine import INPUTS, OUTPUTS, OnnxEngine
from training.errors import TrainingError
from training.history.history import History
from training.models.baselines import AnyBaseline
from training.models.multivariate import AutoencoderStep
from training.models.univariate import UnivariateStep
from training.models.walk import Wave, walk

AnyStep = AutoencoderStep | UnivariateStep | AnyBaseline
# Largest relative difference of a score between torch and onnxruntime: float32 has
# seven digits, and a step adds some thousand numbers.
TOLERANCE = 1e-4
# Share of the steps that must agree so closely.
_AGREEING = 0.99
# A smaller score counts as this one in a relative difference.
_LEAST_SCORE = 1e-3
# Held-out points of each stream, and streams, that are compared.
_COMPARED = 300
_STREAMS = 256
# Version of the ONNX operators: onnxruntime runs it since 1.14.
_OPSET = 18


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
            opset_version=_OPSET,
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

    Raises TrainingError if ``out`` exists and ``force`` is not given, or if no
    directory can be made there.
    """
    refuse_existing(out, force)
    stage = _make_stage(out)
    try:
        yield stage
        stage.chmod(0o755)
        swap(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _make_stage(out: Path) -> Path:
    """An empty directory beside ``out``. Raises TrainingError."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        reason = "not a directory" if is_file else str(error.strerror).lower()
        raise TrainingError(
            f"--out {out}: no directory can be made in {out.parent} ({reason}):"
            " name a place that this user may write to"
        ) from None


def check_out(out: Path, force: bool) -> None:
    """Find out before a long fit whether its bundle can be written; leave nothing.

    Raises TrainingError as :func:`staged` does.
    """
    refuse_existing(out, force)
    made = [folder for folder in out.parents if not folder.exists()]
    _make_stage(out).rmdir()
    for folder in made:
        folder.rmdir()


def refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise TrainingError(
            f"{out} exists: choose another --out, or replace it with --force"
        )
    if out.exists() and not (out / MANIFEST).is_file():
        raise TrainingError(
            f"{out} exists and is no bundle: --force replaces bundles only"
        )


def swap(stage: Path, out: Path) -> None:
    """Put ``stage`` in the place of ``out``; ``out`` is as before if that fails."""
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


def write_files(stage: Path, files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Every file, and then the manifest with their digests; all of it durable."""
    for name, data in files.items():
        (stage / name).write_bytes(data)
    digests = {name: sha256(data) for name, data in files.items()}
    signed = msgspec.structs.replace(manifest, files=digests)
    text = msgspec.json.format(msgspec.json.encode(signed), indent=1)
    (stage / MANIFEST).write_bytes(text + b"\n")
    for path in stage.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _opened(stage: Path) -> tuple[Bundle, OnnxEngine]:
    """Raises TrainingError if the daemon could not open it."""
    try:
        bundle = load_bundle(stage)
        return bundle, OnnxEngine(bundle)
    except BundleError as error:
        raise TrainingError(
            f"the exported bundle can't be opened ({error}); nothing was written"
        ) from None


def verify(
    stage: Path, step: AnyStep, history: History, first: Mapping[str, int]
) -> float:
    """Open ``stage`` as the daemon does and step held-out rows through both.

    ``first``: the row of each stream that is compared first. Returns the largest
    relative difference of a score, but for one step in a hundred.

    Each step starts both from the same row. A choice between two numbers that are all
    but equal may fall either way, and two rows would differ from there on. For the same
    reason one step in a hundred may differ. Raises TrainingError if the difference is
    over :data:`TOLERANCE` or the bundle can't be opened.
    """
    bundle, engine = _opened(stage)
    streams = []
    for series in history.series[:_STREAMS]:
        start = min(first[series.name], len(series) - 1)
        streams.append(series.part(start, start + _COMPARED))
    differences = []

    def compare(wave: Wave, state: F32) -> F32:
        served = engine.step(wave.x, wave.clock, state)
        inputs = map(torch.from_numpy, (wave.x, wave.clock, state))
        with torch.no_grad():
            score = step(*inputs)[0].numpy()
        size = np.maximum(np.abs(score), _LEAST_SCORE)
        differences.append(np.abs(served.score - score) / size)
        return served.next_state

    initial = np.repeat(bundle.initial[None], len(streams), axis=0)
    walk(streams, initial, history.local_times, compare)
    every = np.concatenate(differences)
    worst = float(np.quantile(every, _AGREEING, method="lower"))
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"the exported graph differs from torch by {worst:.2g}, "
            f"more than {TOLERANCE:g}; nothing was written"
        )
    return worst
