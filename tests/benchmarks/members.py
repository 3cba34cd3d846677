"""Processes over a filled topic: two members of a group against one, and a checkpoint
every 2 s, several in a run, against none.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from kafka import KafkaProducer

from deploy.harness.broker import Broker
from detector.model.bundle import load_bundle
from tests.benchmarks.rounds import Row
from tests.integration.stage import DaemonProcess, eventually

BUNDLE = Path(__file__).parents[2] / "deploy" / "demo" / "bundle"
STREAMS = 100_000
POINTS = 8
PARTITIONS = 4


def members(rounds: int) -> list[Row]:
    """Records a second of the demo's bundle over 100,000 streams, the broker's own load
    on the same cores: medians, taken in turn.
    """
    runs = {
        "one": (1, "3600"),
        "one, a checkpoint every 2 s": (1, "2"),
        "two": (2, "10"),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with TemporaryDirectory() as folder, Broker() as broker:
        broker.create_topic("members", PARTITIONS)
        _fill(broker)
        for turn, (name, (count, interval)) in itertools.product(
            range(rounds), runs.items()
        ):
            rates[name].append(
                _drained(
                    broker,
                    Path(folder) / f"{turn}-{uuid.uuid4().hex[:6]}",
                    count,
                    interval,
                )
            )
    medians = {name: statistics.median(found) for name, found in rates.items()}
    bars = {"one": 0.0, "one, a checkpoint every 2 s": 0.9, "two": 1.5}
    return [
        {
            "members": n,
            "records/s": r,
            "ratio to one": r / medians["one"],
            "bar": bars[n],
        }
        for n, r in medians.items()
    ]


def _fill(broker: Broker) -> None:
    """Point after point of every stream, as agents send them."""
    features = load_bundle(BUNDLE).feature_names
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap, linger_ms=20, batch_size=1 << 18
    )
    rng = np.random.default_rng(0)
    values = [
        dict(zip(features, row, strict=True))
        for row in rng.normal(size=(1000, len(features))).round(3).tolist()
    ]
    for point in range(POINTS):
        for stream in range(STREAMS):
            record = {
                "timestamp": 1_700_000_000 + 60 * point,
                **values[(stream + point) % 1000],
            }
            producer.send(
                "members",
                json.dumps(record).encode(),
                key=b"host-%d" % stream,
                partition=stream % PARTITIONS,
            )
    producer.flush()
    producer.close()


def _drained(broker: Broker, folder: Path, count: int, interval: str) -> float:
    folder.mkdir()
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": "members",
        "KAFKA__GROUP_ID": folder.name,
        "MODEL__BUNDLE": str(BUNDLE),
        "RECOVERY__INTERVAL": interval,
        # the quiet case: what is measured is the path of every point
        "ALERTING__FALSE_ALARMS_PER_WEEK": "0.0001",
    }
    with ExitStack() as stack:
        daemons = []
        for number in range(count):
            store = {"RECOVERY__STORE": f"local:{folder / str(number)}"}
            daemons.append(
                stack.enter_context(
                    DaemonProcess(settings | store, folder / f"{number}.log")
                )
            )
            daemons[-1].start()
        eventually(
            lambda: min(d.metric("detector_scored_total") for d in daemons) > 0,
            "all of them score",
            60,
        )
        return _rate(daemons, STREAMS * POINTS)


def _rate(daemons: Sequence[DaemonProcess], total: int) -> float:
    """From now until nine tenths are scored: towards the end one member may have
    nothing left to do.
    """

    def scored() -> float:
        return sum(d.metric("detector_scored_total") for d in daemons)

    began = time.perf_counter()
    first = scored()
    eventually(lambda: scored() >= 0.9 * total, "nine tenths scored", 300)
    return (scored() - first) / (time.perf_counter() - began)
