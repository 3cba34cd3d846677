"""``make demo``: all of streamwarden on one machine, in about a minute and a half.

It starts a real Kafka, a real daemon that is configured as a user would, and a webhook
receiver. A few hundred streams run at a large multiple of real time. One side shows the
faults that are injected, the other side the incidents that the daemon reports.

It ends by itself with a summary: with 0 if faults were found and incidents resolved.
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
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError
from rich.console import Console

from deploy.demo.generator import START, TICK_S, Fault, plan
from deploy.demo.run import PARTITIONS, TOPIC, Options, Run, produce
from deploy.demo.summary import summarise
from deploy.demo.view import save_picture, view_for
from deploy.harness.broker import Broker
from deploy.harness.daemon import Daemon
from deploy.harness.processes import ProcessError
from deploy.harness.receiver import Receiver

BUNDLE: Final = Path(__file__).parent / "bundle"
# Shares of the run between which faults begin: unknown streams warm up before, and the
# last incidents resolve after.
FAULTS_FROM: Final = 0.15
FAULTS_UNTIL: Final = 0.78
PIPE_COLUMNS: Final = 110  # width of the summary if output is not a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    console = Console(width=width, highlight=False)
    # SIGINT too: a shell starts background jobs with it ignored
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    try:
        return _demo(options, console)
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started is stopped.")
        return 130
    except (ProcessError, KafkaError, OSError) as error:
        console.print(f"The demo failed: {error}", markup=False, soft_wrap=True)
        return 1


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo",
        description="streamwarden on one machine, on a real Kafka",
    )
    defaults: list[tuple[str, type, object, str]] = [
        ("streams", int, 300, "streams; training saw the first 300"),
        ("hours", float, 48.0, "event time to produce"),
        ("seconds", float, 68.0, "wall time to produce it in"),
        ("faults", int, 20, "faults to inject"),
        ("budget", float, 0.2, "false alarms that a stream may raise in a week"),
        ("seed", int, 7, "another number gives other noise and other faults"),
    ]
    for name, kind, default, what in defaults:
        text = f"{what} (%(default)s)"
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)
    parser.add_argument(
        "--bundle", type=Path, default=BUNDLE, help="the bundle to run (the demo's own)"
    )
    parser.add_argument(
        "--picture", type=Path, help="SVG file to draw the last view of the run into"
    )
    return Options(**vars(parser.parse_args(arguments)))


def _demo(options: Options, console: Console) -> int:
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(
            prefix="streamwarden-demo-", ignore_cleanup_errors=True
        )
        place = Path(stack.enter_context(scratch))
        # keeps kafka-python's lines off the terminal
        logging.basicConfig(
            filename=place / "demo.log", level=logging.WARNING, force=True
        )
        run = _set_up(options, console, stack, place)
        produce(run, view_for(console))
        _wind_up(run, console)
    verdict = run.verdict()
    summarise(run, verdict, console)
    if options.picture is not None:
        save_picture(run.progress(), options.picture)
    return 0 if verdict.found_count and verdict.resolved else 1


def _set_up(options: Options, console: Console, stack: ExitStack, place: Path) -> Run:
    console.print("Starting Kafka (the first time it fetches its jars: 43 MB) ...")
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
    console.print(f"Kafka listens on {broker.bootstrap}. Starting the daemon:")
    console.print(f"  {daemon.command}", markup=False, soft_wrap=True)
    daemon.start()
    daemon.await_ready()
    console.print(f"The daemon is ready; its page is {daemon.url}/ while this runs.\n")
    return Run(options, _faults(options), broker, daemon, receiver)


def _faults(options: Options) -> list[Fault]:
    event_s = options.ticks * TICK_S
    return plan(
        options.streams,
        options.faults,
        begin=START + FAULTS_FROM * event_s,
        end=START + FAULTS_UNTIL * event_s,
        seed=options.seed,
    )


def _wind_up(run: Run, console: Console) -> None:
    began = time.monotonic()
    run.daemon.stop()
    took = f"{time.monotonic() - began:.1f} s"
    console.print(
        "\nSIGTERM: the daemon saved its state, committed its offsets "
        f"and ended with status 0 in {took}."
    )
    for reason in sorted(set(run.receiver.refused())):
        console.print(f"The receiver refused a notification: {reason}", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
