"""One run of the demo: what it is made of, and tick after tick at a steady pace."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.demo.generator import START, TICK_S, Fault, Metrics
from deploy.demo.judge import Verdict, judge
from deploy.demo.producer import Producer
from deploy.demo.view import Progress, View
from deploy.harness.broker import Broker
from deploy.harness.daemon import Daemon
from deploy.harness.receiver import Receiver
from detector.timestamps import HOUR

TOPIC: Final = "metrics"
PARTITIONS: Final = 4
UPDATE_S: Final = 0.25  # between two updates of the view
DRAIN_S: Final = 20.0  # for the daemon to read and to deliver everything
# A slow machine may take this much longer than planned, and then stops short.
OVERTIME: Final = 1.25
# A fault that an early end cut shorter than this is not counted as injected.
MIN_SHOWN_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line can change."""

    streams: int
    hours: float
    seconds: float
    faults: int
    budget: float
    seed: int
    bundle: Path
    picture: Path | None = None

    @property
    def ticks(self) -> int:
        return round(self.hours * HOUR / TICK_S)


@dataclass(slots=True)
class Run:
    """The parts of a run, and what it has done so far.

    Attributes:
        began: monotonic time of the first record, in seconds.
        now: event time of the last record.
        producing_s: wall time that producing took; 0 until it is over.
        scored: points, at the end.
        scoring_s: wall time until the daemon had read everything.
        produced: monotonic time of each fault's first record.
    """

    options: Options
    faults: list[Fault]
    broker: Broker
    daemon: Daemon
    receiver: Receiver
    began: float = 0.0
    now: float = START
    records: int = 0
    producing_s: float = 0.0
    scored: float = 0.0
    scoring_s: float = 0.0
    produced: dict[Fault, float] = field(default_factory=dict)

    @property
    def hours_left(self) -> float:
        """Event time that was not produced, because the machine is too slow."""
        last = START + (self.options.ticks - 1) * TICK_S
        return max(0.0, last - self.now) / HOUR

    def progress(self) -> Progress:
        return Progress(
            begin=START,
            now=self.now,
            end=START + self.options.ticks * TICK_S,
            streams=self.options.streams,
            records=self.records,
            seconds=self.producing_s or time.monotonic() - self.began,
            faults=[fault for fault in self.faults if fault in self.produced],
            incidents=self.receiver.incidents(),
        )

    def verdict(self) -> Verdict:
        shown = [
            fault
            for fault in self.faults
            if fault in self.produced and fault.start + MIN_SHOWN_S <= self.now
        ]
        return judge(
            shown,
            self.receiver.incidents(),
            streams=self.options.streams,
            seconds=self.now - START,
        )


def produce(run: Run, view: View) -> None:
    """Produce all ticks, wait until they are scored and delivered, and show it."""
    options = run.options
    metrics = Metrics(options.streams, seed=options.seed, faults=run.faults)
    view.open()
    try:
        bootstrap = run.broker.bootstrap
        with Producer(bootstrap, TOPIC, PARTITIONS, metrics.streams) as producer:
            run.began = time.monotonic()
            _produce_ticks(run, metrics, producer, view)
            producer.flush()
        run.producing_s = time.monotonic() - run.began
        _drain(run)
        view.update(run.progress())
    finally:
        view.close()


def _produce_ticks(run: Run, metrics: Metrics, producer: Producer, view: View) -> None:
    options = run.options
    pace = options.seconds / max(options.ticks, 1)
    updated = run.began
    for tick in range(options.ticks):
        _tick(run, metrics, producer)
        if time.monotonic() - updated >= UPDATE_S:
            updated = time.monotonic()
            run.broker.check_alive()
            run.daemon.check_alive()
            view.update(run.progress())
        if time.monotonic() - run.began > options.seconds * OVERTIME:
            return
        due = run.began + (tick + 1) * pace
        time.sleep(max(0.0, due - time.monotonic()))


def _tick(run: Run, metrics: Metrics, producer: Producer) -> None:
    run.now, values = metrics.tick()
    producer.send(run.now, values)
    run.records += len(values)
    sent = time.monotonic()
    for fault in run.faults:
        if fault.start <= run.now:
            run.produced.setdefault(fault, sent)


def _drain(run: Run) -> None:
    """Wait until the daemon has read every record and delivered every alert."""
    deadline = time.monotonic() + DRAIN_S
    daemon = run.daemon
    while daemon.metric("detector_records_total") < run.records:
        daemon.check_alive()
        if time.monotonic() > deadline:
            break
        time.sleep(UPDATE_S)
    run.scoring_s = time.monotonic() - run.began
    run.scored = daemon.metric("detector_scored_total")
    while _undelivered(daemon) and time.monotonic() < deadline:
        time.sleep(UPDATE_S)


def _undelivered(daemon: Daemon) -> bool:
    delivered = daemon.metric("detector_notifications_total")
    return delivered < daemon.metric("detector_alerts_total")
