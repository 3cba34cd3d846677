"""One history for these tests: streams with faults, as records for Kafka, as a CSV
file, and as what replay says of it.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from detector.cli.main import main
from tests.integration.stage import Notice, Record, notice

TICK: Final = 60.0
START: Final = 1_700_000_000.0


class Row(NamedTuple):
    """One point; a None is a missing cell."""

    at: float
    stream: str
    cpu: float | None
    mem: float | None

    @property
    def usable(self) -> bool:
        return self.cpu is not None or self.mem is not None


@cache
def history(streams: int = 40, ticks: int = 300, seed: int = 7) -> tuple[Row, ...]:
    """In order of time: noise around 0 with level shifts of up to 15, most long enough
    to fire, some still there at the end.
    """
    rng = random.Random(seed)
    names = [f"host-{i}" for i in range(streams)]
    shift = {name: [0.0] * ticks for name in names}
    for name in names:
        for _ in range(rng.randrange(4)):
            begin = rng.randrange(5, ticks)
            size = rng.choice([-1, 1]) * rng.uniform(3, 15)
            for tick in range(begin, min(ticks, begin + rng.randrange(1, 60))):
                shift[name][tick] += size

    def cell(name: str, tick: int) -> float | None:
        return (
            None
            if rng.random() < 0.03
            else round(shift[name][tick] + rng.gauss(0, 0.3), 3)
        )

    return tuple(
        Row(START + TICK * t, n, cell(n, t), cell(n, t))
        for t in range(ticks)
        for n in names
    )


def records(rows: Sequence[Row]) -> list[Record]:
    """Keyed by stream; every second stream is named by its key alone, and a missing
    cell is a null or absent.
    """
    found = []
    for row in rows:
        fields: dict[str, object] = {
            "timestamp": row.at,
            "cpu": row.cpu,
            "mem": row.mem,
        }
        if int(row.stream.rpartition("-")[2]) % 2:
            fields = {"stream": row.stream} | {
                name: value for name, value in fields.items() if value is not None
            }
        found.append(Record(row.stream.encode(), json.dumps(fields).encode()))
    return found


def replayed(rows: Sequence[Row], bundle: Path, folder: Path) -> list[Notice]:
    """What ``detector replay --alerts`` raises for them, in its order."""
    data = folder / "history.csv"
    alerts = folder / "alerts.ndjson"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "stream", "cpu", "mem"])
        writer.writerows(
            [r.at, r.stream, *("" if x is None else x for x in (r.cpu, r.mem))]
            for r in rows
        )
    scores = folder / "scores.csv"
    assert (
        main(
            [
                "replay",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--scores",
                str(scores),
                "--alerts",
                str(alerts),
            ]
        )
        == 0
    )
    return [notice(json.loads(line)) for line in alerts.read_text().splitlines()]
