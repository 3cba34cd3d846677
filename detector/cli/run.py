"""``run``: the daemon, until a signal stops it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from detector import log
from detector.app import Daemon
from detector.cli.options import config_option
from detector.settings.load import load

_SIGNAL_CHECK = 0.1  # seconds between looks at what signals have come


@click.command()
@config_option
def run(config: Path | None) -> int:
    """Run the daemon: read metrics from Kafka, score every point, send alerts.

    SIGTERM and SIGINT stop it in order: it delivers what it can, writes a last
    checkpoint and leaves the group. A second signal ends it at once. SIGHUP reads the
    settings and the bundle again; what is wrong with them leaves all as it is.

    \b
    Examples:
      DETECTOR_KAFKA__TOPICS=metrics streamwarden run
      streamwarden run --config streamwarden.toml
    """
    settings = load(config)
    log.configure(settings.log.format, settings.log.level)
    return run_until_signalled(Daemon(settings, load=lambda: load(config)))


def run_until_signalled(daemon: Daemon) -> int:
    """Run a daemon until SIGTERM or SIGINT stops it; a second signal ends it at once.

    SIGHUP reloads it.

    The daemon has a thread of its own and signals have this one: a handler that took a
    lock could find it held by the code that it interrupted.

    Returns the exit status. Raises what ended the daemon.
    """
    received: list[int] = []
    reloads: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: received.append(number))
    signal.signal(signal.SIGHUP, lambda number, frame: reloads.append(number))
    errors: list[BaseException] = []

    def run_daemon() -> None:
        try:
            daemon.run()
        except BaseException as error:  # noqa: BLE001 - raised where the command ends
            errors.append(error)

    thread = threading.Thread(target=run_daemon, name="loop", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_SIGNAL_CHECK)
        if reloads:
            reloads.clear()
            daemon.reload()
        if received:
            daemon.stop()
        if len(received) > 1:
            return 128 + received[1]  # a restart reads again what is not checkpointed
    if errors:
        raise errors[0]
    return 0
