"""A bundle: all that one trained detector is, as a directory of plain data.

- ``manifest.json`` names the features, the size of the state, how the tail of the score
  is distributed, the provenance, and the SHA-256 of the other files.
- ``model.onnx`` is the step.
- ``streams.npz`` has the state of an unknown stream, and that of every stream that
  training has seen, before and after its training data.

Loading executes nothing: numpy reads with pickle off.

A bundle holds how the score is distributed and no threshold. :meth:`TailFit.threshold`
computes it from the false-alarm budget when the bundle is loaded, so an operator
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
from detector.names import metric_of

SCHEMA = 1  # of the manifest
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
STREAMS = "streams.npz"
REPORT = "report.html"

#: The bundle in the package, for any single metric: used if no other is set.
BUILTIN = Path(__file__).parents[1] / "bundles" / "builtin"

_AGAIN = "train the bundle again"
_COPY = "copy the bundle again"


class Feature(msgspec.Struct, frozen=True):
    """A metric.

    Attributes:
        name: in records.
        unit: of what records hold; "" if it has none.
        counter: records hold totals that rise, and the network scores their rate.
    """

    name: str
    unit: str = ""
    counter: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """``manifest.json``.

    Attributes:
        schema: any other than :data:`SCHEMA` is refused.
        name: for people.
        version: for people.
        features: F of them, in the order of the graph.
        tick_interval: seconds between two points of a stream, the median over training.
        state_size: S, floats in a state row.
        warm_up: points of a stream that training has not seen before it may alert.
        tail: how often the fleet reaches each score.
        files: name -> SHA-256, hexadecimal, of every other file.
        provenance: data digest, seeds, library versions, held-out metrics. For people:
            nothing computes with it.
        each_metric: every metric of a record is a stream of its own,
            ``<stream>/<metric>``. The one feature is then
            :data:`~detector.events.SINGLE_METRIC`.
        timezone: IANA name of the zone whose local time the streams of training follow.
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
    """A bundle, read and verified, of N streams that training has seen.

    Attributes:
        path: its directory.
        digest: SHA-256 of the manifest, which covers every other file. It identifies
            the bundle in pages and metrics.
        manifest: as read.
        graph: ``model.onnx``.
        initial: float32 [S], the state of a stream that training has not seen.
        rows: stream -> index into the arrays below.
        trained: float32 [N, S], each stream's state at the end of its training data.
        seen: float64 [N], seconds of training data. Empty in bundles without it, like
            the next two.
        first: float32 [N, S], each stream's state before its training data.
        began: float64 [N], epoch seconds of the first row of the training data.
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
        """The metrics of a stream's values."""
        if self.manifest.each_metric:
            return (Feature(metric_of(stream)),)
        return self.manifest.features


def bundle_path(text: str) -> Path:
    """The directory of the bundle that a command names.

    ``builtin`` is the one in the package; ``./builtin`` is a directory.
    """
    return BUILTIN if text == BUILTIN.name else Path(text)


def sha256(data: bytes) -> str:
    """The digest of a file, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def load_bundle(path: Path) -> Bundle:
    """Read and verify the bundle in directory ``path``.

    Raises BundleError, with the remedy, if it is absent, incomplete, damaged, or of
    another schema.
    """
    if not path.is_dir():
        raise BundleError(
            f"no bundle at {path}: train one with "
            f"`streamwarden fit --data DATA --out {path}`"
        )
    raw = _read(path, MANIFEST)
    manifest = _manifest(path, raw)
    files = {name: _read(path, name) for name in (GRAPH, STREAMS)}
    for name, data in files.items():
        if sha256(data) != manifest.files[name]:
            raise BundleError(
                f"{path / name} is not the file its manifest was made for "
                f"(SHA-256 differs): {_COPY}"
            )
    arrays = _streams(path, files[STREAMS], manifest.state_size)
    names = arrays["names"]
    return Bundle(
        path=path,
        digest=sha256(raw),
        manifest=manifest,
        graph=files[GRAPH],
        initial=arrays["initial"].astype(np.float32, copy=False),
        rows={str(name): i for i, name in enumerate(names)},
        trained=arrays["rows"].astype(np.float32, copy=False),
        seen=arrays["seen"],
        first=arrays["first"].astype(np.float32, copy=False),
        began=arrays["began"],
    )


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as error:
        raise BundleError(
            f"bundle {path} has no readable {name} ({error.strerror}): {_COPY}"
        ) from None


def _manifest(path: Path, raw: bytes) -> Manifest:
    """Decode and check the manifest. Raises BundleError."""
    file = path / MANIFEST
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(
            f"{file} is not a manifest ({error}): copy the bundle again or train it again"
        ) from None
    if manifest.schema != SCHEMA:
        raise BundleError(
            f"bundle {path} has schema {manifest.schema}, this version reads {SCHEMA}: "
            "train it again with this version, or run the version that made it"
        )
    names = [feature.name for feature in manifest.features]
    if manifest.each_metric and names != [SINGLE_METRIC]:
        raise BundleError(
            f"{file} makes each metric a stream, and its one feature is not called "
            f"{SINGLE_METRIC}: {_AGAIN}"
        )
    missing = {GRAPH, STREAMS} - manifest.files.keys()
    if missing:
        raise BundleError(
            f"{file} lists no digest for {', '.join(sorted(missing))}: {_AGAIN}"
        )
    return manifest


def _streams(path: Path, data: bytes, size: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``streams.npz``; empty if an older bundle lacks them.

    Raises BundleError if they can't be read or have other shapes.
    """
    absent = {
        "seen": np.zeros(0),
        "began": np.zeros(0),
        "first": np.zeros((0, size)),
    }
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("initial", "names", "rows")}
            for name, default in absent.items():
                arrays[name] = archive.get(name, default)
    except (ValueError, KeyError, OSError) as error:
        raise BundleError(
            f"{path / STREAMS} can't be read ({error}): {_AGAIN}"
        ) from None
    if len(arrays["first"]) == 1:  # all streams began alike
        known = len(arrays["names"])
        arrays["first"] = np.broadcast_to(arrays["first"], (known, size))
    if not _shapes_agree(arrays, size):
        raise BundleError(
            f"{path / STREAMS} holds rows of another size than the manifest's {size}: "
            f"{_AGAIN}"
        )
    return arrays


def _shapes_agree(arrays: Mapping[str, npt.NDArray[Any]], size: int) -> bool:
    """Whether the arrays fit each other and the state's size."""
    shapes = {name: array.shape for name, array in arrays.items()}
    known = len(arrays["names"])
    has_states = shapes["initial"] == (size,) and shapes["rows"] == (known, size)
    has_spans = shapes["seen"] in ((0,), (known,))
    begins_with_spans = shapes["began"] in ((0,), shapes["seen"])
    no_first = shapes["began"] == (0,)
    has_first = no_first or shapes["first"] == (known, size)
    return has_states and has_spans and begins_with_spans and has_first
