"""``python -m tests.benchmarks``: a table, and a JSON file."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.decode import decode
from tests.benchmarks.drain import drain
from tests.benchmarks.engine import engine
from tests.benchmarks.front import front
from tests.benchmarks.members import members
from tests.benchmarks.memory import memory
from tests.benchmarks.receivers import receivers
from tests.benchmarks.recovery import recovery
from tests.benchmarks.restarts import restarts
from tests.benchmarks.rounds import Row
from tests.benchmarks.swaps import swaps
from tests.benchmarks.takeovers import takeovers
from tests.benchmarks.window import window

Measure = Callable[[int], list[Row]]  # given the number of rounds
ALL: tuple[Measure, ...] = (
    engine,
    front,
    window,
    memory,
    decode,
    drain,
    recovery,
    restarts,
    takeovers,
    swaps,
    members,
    receivers,
)
MEASURES = {measure.__name__: measure for measure in ALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", choices=MEASURES, action="append")
    parser.add_argument("--rounds", type=int, default=5, help="of each measure")
    chosen = parser.parse_args()
    console = Console(width=120)
    found = dict[str, list[Row]]()
    for name in chosen.only or MEASURES:
        found[name] = MEASURES[name](chosen.rounds)
        console.print(_table(name, found[name]))
    if chosen.out:
        _write(chosen.out, found)


def _table(name: str, rows: list[Row]) -> Table:
    about = " ".join((MEASURES[name].__doc__ or "").split())
    table = Table(*rows[0], title=f"{name}: {about}", title_justify="left")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _write(path: Path, found: dict[str, list[Row]]) -> None:
    report = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "measures": found,
    }
    path.write_text(json.dumps(report, indent=1))


main()
