"""Pages in a local directory: a temporary file, fsync, rename, and fsync of the
directory; the head last.

The directory is one daemon's: a lock file keeps a second one out, since two members of
a group never own the same partition but would both think themselves the keeper of what
they last wrote.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import structlog

from detector.errors import ConfigError, StoreError
from detector.events import Partition
from detector.recovery.codec import DamagedPage, Stored, decode, encode
from detector.recovery.snapshot import Head, Page

_HEAD = "head.swp"
_PAGE = re.compile(r"page-(\d{6})\.swp")
_SEGMENT = re.compile(r"segment-(.+)\.swp")


class LocalStore:
    """Implements Store. Raises ConfigError where the directory can't be used at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = structlog.get_logger("store")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("w")
        except OSError as error:
            raise ConfigError(
                f"state can't be kept in {directory} ({error.strerror}): make it writable or name another"
            ) from None
        _lock(self._lock, directory)

    def load(self, partition: Partition) -> tuple[Head | None, Sequence[Page]]:
        """What is there and whole; a damaged file is set aside, named in the log, and
        costs a longer replay.
        """
        folder = self._folder(partition)
        try:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            head = self._read(folder / _HEAD, Head) if folder / _HEAD in files else None
            pages = [
                self._read(path, Page) for path in files if _PAGE.fullmatch(path.name)
            ]
        except OSError as error:
            raise StoreError(f"{folder} can't be read ({error.strerror})") from error
        return head, [p for p in pages if p is not None]

    def page(self, partition: Partition, number: int) -> Page | None:
        path = self._folder(partition) / f"page-{number:06d}.swp"
        try:
            return self._read(path, Page) if path.exists() else None
        except OSError as error:
            raise StoreError(f"{path} can't be read ({error.strerror})") from error

    def write(self, head: Head, pages: Iterable[Page]) -> None:
        folder = self._folder(head.partition)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for page in pages:
                self._replace(folder, f"page-{page.number:06d}.swp", encode(page))
            _sync_directory(folder)
            self._replace(folder, _HEAD, encode(head))
            _sync_directory(folder)
        except OSError as error:
            raise StoreError(f"{folder} can't be written ({error.strerror})") from error

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        folder = self._folder(partition)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._replace(folder, f"segment-{name}.swp", data)
            _sync_directory(folder)
        except OSError as error:
            raise StoreError(f"{folder} can't be written ({error.strerror})") from error

    def names(self, partition: Partition) -> Sequence[str]:
        found = (
            _SEGMENT.fullmatch(path.name)
            for path in self._folder(partition).glob("segment-*.swp")
        )
        return sorted(match[1] for match in found if match is not None)

    def get(self, partition: Partition, name: str) -> bytes | None:
        try:
            return (self._folder(partition) / f"segment-{name}.swp").read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"{error.filename} can't be read ({error.strerror})"
            ) from error

    def drop(self, partition: Partition, name: str) -> None:
        try:
            (self._folder(partition) / f"segment-{name}.swp").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{error.filename} can't be removed ({error.strerror})"
            ) from error

    def close(self) -> None:
        self._lock.close()

    def _folder(self, partition: Partition) -> Path:
        return self._directory / "partitions" / partition.topic / str(partition.number)

    def _read(self, path: Path, kind: type[Stored]) -> Stored | None:
        try:
            return decode(path.read_bytes(), kind)
        except DamagedPage as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            self._log.error("page_set_aside", file=str(aside), cause=str(error))
            return None

    def _replace(self, folder: Path, name: str, data: bytes) -> None:
        temporary = folder / f".{name}.tmp"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)


def examine(directory: Path) -> None:
    """What ``check`` asks: whether a store could be kept there. Nothing is made,
    neither the directory nor its lock. Raises ConfigError.
    """
    path = directory.absolute()
    there = next(p for p in (path, *path.parents) if os.access(p, os.F_OK))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(
            f"state can't be kept in {directory} ({there} is no directory to write in): make it writable or name another"
        )
    try:
        lock = (directory / "lock").open("r+")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"state can't be kept in {directory} ({error.strerror}): make it writable or name another"
        ) from None
    with lock:
        _lock(lock, directory)


def _lock(file: TextIO, directory: Path) -> None:
    """Until the file is closed, which it is where another daemon holds it: ConfigError
    then.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(
            f"another daemon keeps its state in {directory}: give each its own DETECTOR_RECOVERY__STORE"
        ) from None


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
