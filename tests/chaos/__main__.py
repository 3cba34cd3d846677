"""``python -m tests.chaos``: runs with many faults on each store, and their table.

The exit status is 1 if a run lost or invented anything.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from deploy.harness.broker import Broker
from tests.chaos.harness import COUNTED, Chaos, Verdict

FAULTS = 40  # in one run; after it, all must be as if there had been none


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        help="for all stores together; without it one run on each",
    )
    parser.add_argument("--faults", type=int, default=FAULTS, help="of one run")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first run; the next one counts on"
    )
    parser.add_argument(
        "--store",
        choices=("local", "kafka"),
        action="append",
        help="both if it is left out",
    )
    chosen = parser.parse_args()
    stores = chosen.store or ["local", "kafka"]
    began = time.monotonic()
    verdicts = list[Verdict]()
    for number, kind in enumerate(itertools.cycle(stores)):
        ends = began + 60 * chosen.minutes if chosen.minutes else None
        if number >= len(stores) and (ends is None or time.monotonic() > ends):
            break
        verdicts.append(one(kind, chosen.seed + number, chosen.faults, ends))
    Console(width=110).print(table(verdicts))
    return int(any(v.failures for v in verdicts))


def one(kind: str, seed: int, faults: int, ends: float | None) -> Verdict:
    with (
        TemporaryDirectory(prefix="streamwarden-chaos-") as folder,
        Broker(Path(folder) / "kafka") as broker,
    ):
        verdict = Chaos(broker, Path(folder), kind, seed).run(faults, ends)
    outcome = "held" if not verdict.failures else "BROKEN"
    faults_survived = sum(verdict.faults.values())
    print(
        f"seed {seed}, {kind}: {outcome} after {faults_survived} faults"
        f" in {verdict.seconds:.0f} s ({verdict.records:,} records,"
        f" {verdict.notifications:,} notifications)",
        flush=True,
    )
    for failure in verdict.failures:
        print(f"  {failure}", flush=True)
    return verdict


def table(verdicts: list[Verdict]) -> Table:
    """Faults by kind and store, and their outcome."""
    stores = sorted({verdict.store for verdict in verdicts})
    runs = {kind: [v for v in verdicts if v.store == kind] for kind in stores}
    faults = {kind: _sum(runs[kind]) for kind in stores}
    shown = Table("fault", *stores, title="survived")
    for fault in sorted(set().union(*faults.values())):
        counts = [str(faults[kind][fault]) for kind in stores]
        shown.add_row(fault, *counts)
    shown.add_section()
    for what in COUNTED:
        sums = [sum(verdict.count(what) for verdict in runs[kind]) for kind in stores]
        shown.add_row(what, *(f"{count:,}" for count in sums))
    return shown


def _sum(verdicts: list[Verdict]) -> Counter[str]:
    return sum((verdict.faults for verdict in verdicts), Counter())


if __name__ == "__main__":
    sys.exit(main())
