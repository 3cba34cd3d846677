"""Throws mutated records at every format: ``python -m tests.fuzz --records 1000000``.

Prints one line a format: what became of the records, how fast, and how much memory the
process took after a tenth of them and at the end. Any exception, any record that
vanishes uncounted and memory that grows by more than :data:`GROWTH_MIB` end it with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from tests.fuzz.trial import Outcome, memory_mib, names, run

# What caches may fill after the first tenth: names of 100 000 streams, bounded.
GROWTH_MIB: Final = 150.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=names(), action="append")
    arguments = parser.parse_args()
    grew = False
    for name in arguments.format or names():
        grew |= _trial(name, arguments.records, arguments.seed) > GROWTH_MIB
    return int(grew)


def _trial(name: str, count: int, seed: int) -> float:
    """Prints the line of a format; how much memory grew, in MiB."""
    early: list[float] = []

    def note(outcome: Outcome) -> None:
        if not early and outcome.records >= count / 10:
            early.append(memory_mib())

    began = time.perf_counter()
    outcome = run(name, count, seed, note)
    seconds = time.perf_counter() - began
    grown = memory_mib() - early[0]
    print(
        f"{name}: {outcome.records} records, {outcome.points} points,"
        f" {outcome.rejected} rejected, {outcome.missing} values missing,"
        f" {outcome.without_points} without points;"
        f" {outcome.records / seconds:.0f} records/s;"
        f" memory {early[0]:.0f} MiB, then {grown:+.1f}",
        flush=True,
    )
    return grown


if __name__ == "__main__":
    sys.exit(main())
