"""Line protocol on a real topic, scored by the built-in bundle."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import START, TICK
from tests.integration.stage import (
    Record,
    WebhookReceiver,
    dead_letters,
    eventually,
    produce,
)

WARM_UP: Final = 120
TICKS: Final = 320
FAULT: Final = range(WARM_UP + 30, WARM_UP + 45)


def records() -> list[Record]:
    """Two lines a record, as an agent batches them; the idle time of one core drops."""
    rng = random.Random(5)
    found = []
    for tick in range(TICKS):
        nanoseconds = int(START + TICK * tick) * 1_000_000_000
        idle = 90 + rng.gauss(0, 1) - (60 if tick in FAULT else 0)
        free = 4_000_000_000 + rng.randrange(10_000_000)
        lines = (
            f"cpu,host=web-1,core=0 idle={idle:.3f},busy={100 - idle:.3f} {nanoseconds}",
            f'mem,host=web-1 free={free}i,swapping=false,state="ok" {nanoseconds}',
        )
        found.append(Record(b"agent", "\n".join(lines).encode()))
    return found


def test_lines_are_scored_as_streams_of_their_host_measurement_and_field(
    broker: Broker, topic: str, receiver: WebhookReceiver, start: Start, tmp_path: Path
) -> None:
    receiver.start()
    daemon = start(
        MODEL__BUNDLE="", KAFKA__FORMAT="influx", ALERTING__FALSE_ALARMS_PER_WEEK="3"
    )
    produce(broker, topic, [*records(), Record(b"agent", b"cpu idle=?")])
    daemon.await_value("detector_records_total", TICKS + 1)
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")
    assert daemon.value("detector_scored_total") == 3 * TICKS
    assert daemon.value("detector_streams") == 3
    assert daemon.value("detector_unknown_fields_total") == 2 * TICKS
    assert daemon.value("detector_rejected_total", reason="malformed") == 1
    assert [d["offset"] for d in dead_letters(tmp_path / "a")] == [TICKS]
    resolved = ("web-1/cpu{core=0}/idle", "resolved")
    eventually(
        lambda: resolved in {(n.stream, n.status) for n in receiver.notices()},
        "the incident of the core is resolved",
    )
