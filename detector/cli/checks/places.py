"""Where the daemon writes and listens: what ``check`` finds out about both."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from detector.clock import SystemClock
from detector.compose import make_store
from detector.errors import ConfigError
from detector.recovery.store_local import examine
from detector.settings.load import Settings
from detector.web.server import bind

_PROBE_BYTES = 4096  # a block: a full disk refuses it


def store_faults(settings: Settings) -> Iterator[str]:
    """Faults of the store and of the directory of dead letters; neither is created.

    The topic of a store in Kafka is examined with the broker.
    """
    recovery = settings.recovery
    try:
        if recovery.directory is None:
            make_store(settings, SystemClock()).close()
        else:
            examine(recovery.directory)
    except ConfigError as error:
        yield str(error)
        return
    if recovery.directory is not None:
        yield from _write_faults(recovery.directory, "DETECTOR_RECOVERY__STORE")
    dead_letters = recovery.dead_letter_directory
    if dead_letters != recovery.directory:
        yield from _write_faults(dead_letters, "DETECTOR_RECOVERY__DEAD_LETTERS")


def listen_faults(address: tuple[str, int]) -> Iterator[str]:
    """Faults of the address that the web server binds."""
    try:
        bind(address).close()
    except ConfigError as error:
        yield str(error)


def _write_faults(directory: Path, setting: str) -> Iterator[str]:
    """Whether a file can be written where the directory is, or would be created.

    Permissions alone don't say it: a disk may be full, and /proc takes no files.
    """
    path = directory.absolute()
    existing = next(p for p in (path, *path.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield (
            f"{setting}: {directory} can't be written ({error.strerror}):"
            " make it writable or name another"
        )
