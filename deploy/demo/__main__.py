"""``make demo``: the whole of streamwarden on one machine, in about a minute and a
half.

A real Kafka, a real daemon process configured as a user would, a webhook receiver, and
a few hundred streams at a large multiple of real time. Faults are announced on one
side; what the daemon says appears on the other. It ends by itself with a summary, and
with 0 when faults were found and alerts were resolved.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from deploy.demo.generator import START, TICK_S, Fault, Metrics, plan
from deploy.demo.judge import Verdict, judge
from deploy.demo.producer import Producer
from deploy.demo.view import Progress, View, span, view_for
from deploy.harness.broker import Broker, BrokerError
from deploy.harness.daemon import Daemon, DaemonError
from deploy.harness.receiver import Receiver

BUNDLE: Final = Path(__file__).parent / "bundle"
TOPIC: Final = "metrics"
PARTITIONS: Final = 4
UPDATE_S: Final = 0.25
DRAIN_S: Final = 20.0
# a slow machine gets this much longer than planned, and then stops short
OVERTIME: Final = 1.25
# a fault cut shorter than this by an early end doesn't count as injected
MIN_SHOWN_S: Final = 1800.0
# of the run: unknown streams warm up before, the last alerts resolve after
FAULTS_FROM = 0.15
FAULTS_UNTIL = 0.78


@dataclass(frozen=True, slots=True)
class Options:
    """What may be changed from the command line."""

    streams: int
    hours: float
    seconds: float
    faults: int
    budget: float
    seed: int
    bundle: Path

    @property
    def ticks(self) -> int:
        return round(self.hours * 3600 / TICK_S)


@dataclass(slots=True)
class Run:
    """One run's parts and what it has done so far."""

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

    def progress(self) -> Progress:
        end = START + self.options.ticks * TICK_S
        seconds = self.producing_s or time.monotonic() - self.began
        shown = [f for f in self.faults if f in self.produced]
        return Progress(
            START,
            self.now,
            end,
            self.options.streams,
            self.records,
            seconds,
            shown,
            self.receiver.incidents(),
        )

    def verdict(self) -> Verdict:
        shown = [
            f
            for f in self.faults
            if f in self.produced and f.start + MIN_SHOWN_S <= self.now
        ]
        return judge(
            shown,
            self.receiver.incidents(),
            streams=self.options.streams,
            seconds=self.now - START,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    # SIGINT too: a shell starts background jobs with it ignored
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    try:
        return _demo(options, console)
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started is stopped.")
        return 130
    except (BrokerError, DaemonError, KafkaError, OSError) as error:
        console.print(f"The demo failed: {error}", markup=False, soft_wrap=True)
        return 1


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo",
        description="streamwarden on one machine, on a real Kafka",
    )
    parser.add_argument(
        "--streams",
        type=int,
        default=300,
        help="streams; training saw the first 300 (%(default)s)",
    )
    parser.add_argument(
        "--hours", type=float, default=48.0, help="event time to produce (%(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=68.0,
        help="wall time to produce it in (%(default)s)",
    )
    parser.add_argument(
        "--faults", type=int, default=20, help="faults to inject (%(default)s)"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=0.2,
        help="false alarms a stream may raise in a week (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=7,
        help="another number: other noise, other faults (%(default)s)",
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        default=BUNDLE,
        help="the detector to run (the demo's own)",
    )
    return Options(**vars(parser.parse_args(arguments)))


def _demo(options: Options, console: Console) -> int:
    with ExitStack() as stack:
        place = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix="streamwarden-demo-", ignore_cleanup_errors=True
                )
            )
        )
        # kafka-python's, off the terminal
        logging.basicConfig(
            filename=place / "demo.log", level=logging.WARNING, force=True
        )
        run = _set_up(options, console, stack, place)
        _produce(run, view_for(console))
        _wind_up(run, console)
    verdict = run.verdict()
    _summarise(run, verdict, console)
    return 0 if verdict.found_count and verdict.resolved else 1


def _set_up(options: Options, console: Console, stack: ExitStack, place: Path) -> Run:
    console.print("Starting Kafka (the first time, its jars are fetched: 43 MB) ...")
    broker = stack.enter_context(Broker(place / "kafka"))
    broker.create_topic(TOPIC, PARTITIONS)
    receiver = stack.enter_context(Receiver())
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__TOPICS": TOPIC,
        "KAFKA__GROUP_ID": "streamwarden-demo",
        "MODEL__BUNDLE": os.path.relpath(options.bundle),
        "ALERTING__WEBHOOK_URL": receiver.url,
        "ALERTING__FALSE_ALARMS_PER_WEEK": f"{options.budget:g}",
        "RECOVERY__STORE": f"local:{place / 'state'}",
    }
    daemon = stack.enter_context(Daemon(settings, place / "daemon.log"))
    console.print(
        f"Kafka listens on {broker.bootstrap}. Starting the daemon as you would:"
    )
    console.print(f"  {daemon.command}", markup=False, soft_wrap=True)
    daemon.start()
    daemon.await_ready()
    console.print(f"The daemon is ready; its page is {daemon.url}/ while this runs.\n")
    span_s = options.ticks * TICK_S
    faults = plan(
        options.streams,
        options.faults,
        begin=START + FAULTS_FROM * span_s,
        end=START + FAULTS_UNTIL * span_s,
        seed=options.seed,
    )
    return Run(options, faults, broker, daemon, receiver)


def _produce(run: Run, view: View) -> None:
    """The run itself: tick after tick at a steady pace, the view beside it."""
    metrics = Metrics(run.options.streams, seed=run.options.seed, faults=run.faults)
    pace = run.options.seconds / max(run.options.ticks, 1)
    view.open()
    try:
        with Producer(
            run.broker.bootstrap, TOPIC, PARTITIONS, metrics.streams
        ) as producer:
            run.began = updated = time.monotonic()
            for tick in range(run.options.ticks):
                _tick(run, metrics, producer)
                if time.monotonic() - updated >= UPDATE_S:
                    updated = time.monotonic()
                    run.broker.check_alive()
                    run.daemon.check_alive()
                    view.update(run.progress())
                if time.monotonic() - run.began > run.options.seconds * OVERTIME:
                    break
                time.sleep(max(0.0, run.began + (tick + 1) * pace - time.monotonic()))
            producer.flush()
        run.producing_s = time.monotonic() - run.began
        _drain(run)
        view.update(run.progress())
    finally:
        view.close()


def _tick(run: Run, metrics: Metrics, producer: Producer) -> None:
    run.now, values = metrics.tick()
    producer.send(run.now, values)
    run.records += len(values)
    sent = time.monotonic()
    for fault in run.faults:
        if fault.start <= run.now:
            run.produced.setdefault(fault, sent)


def _drain(run: Run) -> None:
    """Wait until the daemon has read everything and the receiver has heard everything."""
    deadline = time.monotonic() + DRAIN_S
    while (
        run.daemon.metric("detector_records_total") < run.records
        and time.monotonic() < deadline
    ):
        run.daemon.check_alive()
        time.sleep(UPDATE_S)
    run.scoring_s = time.monotonic() - run.began
    run.scored = run.daemon.metric("detector_scored_total")
    while _undelivered(run) and time.monotonic() < deadline:
        time.sleep(UPDATE_S)


def _undelivered(run: Run) -> bool:
    return run.daemon.metric("detector_notifications_total") < run.daemon.metric(
        "detector_alerts_total"
    )


def _wind_up(run: Run, console: Console) -> None:
    began = time.monotonic()
    run.daemon.stop()
    console.print(
        f"\nSIGTERM: the daemon saved its state, committed and ended with status 0 in {time.monotonic() - began:.1f} s."
    )
    for reason in sorted(set(run.receiver.refused())):
        console.print(f"The receiver refused a notification: {reason}", markup=False)


def _summarise(run: Run, verdict: Verdict, console: Console) -> None:
    event_delay = verdict.event_delay()
    wall_delay = verdict.wall_delay(run.produced)
    table = Table(title="Summary", show_header=False)
    table.add_column("what")
    table.add_column("value")
    table.add_row("Faults injected", str(len(verdict.faults)))
    table.add_row("Faults found", f"{verdict.found_count} ({_by_kind(verdict)})")
    table.add_row(
        "Median time to alert, event time",
        "-" if event_delay is None else span(event_delay),
    )
    table.add_row(
        "Median time to alert, wall time",
        "-" if wall_delay is None else f"{wall_delay:.2f} s",
    )
    per_week = f"{verdict.false_alarms_per_week:.2f} a stream-week, budget {run.options.budget:g}"
    table.add_row(
        "False alarms",
        f"{len(verdict.false_alarms)} in {verdict.stream_weeks:.0f} stream-weeks ({per_week})",
    )
    table.add_row(
        "Incidents, and of these resolved", f"{verdict.incidents}, {verdict.resolved}"
    )
    table.add_row(
        "Records",
        f"{run.records:,} produced at {run.records / max(run.producing_s, 1e-9):,.0f} a second",
    )
    table.add_row(
        "Scored by the daemon",
        f"{run.scored:,.0f} at {run.scored / max(run.scoring_s, 1e-9):,.0f} a second",
    )
    console.print(table)
    for line in _next(verdict):
        console.print(line, markup=False, soft_wrap=True)


def _by_kind(verdict: Verdict) -> str:
    counts: dict[str, list[int]] = {}
    for fault, incident in zip(verdict.faults, verdict.found, strict=True):
        seen = counts.setdefault(fault.kind.value, [0, 0])
        seen[0] += incident is not None
        seen[1] += 1
    return ", ".join(
        f"{kind} {found}/{injected}" for kind, (found, injected) in counts.items()
    )


def _next(verdict: Verdict) -> list[str]:
    if not verdict.found_count:
        return ["\nNo fault was found: that is a failure of the demo."]
    if not verdict.resolved:
        return ["\nNo alert was resolved: that is a failure of the demo."]
    return [
        '\nWhat to try next (README.md, "Your own streams"):',
        f"  {os.path.relpath(sys.executable)} -m deploy.demo --seed 8 --budget 1",
        "      other noise, other faults, a larger false-alarm budget",
        "  make setup && .venv/bin/python -m training fit --data YOUR.csv --out my-bundle",
        "      a detector from your own history",
        "  .venv/bin/python -m detector replay --bundle my-bundle --data NEW.csv --scores scores.csv --alerts alerts.ndjson",
        "      what it would have raised, before it may wake anybody",
        "  .venv/bin/python -m detector check",
        "      your settings, your bundle and the way to your Kafka",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
