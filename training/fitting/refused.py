"""A refused fit keeps its work: the finished bundle waits beside ``out`` until somebody
takes it with ``--allow-worse``, or until another fit takes its place.

It is taken only by a fit that would make the same bundle: same data, labels, settings,
libraries and code. Their digest is in the manifest as ``fit_sha256``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from detector.errors import BundleError
from detector.model.bundle import BUILTIN, MANIFEST, Bundle, load_bundle
from training.fitting.export import swap
from training.history.history import History
from training.settings import FitSettings

# The name's ending, after that of the bundle.
_SUFFIX = ".refused"
# The key of the digest in a manifest's provenance.
FIT_DIGEST = "fit_sha256"


def refused_path(out: Path) -> Path:
    """Where the refused bundle of ``out`` waits."""
    return out.with_name(out.name + _SUFFIX)


def fit_digest(
    history: History, settings: FitSettings, libraries: Mapping[str, str]
) -> str:
    """SHA-256 of all that a fit depends on, but for ``allow_worse``."""
    facts = {
        "data": history.digest,
        "settings": settings.model_dump(
            exclude={"allow_worse": True, "alerting": {"rules"}}
        ),
        "libraries": dict(libraries),
        "builtin": hashlib.sha256((BUILTIN / MANIFEST).read_bytes()).hexdigest(),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(history.labels):
        digest.update(name.encode() + history.labels[name].tobytes())
    package = Path(__file__).parents[1]
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def keep_refused(stage: Path, out: Path) -> Path | None:
    """Put the finished bundle in ``stage`` where it waits, in place of an older one.

    None if something that is not a bundle is there; ``stage`` is then left alone.
    """
    place = refused_path(out)
    if place.exists() and not (place / MANIFEST).is_file():
        return None
    stage.chmod(0o755)
    swap(stage, place)
    return place


def find_refused(out: Path, digest: str) -> Bundle | None:
    """The bundle that waits for ``out``, if it is whole and a fit with this
    ``fit_sha256`` made it.
    """
    try:
        bundle = load_bundle(refused_path(out))
    except BundleError:
        return None
    same = bundle.manifest.provenance.get(FIT_DIGEST) == digest
    return bundle if same else None


def drop_refused(out: Path) -> None:
    """Remove a bundle that waited in vain: another one was written to ``out``."""
    place = refused_path(out)
    if (place / MANIFEST).is_file():
        shutil.rmtree(place, ignore_errors=True)
