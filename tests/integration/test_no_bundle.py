"""The built-in bundle on a topic that nothing was trained on."""

from __future__ import annotations

import json
import random
from typing import Final

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import START, TICK
from tests.integration.stage import Record, WebhookReceiver, eventually, produce

WARM_UP: Final = 120
TICKS: Final = 320
FAULT: Final = range(WARM_UP + 30, WARM_UP + 45)


def records() -> list[Record]:
    """Two hosts with different metrics and units, and text; the cpu of one jumps."""
    rng = random.Random(5)
    found = []
    for t in range(TICKS):
        one = {
            "cpu": 0.3 + rng.gauss(0, 0.02) + (0.5 if t in FAULT else 0.0),
            "memory": 4e9 + rng.gauss(0, 1e7),
            "zone": "east",
        }
        other = {
            "stream": "db-1",
            "queue": rng.randrange(6),
            "latency": 3.0 + rng.gauss(0, 0.2),
            "note": None,
        }
        for key, fields in ((b"host-1", one), (b"db-1", other)):
            found.append(
                Record(
                    key, json.dumps({"timestamp": START + TICK * t, **fields}).encode()
                )
            )
    return found


def test_the_faulty_metric_alerts_and_resolves(
    broker: Broker, topic: str, receiver: WebhookReceiver, start: Start
) -> None:
    receiver.start()
    daemon = start(
        MODEL__BUNDLE="",
        ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL="12",
        ALERTING__FLEET_STREAMS="4",
    )
    produce(broker, topic, records())
    daemon.await_value("detector_scored_total", 4 * TICKS)
    assert daemon.value("detector_records_total") == 2 * TICKS
    assert daemon.value("detector_scored_total") == 4 * TICKS
    assert daemon.value("detector_streams") == 4
    assert daemon.value("detector_false_alarms_per_week") == 3
    allowed = "4 streams: at most about 1.7 false alarms a day at this budget"
    assert allowed in daemon.get("/")[1]
    assert allowed in daemon.get("/api/v1/status")[1]
    assert daemon.value("detector_unknown_fields_total") == TICKS
    assert daemon.value("detector_rejected_total") == 0
    eventually(
        lambda: (
            ("host-1/cpu", "resolved")
            in {(n.stream, n.status) for n in receiver.notices()}
        ),
        "the incident is resolved",
    )
    alert = next(
        p.alert for p in receiver.accepted() if p.notice.stream == "host-1/cpu"
    )
    assert alert["status"] == "firing"
    assert alert["annotations"]["observed"].startswith("cpu=0.")
