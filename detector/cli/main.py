"""The commands: run, replay, check. Exit status 2 and one sentence where the operator
must act.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from detector import __version__, log
from detector.app import Daemon
from detector.cli.broken_pipe import exit_on_broken_pipe
from detector.cli.check import faults, remarks
from detector.compose import open_bundle
from detector.errors import ConfigError, DataError, DetectorError
from detector.model.bundle import bundle_path, load_bundle
from detector.replay.replay import ExplainRequest, replay
from detector.settings import load as config
from detector.timestamps import EARLIEST, LATEST, seconds, unit_hint

_SIGNALS = 0.1  # seconds between looks at what signals have come


@exit_on_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.command(chosen))
    except DetectorError as error:
        print(f"streamwarden: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(chosen: argparse.Namespace) -> int:
    settings = config.load(chosen.config)
    log.configure(settings.log.format, settings.log.level)
    return run_until_signalled(Daemon(settings))


def run_until_signalled(daemon: Daemon) -> int:
    """Exit status of a daemon that SIGTERM or SIGINT stops, and a second one ends at
    once. Raises what ended it.

    It runs on a thread of its own, signals on this one: a handler that took a lock
    could find it held by the code that it interrupted.
    """
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: received.append(number))
    errors: list[BaseException] = []

    def run() -> None:
        try:
            daemon.run()
        except BaseException as error:  # noqa: BLE001 - it is raised where the command ends
            errors.append(error)

    thread = threading.Thread(target=run, name="loop", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_SIGNALS)
        if received:
            daemon.stop()
        if len(received) > 1:
            return 128 + received[1]  # what is not checkpointed is read again
    if errors:
        raise errors[0]
    return 0


def _replay(chosen: argparse.Namespace) -> int:
    settings = config.load(chosen.config)
    bundle = load_bundle(chosen.bundle) if chosen.bundle else open_bundle(settings)
    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            print(f"\r{done:,} of {total:,} rows", end="", file=sys.stderr, flush=True)

    question = None if chosen.explain is None else _question(chosen.explain)
    summary = replay(
        bundle,
        chosen.data,
        chosen.scores,
        chosen.alerts,
        settings.alerting,
        progress,
        question,
        settings.model,
    )
    if shown:
        print("\r", end="", file=sys.stderr)
    found = summary.rates
    print(
        f"{summary.rows:,} rows of {summary.streams:,} streams: {summary.scored:,} scored, {summary.rows - summary.scored:,} dropped; "
        f"{summary.fired} incidents, {summary.resolved} resolved"
    )
    if summary.dropped:
        late = "; sort the data by time" if summary.dropped.get("late") else ""
        print(
            f"dropped: {', '.join(f'{count:,} {reason}' for reason, count in summary.dropped.items())}{late}"
        )
    shares = ", ".join(f"{name} {rate:.3g}" for name, rate in found.shares.items())
    if not found.streams:
        print(
            "incidents a stream-week: no stream was watched for a day, so there is no rate yet"
        )
    else:
        print(
            f"incidents a stream-week: {found.mean:.3g} (at most {settings.alerting.false_alarms_per_week:g} false ones asked for); "
            f"over the {found.streams:,} streams watched for a day at least: {shares}"
        )
    if question is not None:
        if not question.answer:
            raise DataError(
                f"--explain: {question.stream} has no point at or before that time in {chosen.data}: name a later one"
            )
        print(question.answer)
    return 0


def _question(text: str) -> ExplainRequest:
    """``STREAM@TIME``, time in ISO 8601 (UTC where it has no offset) or epoch seconds.
    Raises ConfigError.
    """
    stream, _, at = text.rpartition("@")
    try:
        time = seconds(at)
    except ValueError:
        time = math.nan
    if not EARLIEST < time < LATEST:
        raise ConfigError(
            f"--explain {text}: name a stream and a time, as in host-1@2026-03-01T12:00:00Z or host-1@1772366400{unit_hint(time)}"
        )
    return ExplainRequest(stream, time)


def _check(chosen: argparse.Namespace) -> int:
    settings = config.load(chosen.config)
    for name, value in config.names_and_values(settings):
        print(f"{name}={value}")
    found = list(faults(settings))
    for fault in found:
        print(f"streamwarden: {fault}", file=sys.stderr)
    for remark in remarks(settings):
        print(remark)
    if not found:
        print("all is well")
    return 2 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "detector",
        description="Streaming anomaly detection on Kafka: run the daemon, replay history, check.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="run|replay|check")
    run = commands.add_parser("run", help="the daemon")
    run.set_defaults(command=_run)
    again = commands.add_parser(
        "replay", help="the daemon's pipeline over a file: what would have been raised"
    )
    again.set_defaults(command=_replay)
    the_bundle = "directory that `training fit` wrote, or `builtin`, the package's own (default: the one that is set, else `builtin`)"
    again.add_argument("--bundle", type=bundle_path, help=the_bundle)
    again.add_argument(
        "--data", type=Path, required=True, help="CSV or Parquet, a file or a directory"
    )
    again.add_argument(
        "--scores",
        type=Path,
        required=True,
        help="CSV to write, one row for each input row, or for each of its metrics",
    )
    again.add_argument(
        "--explain",
        metavar="STREAM@TIME",
        help="say why this point of this stream did or did not alert",
    )
    again.add_argument("--alerts", type=Path, help="NDJSON to write, one alert a line")
    check = commands.add_parser(
        "check",
        help="validate settings, bundle and connections; print the effective settings",
    )
    check.set_defaults(command=_check)
    for command in (run, again, check):
        command.add_argument(
            "--config", type=Path, help="TOML file; the environment overrides it"
        )
    return parser
