"""A bundle: everything that one trained detector is, in a directory of plain data.

``manifest.json`` names the features, the state's size, how the tail of the score is
distributed, the provenance, and the SHA-256 of the other files; ``model.onnx`` is the
step; ``streams.npz`` holds the initial state row of an unknown stream and the own row
of every stream seen in training. Nothing in it is executed when it is loaded (numpy
reads it with pickle off).

A bundle holds how the score's tail is distributed and not a threshold:
:meth:`TailFit.level` turns a false-alarm budget into a level at load, so an operator
changes the budget without training again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from detector.errors import BundleError
from detector.events import F32, F64, SINGLE_METRIC
from detector.model.tail import TailFit

SCHEMA = 1
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
STREAMS = "streams.npz"
REPORT = "report.html"
# for whom names no bundle: any single metric
BUILTIN = Path(__file__).parents[1] / "bundles" / "builtin"


class Feature(msgspec.Struct, frozen=True):
    """A metric as it is named in records, and its unit ("" where it has none)."""

    name: str
    unit: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """``manifest.json``.

    Attributes:
        schema: of this file; another one than :data:`SCHEMA` is refused.
        tick_interval: seconds between two points of a stream (median over training).
        state_size: floats in a state row, S.
        warm_up: steps that an unknown stream takes before it may alert.
        files: SHA-256 in hexadecimal of every other file.
        timezone: whose wall clock the streams of training followed, by its IANA name.
        each_metric: there is one feature, :data:`STAND_IN`: every metric of a record is
            a stream of its own, ``<stream>/<metric>``.
        provenance: data digest, seeds, library versions, held-out metrics: for people,
            nothing computes with it.
    """

    schema: int
    name: str
    version: str
    features: tuple[Feature, ...]
    tick_interval: float
    state_size: int
    warm_up: int
    tail: TailFit
    files: dict[str, str]
    provenance: dict[str, Any]
    each_metric: bool = False
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle, read and verified.

    Attributes:
        digest: SHA-256 of the manifest, which covers every other file: the bundle's
            identity in pages and metrics.
        graph: ``model.onnx``.
        initial: float32 [S], the state row of an unknown stream.
        rows: stream -> index into ``trained``.
        trained: float32 [N, S], the state of each stream at the end of its training
            data.
        seen: float64 [N], for how many seconds training saw each; empty in bundles that
            do not say.
        first: float32 [N, S], the state of each stream before its training data; empty
            likewise.
        began: float64 [N], epoch seconds of each stream's first row in them; empty
            likewise.
    """

    path: Path
    digest: str
    manifest: Manifest
    graph: bytes
    initial: F32
    rows: Mapping[str, int]
    trained: F32
    seen: F64 = field(default_factory=lambda: np.zeros(0))
    first: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    began: F64 = field(default_factory=lambda: np.zeros(0))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.manifest.features)

    def features_of(self, stream: str) -> tuple[Feature, ...]:
        """What the values of a stream are called."""
        return (
            (Feature(metric_of(stream)),)
            if self.manifest.each_metric
            else self.manifest.features
        )


def metric_of(stream: str) -> str:
    """The metric that a stream of its own, ``<stream>/<metric>``, carries."""
    return stream.rpartition("/")[2]


def bundle_path(text: str) -> Path:
    """Where the bundle lies that a command names: the package's own by its word,
    ``builtin``, else a directory (``./builtin`` is one, too).
    """
    return BUILTIN if text == BUILTIN.name else Path(text)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def load_bundle(path: Path) -> Bundle:
    """Read and verify the bundle in directory ``path``.

    Raises:
        BundleError: it is not there, incomplete, damaged or of another schema; the
            sentence says what to do.
    """
    if not path.is_dir():
        raise BundleError(
            f"no bundle at {path}: train one with `python -m training fit --data DATA --out {path}`"
        )
    raw = _read(path, MANIFEST)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(
            f"{path / MANIFEST} is not a manifest ({error}): copy the bundle again or train it again"
        ) from None
    if manifest.schema != SCHEMA:
        raise BundleError(
            f"bundle {path} has schema {manifest.schema}, this version reads {SCHEMA}: "
            "train it again with this version, or run the version that made it"
        )
    if manifest.each_metric and [f.name for f in manifest.features] != [SINGLE_METRIC]:
        raise BundleError(
            f"{path / MANIFEST} makes each metric a stream, and its one feature is not called {SINGLE_METRIC}: train the bundle again"
        )
    missing = {GRAPH, STREAMS} - manifest.files.keys()
    if missing:
        raise BundleError(
            f"{path / MANIFEST} lists no digest for {', '.join(sorted(missing))}: train the bundle again"
        )
    files = {name: _read(path, name) for name in (GRAPH, STREAMS)}
    for name, data in files.items():
        if sha256(data) != manifest.files[name]:
            raise BundleError(
                f"{path / name} is not the file its manifest was made for (SHA-256 differs): copy the bundle again"
            )
    arrays = _streams(path, files[STREAMS], manifest.state_size)
    names = {str(name): i for i, name in enumerate(arrays["names"])}
    initial, trained, first = (
        arrays[part].astype(np.float32, copy=False)
        for part in ("initial", "rows", "first")
    )
    return Bundle(
        path,
        sha256(raw),
        manifest,
        files[GRAPH],
        initial,
        names,
        trained,
        arrays["seen"],
        first,
        arrays["began"],
    )


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as error:
        raise BundleError(
            f"bundle {path} has no readable {name} ({error.strerror}): copy the bundle again"
        ) from None


def _streams(path: Path, data: bytes, size: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``streams.npz``; those that older bundles lack are empty. ``first``
    has one row where all streams began alike.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("initial", "names", "rows")}
            arrays |= {
                name: archive[name] if name in archive else np.zeros(0)
                for name in ("seen", "began")
            }
            arrays["first"] = (
                archive["first"] if "first" in archive else np.zeros((0, size))
            )
    except (ValueError, KeyError, OSError) as error:
        raise BundleError(
            f"{path / STREAMS} can't be read ({error}): train the bundle again"
        ) from None
    known = len(arrays["names"])
    if len(arrays["first"]) == 1:
        arrays["first"] = np.broadcast_to(arrays["first"], (known, size))
    shapes = {name: array.shape for name, array in arrays.items()}
    whole = shapes["initial"] == (size,) and shapes["rows"] == (known, size)
    spans = shapes["seen"] in ((0,), (known,)) and shapes["began"] in (
        (0,),
        shapes["seen"],
    )
    if (
        not whole
        or not spans
        or (shapes["began"] != (0,) and shapes["first"] != (known, size))
    ):
        raise BundleError(
            f"{path / STREAMS} holds rows of another size than the manifest's {size}: train the bundle again"
        )
    return arrays
