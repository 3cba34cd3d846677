"""``python -m tests.chaos``: runs of many faults on each store, and the table of what
was survived; status 1 if anything was not.
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
from tests.chaos.harness import Chaos, Verdict

FAULTS = 40  # in one run, after which all must be as if there had been none


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
    print(
        f"seed {seed}, {kind}: {outcome} after {sum(verdict.faults.values())} faults in {verdict.seconds:.0f} s "
        f"({verdict.records:,} records, {verdict.notifications:,} notifications)",
        flush=True,
    )
    for failure in verdict.failures:
        print(f"  {failure}", flush=True)
    return verdict


def table(verdicts: list[Verdict]) -> Table:
    """Faults by kind and store, and what came of them."""
    stores = sorted({v.store for v in verdicts})
    faults = {
        kind: sum((v.faults for v in verdicts if v.store == kind), Counter())
        for kind in stores
    }
    shown = Table("fault", *stores, title="survived")
    for fault in sorted(set().union(*faults.values())):
        shown.add_row(fault, *(str(faults[kind][fault]) for kind in stores))
    shown.add_section()
    for what in (
        "kills",
        "joins and leaves",
        "records",
        "notifications",
        "lost, invented or wrong",
    ):
        shown.add_row(
            what,
            *(
                f"{sum(v.count(what) for v in verdicts if v.store == kind):,}"
                for kind in stores
            ),
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
