"""How long nothing is seen while a daemon restarts, with default settings: after kill
-9, ten of them in a row, and SIGTERM, on both stores.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from kafka import KafkaProducer

from deploy.harness.broker import Broker
from detector.metrics import RecoveryPhase
from tests.benchmarks.rounds import Row
from tests.integration.stage import DaemonProcess, eventually

STREAMS: Final = 1000
PARTITIONS: Final = 4
POINTS: Final = 20  # of each stream, before the first restart
IN_A_ROW: Final = 10  # kills
MINUTE: Final = 60.0
DEADLINE: Final = 120.0  # seconds for one restart
#: Seconds: the median and the worst.
BARS: Final = {"kill -9": (5.0, 8.0), "ten kills": (5.0, 8.0), "SIGTERM": (3.0, 3.0)}

Seconds = dict[str, float]  # by phase, and the total


class Producer:
    """Agents that report once a minute, on a topic of its own."""

    def __init__(self, broker: Broker, partitions: int) -> None:
        self.topic = f"metrics-{uuid.uuid4().hex[:6]}"
        self.partitions = partitions
        broker.create_topic(self.topic, partitions)
        self._producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap, linger_ms=20, batch_size=1 << 18
        )

    def history(self) -> int:
        """The last minutes of every stream; how many records they are."""
        now = time.time()
        for point in range(POINTS, 0, -1):
            for stream in range(STREAMS):
                self._send(stream, now - point * MINUTE)
        self._producer.flush()
        return POINTS * STREAMS

    def one_each(self) -> None:
        """A record on each partition."""
        for stream in range(self.partitions):
            self._send(stream, time.time())
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()

    def _send(self, stream: int, at: float) -> None:
        self._producer.send(
            self.topic,
            json.dumps({"timestamp": at, "value": float(stream % 7)}).encode(),
            key=b"host-%d" % stream,
            partition=stream % self.partitions,
        )


def restarts(rounds: int) -> list[Row]:
    """Seconds from the start of the new process until all records are scored (after
    SIGTERM: from the signal on), and what its phases took: medians, and the worst.
    """
    rows: list[Row] = []
    with TemporaryDirectory() as folder, Broker() as broker:
        for store in ("local", "kafka"):
            producer = Producer(broker, PARTITIONS)
            place = Path(folder) / store
            daemon = DaemonProcess(
                settings(broker, producer, store, place), place / "log"
            )
            place.mkdir()
            with daemon:
                daemon.start()
                daemon.await_value("detector_scored_total", producer.history(), 120)
                for how, once in _WAYS.items():
                    found = [once(daemon, producer) for _ in range(rounds)]
                    rows.append(_row(store, how, found))
            producer.close()
    return rows


def settings(
    broker: Broker, producer: Producer, store: str, place: Path
) -> dict[str, str]:
    """What has no default; a place of its own for what the daemon keeps."""
    states = f"local:{place}" if store == "local" else f"kafka:{producer.topic}-state"
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": producer.topic,
        "KAFKA__GROUP_ID": producer.topic,
        "RECOVERY__STORE": states,
        "RECOVERY__DEAD_LETTERS": str(place),
    }


def _killed(daemon: DaemonProcess, producer: Producer) -> Seconds:
    daemon.kill()
    return _started(daemon, producer, time.perf_counter())


def _killed_in_a_row(daemon: DaemonProcess, producer: Producer) -> Seconds:
    """Each kill but the last comes as soon as the process answers."""
    for _ in range(IN_A_ROW - 1):
        daemon.kill()
        daemon.start()
        eventually(lambda: daemon.get("/-/healthy")[0], "an answer", DEADLINE)
    return _killed(daemon, producer)


def _terminated(daemon: DaemonProcess, producer: Producer) -> Seconds:
    began = time.perf_counter()
    daemon.stop()
    return _started(daemon, producer, began)


_WAYS: Final[dict[str, Callable[[DaemonProcess, Producer], Seconds]]] = {
    "kill -9": _killed,
    "ten kills": _killed_in_a_row,
    "SIGTERM": _terminated,
}


def _started(daemon: DaemonProcess, producer: Producer, began: float) -> Seconds:
    producer.one_each()

    def scored_all() -> bool:
        scored = daemon.metric("detector_scored_total")
        return scored >= PARTITIONS and daemon.metric("detector_lag_records") == 0

    daemon.start()
    eventually(scored_all, "all records scored", DEADLINE)
    total = time.perf_counter() - began
    phases = {
        phase.value: daemon.value("detector_recovery_seconds", phase=phase.value)
        for phase in RecoveryPhase
    }
    # imports, the bundle, and what the stop took
    process = total - sum(phases.values())
    return {"total": total, "process": process, **phases}


def _row(store: str, how: str, found: Sequence[Seconds]) -> Row:
    medians = {
        name: statistics.median(seconds[name] for seconds in found) for name in found[0]
    }
    median, worst = BARS[how]
    return {
        "store": store,
        "restart after": how,
        "times": len(found),
        "median": medians.pop("total"),
        "bar": median,
        "worst": max(seconds["total"] for seconds in found),
        "bar of the worst": worst,
        **medians,
    }
