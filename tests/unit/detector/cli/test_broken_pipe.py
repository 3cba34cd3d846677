"""A command exits quietly when the reader of its output goes away."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from detector.cli.broken_pipe import exit_on_broken_pipe


@pytest.mark.parametrize(
    "command",
    [["detector", "--help"], ["detector", "check"], ["training", "fit", "--help"]],
    ids=" ".join,
)
def test_a_closed_pipe_ends_a_command_quietly_with_the_status_of_the_signal(
    command: list[str],
) -> None:
    unread, written = os.pipe()
    os.close(unread)
    try:
        settings = {
            "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "PYTHONUNBUFFERED": "",
        }
        done = subprocess.run(
            [sys.executable, "-m", *command],
            stdout=written,
            stderr=subprocess.PIPE,
            env=os.environ | settings,
            timeout=60,
            check=False,
            text=True,
        )
    finally:
        os.close(written)
    assert done.returncode == 128 + 13
    assert "BrokenPipeError" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_that_breaks_elsewhere_is_an_error() -> None:
    @exit_on_broken_pipe
    def main() -> int:
        raise BrokenPipeError("a receiver hung up")

    with pytest.raises(BrokenPipeError, match="a receiver hung up"):
        main()
