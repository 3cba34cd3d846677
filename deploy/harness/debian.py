"""Programs of Debian packages without root, for tests against the real thing.

``apt-get download`` needs no rights, and ``dpkg-deb -x`` unpacks anywhere. The result
is kept in ``.cache/debian`` of the working tree, which git ignores. Packages that a
program needs at run time, and that are not on every machine, are unpacked beside it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".cache" / "debian"
TIMEOUT_S: Final = 300.0  # of one download: the largest package here has 50 MB
_TOOLS: Final = ("apt-get", "dpkg-deb")


class ProgramNotAvailable(RuntimeError):
    """The program cannot be had on this machine; the text says why."""


def find_program(package: str, name: str) -> Path:
    """The executable ``name`` of a Debian package, fetched at the first call.

    An installed one is preferred. Raises ProgramNotAvailable.
    """
    installed = shutil.which(name)
    if installed is not None:
        return Path(installed)
    program = unpack(package) / "usr" / "bin" / name
    if not program.exists():
        raise ProgramNotAvailable(f"the package {package} has no program {name}")
    return program


def unpack(package: str, *others: str) -> Path:
    """The root of a package and of others that it needs, fetched at the first call.

    Programs find the libraries in it by :func:`library_path`. Raises
    ProgramNotAvailable.
    """
    place = CACHE / package
    if not place.exists():
        _fetch(package, others)
    return place


def library_path(root: Path) -> str:
    """For LD_LIBRARY_PATH: where Debian puts the libraries of this machine's kind."""
    found = sorted(root.glob("usr/lib/*-linux-*"))
    return ":".join(map(str, found))


def _fetch(package: str, others: Sequence[str]) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ProgramNotAvailable(f"{package} needs {missing[0]}, which is not here")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        draft = Path(scratch)
        for each in (package, *others):
            _run(each, ["apt-get", "download", each], draft)
        for archive in draft.glob("*.deb"):
            _run(package, ["dpkg-deb", "-x", archive.name, "root"], draft)
        _keep(draft / "root", CACHE / package)


def _keep(draft: Path, place: Path) -> None:
    """Move it into place as a whole, unless another process was faster."""
    try:
        draft.rename(place)
    except OSError:
        if not place.exists():
            raise


def _run(package: str, command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramNotAvailable(
            f"{command[0]} took longer than {TIMEOUT_S:.0f} s for {package}"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ProgramNotAvailable(f"{command[0]} failed for {package}: {lines[-1]}")
