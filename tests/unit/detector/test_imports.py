"""The weight of the daemon: what its process imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sys.modules)
"""


@pytest.mark.parametrize("module", ["detector.app", "detector.compose"])
def test_the_daemon_imports_nothing_that_only_replay_and_training_need(
    module: str,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, module],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert module in imported
    assert not imported & {
        "pyarrow",
        "torch",
        "matplotlib",
        "training",
        "detector.data",
        "detector.replay",
    }
