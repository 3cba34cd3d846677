"""Resident memory of a stream; run as a module it measures this process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.bundles import SIZES, bundle, pipeline, poll
from tests.benchmarks.rounds import Row

STREAMS = 100_000
OPENED_BEFORE = 1_000  # what the first streams allocate for all is not counted
BAR = 2048.0  # bytes


def memory(rounds: int) -> list[Row]:
    """Resident bytes a stream at 100,000 streams, names, index and decision state
    included, in a process of its own.
    """
    del rounds
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory"],
        check=True,
        capture_output=True,
        text=True,
    )
    used = json.loads(done.stdout)
    return [{"size": SIZES[0].label, "bytes a stream": used, "bar": BAR}]


def bytes_a_stream() -> float:
    size = SIZES[0]
    scored = pipeline(bundle(size))
    scored.process([poll(size, OPENED_BEFORE, 0)])
    before = _resident()
    for tick in range(1, 4):
        scored.process([poll(size, STREAMS, tick)])
    return (_resident() - before) / (STREAMS - OPENED_BEFORE)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    print(bytes_a_stream())
