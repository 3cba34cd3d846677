"""Programs of Debian packages without root, for tests against the real thing.

``apt-get download`` needs no rights, and ``dpkg-deb -x`` unpacks anywhere. The result
is kept in ``.cache/debian`` of the working tree, which git ignores. Packages that need
other packages at run time are out of scope: Prometheus and Alertmanager are static.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
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
    program = CACHE / package / "usr" / "bin" / name
    if not program.exists():
        _fetch(package)
    if not program.exists():
        raise ProgramNotAvailable(f"the package {package} has no program {name}")
    return program


def _fetch(package: str) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ProgramNotAvailable(f"{package} needs {missing[0]}, which is not here")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        draft = Path(scratch)
        _run(package, ["apt-get", "download", package], draft)
        (archive,) = draft.glob("*.deb")
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
