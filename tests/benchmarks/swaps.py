"""How long nothing is scored while another bundle comes in force under load."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import urllib3
from kafka import KafkaProducer

from deploy.harness.broker import Broker
from detector.web.control import Asked, Done
from tests.benchmarks.rounds import Row
from tests.fakes import write_bundle
from tests.integration.stage import DaemonProcess

TOPIC: Final = "swaps"
STREAMS: Final = 5000
PARTITIONS: Final = 4
TOKEN: Final = "the token of a benchmark"
BEGIN: Final = 1_700_000_000
_PAUSE: Final = 0.5  # seconds between two points of a stream


class Load:
    """Produces a point of every stream every half second, until its block ends."""

    def __init__(self, broker: Broker) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap, linger_ms=20, batch_size=1 << 18
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.records = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()
        self._producer.close()

    def _run(self) -> None:
        tick = 0
        while not self._ending.wait(_PAUSE):
            for stream in range(STREAMS):
                self._send(stream, tick)
            self._producer.flush()
            tick += 1
            self.records = tick * STREAMS

    def _send(self, stream: int, tick: int) -> None:
        record = {"timestamp": BEGIN + 60 * tick, "cpu": 0.0, "mem": 0.0}
        self._producer.send(
            TOPIC,
            json.dumps(record).encode(),
            key=b"host-%d" % stream,
            partition=stream % PARTITIONS,
        )


def swaps(rounds: int) -> list[Row]:
    """Seconds without a scored record while 5,000 streams go over, and what was lost
    or scored twice.
    """
    found: dict[str, list[float]] = {"promote": [], "rollback": []}
    with TemporaryDirectory() as name, Broker() as broker:
        folder = Path(name)
        broker.create_topic(TOPIC, PARTITIONS)
        newer = write_bundle(folder / "newer", warm_up=4)
        with DaemonProcess(_settings(broker, folder), folder / "log") as daemon:
            daemon.start()
            with Load(broker) as load:
                daemon.await_value("detector_streams", STREAMS, 300)
                for _ in range(rounds):
                    _ask(daemon, "shadow", Asked(bundle=str(newer)))
                    promoted = _ask(daemon, "promote", Asked(anyway=True))
                    found["promote"].append(promoted.seconds)
                    found["rollback"].append(_ask(daemon, "rollback").seconds)
                    _ask(daemon, "shadow", Asked())
            # if some are lost, the table says so
            with contextlib.suppress(AssertionError):
                daemon.await_value("detector_scored_total", load.records, 300)
            lost = load.records - daemon.value("detector_scored_total")
            twice = daemon.value("detector_rejected_total")
    return [_row(how, seconds, lost, twice) for how, seconds in found.items()]


def _settings(broker: Broker, folder: Path) -> dict[str, str]:
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": TOPIC,
        "KAFKA__GROUP_ID": TOPIC,
        "MODEL__BUNDLE": str(write_bundle(folder / "older")),
        "RECOVERY__STORE": f"local:{folder / 'state'}",
        "WEB__TOKEN": TOKEN,
    }


def _ask(daemon: DaemonProcess, command: str, asked: Asked | None = None) -> Done:
    scored = daemon.value("detector_scored_total")
    answer = urllib3.request(
        "POST",
        f"{daemon.url}/api/v1/{command}",
        body=msgspec.json.encode(asked or Asked()),
        headers={"Authorization": f"Bearer {TOKEN}"},
        retries=False,
        timeout=120.0,
    )
    assert answer.status == 200, answer.data
    # points of every stream are scored under the new bundle before the next command
    daemon.await_value("detector_scored_total", scored + STREAMS, 120)
    return msgspec.json.decode(answer.data, type=Done)


def _row(how: str, seconds: Sequence[float], lost: float, twice: float) -> Row:
    return {
        "swap": how,
        "times": len(seconds),
        "median": statistics.median(seconds),
        "worst": max(seconds),
        "records lost": lost,
        "scored twice": twice,
        "bar of both": 0,
    }
