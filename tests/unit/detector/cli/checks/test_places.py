"""Directories that take no files and addresses that are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.cli.checks.places import listen_faults, store_faults
from detector.settings.load import load
from tests.unit.detector.cli.checks.listeners import closed_port, listening


def faults(monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[str]:
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_RECOVERY__{name}", value)
    return list(store_faults(load()))


def test_a_store_that_can_be_written_is_not_a_fault_and_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert faults(monkeypatch, STORE=f"local:{tmp_path}/state/deep") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["/proc/state", "/dev/null/state"])
def test_a_store_that_takes_no_file_is_named(
    monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """Permissions say that root may write in /proc; no file can be created there."""
    (fault,) = faults(monkeypatch, STORE=f"local:{store}")
    assert store in fault
    assert "make it writable or name another" in fault


def test_a_directory_of_dead_letters_that_takes_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fault,) = faults(
        monkeypatch, STORE=f"local:{tmp_path}", DEAD_LETTERS="/proc/dead-letters"
    )
    assert fault.startswith("DETECTOR_RECOVERY__DEAD_LETTERS: /proc/dead-letters can't")


def test_a_port_in_use_is_named() -> None:
    with listening() as port:
        (fault,) = listen_faults(("127.0.0.1", port))
    assert f"DETECTOR_WEB__LISTEN: 127.0.0.1:{port} can't be bound" in fault
    assert "(Address already in use)" in fault


def test_a_free_port_and_any_free_port_are_not_a_fault() -> None:
    assert list(listen_faults(("127.0.0.1", closed_port()))) == []
    assert list(listen_faults(("127.0.0.1", 0))) == []
