"""A short run on each store, in a process of its own as ``make chaos`` runs the long
one.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("kind", ["local", "kafka"])
def test_nothing_is_lost_or_invented_whatever_fails(kind: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--store", kind, "--faults", "12"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}: held after 12 faults" in done.stdout
