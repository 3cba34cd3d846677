"""``python -m tests.benchmarks``: a table, and a JSON file."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measures import Row, drain, engine, front, memory, window
from tests.benchmarks.members import members
from tests.benchmarks.receivers import receivers
from tests.benchmarks.recovery import recovery

MEASURES: dict[str, Callable[[int], list[Row]]] = {
    f.__name__: f
    for f in (engine, front, window, memory, drain, recovery, members, receivers)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", choices=MEASURES, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    console = Console(width=120)
    found = dict[str, list[Row]]()
    for name in chosen.only or MEASURES:
        found[name] = MEASURES[name](chosen.rounds)
        table = Table(
            *found[name][0],
            title=f"{name}: {(MEASURES[name].__doc__ or '').strip()}",
            title_justify="left",
        )
        for row in found[name]:
            table.add_row(
                *(
                    v if isinstance(v, str) else f"{v:,.0f}" if v >= 100 else f"{v:.2f}"
                    for v in row.values()
                )
            )
        console.print(table)
    if chosen.out:
        chosen.out.write_text(
            json.dumps(
                {
                    "machine": platform.machine(),
                    "python": platform.python_version(),
                    "measures": found,
                },
                indent=1,
            )
        )


main()
