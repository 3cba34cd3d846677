"""The measures. Each alternates the things it compares and takes the median of several
rounds: the machine is shared.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
import torch
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker
from detector.clock import SystemClock
from detector.consumer.build import LoopSettings, build_loop
from detector.consumer.checkpoints import CheckpointSchedule
from detector.events import F32, RecordBatch
from detector.ingest.decoder import Decoder, feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.ingest.rows import FeatureValues
from detector.ingest.sources.kafka_python import KafkaSource
from detector.ingest.sources.kafka_records import raw_batch
from detector.kafka.settings import KafkaSettings
from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from detector.recovery.store_local import LocalStore
from detector.recovery.store_thread import StoreWorker
from tests.benchmarks.houses import SIZES, Size, bundle, network, pipeline, poll
from training.fitting.export import graph
from training.models.multivariate import AutoencoderNetwork
from training.models.shapes import BOOKS
from training.models.surprise import Front
from training.models.univariate import UnivariateStep, first_row

STREAMS = 1024
BATCH = 1024
WINDOW = 60
PARTITIONS = 4
Row = dict[str, float | str]


def json_decoder(features: Sequence[str]) -> Decoder[FeatureValues]:
    return feature_decoder(FORMATS["json"], features)


def alternated(rounds: int, *runs: Callable[[], float]) -> list[float]:
    """Median rate of each of ``runs``, which are taken in turn so that what disturbs
    one disturbs all.
    """
    rates: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for found, run in zip(rates, runs, strict=True):
            found.append(run())
    return [statistics.median(r) for r in rates]


def _rate(points: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return points / (time.perf_counter() - start)


def engine(rounds: int) -> list[Row]:
    """The whole path after decoding (lookup, waves, gather, step, decide, scatter)
    against bare ``session.run`` on the same batches.
    """
    rows: list[Row] = []
    for size in SIZES:
        made = bundle(size)
        polls = [poll(size, STREAMS, t) for t in range(300)]
        runtime = OnnxEngine(made)
        house = pipeline(made)
        states = np.repeat(made.initial[None], STREAMS, axis=0)
        clock = clock_input(np.full(STREAMS, 60.0), np.full(STREAMS, 60.0))
        turns = iter(range(10_000))

        def bare(
            runtime: OnnxEngine = runtime,
            states: F32 = states,
            clock: F32 = clock,
            polls: list[RecordBatch] = polls,
        ) -> float:
            return _rate(
                STREAMS * 40,
                lambda: [
                    runtime.step(polls[t].values, clock, states) for t in range(40)
                ],
            )

        def whole(house=house, turns=turns, polls=polls) -> float:  # type: ignore[no-untyped-def]
            chosen = [polls[next(turns)] for _ in range(40)]
            return _rate(STREAMS * 40, lambda: [house.process([c]) for c in chosen])

        whole()  # streams are opened once
        session, daemon = alternated(min(rounds, 6), bare, whole)
        rows.append(
            {
                "size": size.label,
                "session.run/s": session,
                "engine/s": daemon,
                "ratio": daemon / session,
                "bar": 0.6,
            }
        )
    return rows


def front(rounds: int) -> list[Row]:
    """One metric scored by its own past, microseconds a point on one thread: in full,
    and lean.
    """
    profiles = {"full": BOOKS, "lean": ()}
    rows: list[Row] = []
    for batch in (1024, 2048):
        runs = [_stepped(Front(shapes), batch) for shapes in profiles.values()]
        for profile, rate in zip(profiles, alternated(2 * rounds, *runs), strict=True):
            rows.append(
                {"profile": profile, "batch": str(batch), "µs a point": 1e6 / rate}
            )
    return rows


def _stepped(one: Front, batch: int) -> Callable[[], float]:
    """Twenty steps of a batch of streams, which go on from call to call."""
    torch.manual_seed(0)
    step = UnivariateStep(
        AutoencoderNetwork(
            one.channels, 16, torch.eye(one.channels) / one.channels
        ).eval(),
        1.75,
        1,
        one,
    ).eval()
    manifest = Manifest(
        1,
        "benchmark",
        "1",
        (Feature("value"),),
        60.0,
        step.layout.size,
        120,
        TailFit((50.0,), (1.0,), -1.0, 1.0),
        {},
        {},
    )
    initial = first_row(step)
    runtime = OnnxEngine(
        Bundle(
            Path("benchmark"),
            "",
            manifest,
            graph(step),
            initial,
            {},
            np.zeros((0, step.layout.size), np.float32),
        )
    )
    rng = np.random.default_rng(0)
    clock = clock_input(np.full(batch, 60.0), np.full(batch, 60.0))
    states = np.repeat(initial[None], batch, axis=0)

    def run() -> float:
        nonlocal states
        points = rng.normal(size=(20, batch, 1)).astype(np.float32)

        def steps() -> None:
            nonlocal states
            for x in points:
                states = runtime.step(x, clock, states).next_state

        return _rate(20 * batch, steps)

    return run


def window(rounds: int) -> list[Row]:
    """One incremental step for each of a batch of streams against the same network over
    the last 60 points, recomputed for each.
    """
    rows: list[Row] = []
    torch.set_num_threads(1)
    for size in SIZES:
        made = bundle(size)
        runtime = OnnxEngine(made)
        net = network(size)
        x = poll(size, BATCH, 0).values
        states = np.repeat(made.initial[None], BATCH, axis=0)
        clock = clock_input(np.full(BATCH, 60.0), np.full(BATCH, 60.0))
        history = torch.zeros(BATCH, WINDOW, size.features)

        def recomputed(
            net: torch.nn.Module = net, history: torch.Tensor = history
        ) -> float:
            with torch.no_grad():
                return _rate(BATCH, lambda: net(history))

        def stepped(
            runtime: OnnxEngine = runtime,
            x: np.ndarray = x,
            clock: np.ndarray = clock,
            states: np.ndarray = states,
        ) -> float:
            return _rate(
                BATCH * 20, lambda: [runtime.step(x, clock, states) for _ in range(20)]
            )

        step, recompute = alternated(rounds, stepped, recomputed)
        rows.append(
            {
                "size": size.label,
                "step/s": step,
                "window/s": recompute,
                "ratio": step / recompute,
                "bar": 50,
            }
        )
    return rows


def memory(rounds: int) -> list[Row]:
    """Resident bytes a stream at 100,000 streams, names, index and decision state
    included, in a process of its own.
    """
    del rounds
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.measures"],
        check=True,
        capture_output=True,
        text=True,
    )
    used = json.loads(done.stdout)
    return [{"size": SIZES[0].label, "bytes a stream": used, "bar": 2048}]


def _resident_bytes(streams: int = 100_000) -> float:
    size = SIZES[0]
    house = pipeline(bundle(size))
    house.process([poll(size, 1000, 0)])
    before = _resident()
    for tick in range(1, 4):
        house.process([poll(size, streams, tick)])
    return (_resident() - before) / (streams - 1000)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def drain(rounds: int) -> list[Row]:
    """The daemon's own loop over a filled topic against a bare poll loop, and against
    poll and decode.
    """
    rows: list[Row] = []
    with TemporaryDirectory() as folder, Broker() as broker:
        for size in SIZES:
            count = 200_000 if size.features < 38 else 60_000
            topic = f"metrics-{size.features}"
            broker.create_topic(topic, PARTITIONS)
            _fill(broker.bootstrap, topic, size, count)
            made = bundle(size)
            tries = iter(range(1000))

            def bare(topic: str = topic, count: int = count) -> float:
                return _bare(broker.bootstrap, topic, count, None)

            def decoded(
                topic: str = topic, count: int = count, size: Size = size
            ) -> float:
                return _bare(
                    broker.bootstrap,
                    topic,
                    count,
                    json_decoder([f"f{j}" for j in range(size.features)]),
                )

            def daemon(
                topic: str = topic,
                count: int = count,
                made: Bundle = made,
                tries: Iterator[int] = tries,
            ) -> float:
                return _daemon(
                    broker.bootstrap,
                    topic,
                    count,
                    made,
                    Path(folder) / f"{topic}-{next(tries)}",
                )

            polled, parsed, drained = alternated(rounds, bare, decoded, daemon)
            bar = {1: 0.7, 8: 0.6}.get(size.features, 0.0)
            rows.append(
                {
                    "size": size.label,
                    "poll/s": polled,
                    "poll+decode/s": parsed,
                    "daemon/s": drained,
                    "ratio": drained / polled,
                    "of decode": drained / parsed,
                    "bar": bar,
                }
            )
    return rows


def _fill(bootstrap: str, topic: str, size: Size, count: int) -> None:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=1 << 18
    )
    rng = np.random.default_rng(0)
    for i in range(count):
        stream = i % STREAMS
        tick = i // STREAMS
        fields = {
            "timestamp": 1_700_000_000 + 60 * tick,
            **{
                f"f{j}": round(float(v), 4)
                for j, v in enumerate(rng.normal(size=size.features))
            },
        }
        producer.send(
            topic,
            json.dumps(fields).encode(),
            key=f"host-{stream}".encode(),
            partition=stream % PARTITIONS,
        )
    producer.flush()
    producer.close()


def _bare(
    bootstrap: str, topic: str, count: int, decoder: Decoder[FeatureValues] | None
) -> float:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    consumer.seek_to_beginning()
    seen = 0
    start = 0.0
    while seen < count:
        polled = consumer.poll(timeout_ms=1000, max_records=8192)
        start = start or time.perf_counter()  # the first fetch pays for the connection
        for tp, records in polled.items():
            seen += len(records)
            if decoder is not None:
                decoder.decode(raw_batch(tp, records))
    rate = seen / (time.perf_counter() - start)
    consumer.close()
    return rate


def _daemon(bootstrap: str, topic: str, count: int, made, folder: Path) -> float:  # type: ignore[no-untyped-def]
    house = pipeline(made, partitions=0)
    keeper = StoreWorker(LocalStore(folder))
    loop = build_loop(
        made,
        house,
        json_decoder(made.feature_names).decode,
        keeper,
        house._metrics,
        SystemClock(),
        LoopSettings(8192, CheckpointSchedule(10.0)),
    )
    settings = KafkaSettings(
        bootstrap_servers=(bootstrap,), topics=(topic,), group_id=folder.name
    )
    source = KafkaSource(settings, loop.partitions)
    stop = Event()
    start = 0.0

    def scored() -> float:
        return house._metrics.registry.get_sample_value("detector_scored_total") or 0.0

    while scored() < count:
        loop.turn(source, stop)
        if not start and scored():
            start = time.perf_counter()
            first = scored()
    rate = (count - first) / (time.perf_counter() - start)
    source.close(timeout=5)
    keeper.close(timeout=30)
    return rate


if __name__ == "__main__":
    print(_resident_bytes())
