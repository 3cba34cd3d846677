"""Programs of Debian packages, with stand-ins for apt on the search path."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.harness import debian
from deploy.harness.debian import ProgramNotAvailable, find_program

DOWNLOAD = '#!/bin/sh\necho "$2" > "$2.deb"\n'
UNPACK = '#!/bin/sh\nmkdir -p "$3/usr/bin"\necho unpacked > "$3/usr/bin/tool"\n'
NOT_FOUND = '#!/bin/sh\necho "E: Unable to locate package" >&2\nexit 100\n'


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first directory of the search path, empty; the cache is empty too."""
    monkeypatch.setattr(debian, "CACHE", tmp_path / "cache")
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin")
    return directory


def command(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_an_installed_program_is_preferred(commands: Path) -> None:
    tool = command(commands, "tool", "")
    assert find_program("package", "tool") == tool


def test_a_package_is_fetched_once_and_unpacked(commands: Path) -> None:
    command(commands, "apt-get", DOWNLOAD)
    command(commands, "dpkg-deb", UNPACK)
    program = find_program("package", "tool")
    assert program.read_text() == "unpacked\n"
    command(commands, "apt-get", NOT_FOUND)
    assert find_program("package", "tool") == program


def test_a_package_without_the_program_is_named(commands: Path) -> None:
    command(commands, "apt-get", DOWNLOAD)
    command(commands, "dpkg-deb", UNPACK)
    with pytest.raises(ProgramNotAvailable, match="package has no program other"):
        find_program("package", "other")


def test_what_apt_says_is_the_reason(commands: Path) -> None:
    command(commands, "apt-get", NOT_FOUND)
    command(commands, "dpkg-deb", UNPACK)
    with pytest.raises(ProgramNotAvailable, match="E: Unable to locate package"):
        find_program("package", "tool")


def test_a_machine_without_apt_is_the_reason(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(commands))
    with pytest.raises(ProgramNotAvailable, match="apt-get, which is not here"):
        find_program("package", "tool")


def test_a_download_that_hangs_ends(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "TIMEOUT_S", 0.05)
    command(commands, "apt-get", "#!/bin/sh\nexec tail -f /dev/null\n")
    command(commands, "dpkg-deb", UNPACK)
    with pytest.raises(ProgramNotAvailable, match="longer than"):
        find_program("package", "tool")
