"""Processes of the harness: where their output goes, and what they inherit."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from deploy.harness import processes
from deploy.harness.processes import ProcessError, free_ports, log_tail, start_process

REPORT = "import os; print(os.getsid(0), os.environ.get('HOME'), os.getcwd())"


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("one", "two"):
        start_process([sys.executable, "-c", f"print('{word}')"], log).wait()
    assert log.read_text() == "one\ntwo\n"


def test_it_has_its_own_session_environment_and_directory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", REPORT]
    process = start_process(command, log, environment={}, directory=tmp_path)
    process.wait()
    session, home, directory = log.read_text().split()
    assert int(session) == process.pid != os.getsid(0)
    assert home == "None"
    assert Path(directory) == tmp_path


def test_a_log_ends_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == "(no log)"
    log.write_text("one\ntwo\nthree\n")
    assert log_tail(log, lines=2) == "two\nthree"


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(processes, "PORTS", range(port, port + 1))
        with pytest.raises(ProcessError, match="fewer than 1"):
            free_ports(1)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5
