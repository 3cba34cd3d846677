"""Pages in a local directory.

Each partition has a folder, and each edition a folder in it. The edition without a name
is in the partition's own folder, and so are segments.

A file is written whole or not at all: to a temporary file, then fsync, rename, and
fsync of the directory.

The directory belongs to one daemon, and a lock file keeps a second one out. Two members
of a group never own the same partition, but each would take the other's pages for its
own.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import structlog

from detector.errors import ConfigError, StoreError
from detector.events import Partition
from detector.recovery.codec import DamagedPage, Stored, UnknownSchema, decode, encode
from detector.recovery.editions import UNNAMED, Edition, edition_of, is_readable
from detector.recovery.snapshot import Head, Page

_HEAD = "head.swp"
_PAGE = re.compile(r"page-(\d{6})\.swp")
_DAMAGED = ".damaged"
_SEGMENT = re.compile(r"segment-(.+)\.swp")


class LocalStore:
    """Implements Store. Raises ConfigError if the directory can't be used at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = structlog.get_logger("store")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("w")
        except OSError as error:
            raise _unusable(directory, str(error.strerror)) from None
        _take_lock(self._lock, directory)

    def editions(self, partition: Partition) -> Sequence[Edition]:
        """Those that are there and that this version reads.

        A damaged file, or one of an unknown schema, is set aside and named in the log.
        It costs a longer replay.
        """
        home = self._folder(partition)
        try:
            folders = [path for path in home.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(home, error) from error
        names = [path.name for path in folders if is_readable(path.name)]
        found = [self._edition(partition, name) for name in (UNNAMED, *sorted(names))]
        return [edition for edition in found if edition is not None]

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        path = self._folder(partition, edition) / _page_name(number)
        try:
            return self._read(path, Page) if path.exists() else None
        except OSError as error:
            raise _unreadable(path, error) from error

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        home = self._folder(partition)
        written: set[Path] = set()
        try:
            for page in pages:
                folder = self._folder(partition, edition_of(page))
                folder.mkdir(parents=True, exist_ok=True)
                self._replace(folder, _page_name(page.number), encode(page))
                written.add(folder)
            for folder in written:
                _sync_directory(folder)
                _sync_directory(home)  # the folder may be new
        except OSError as error:
            raise _unwritable(home, error) from error

    def write_head(self, head: Head) -> None:
        folder = self._folder(head.partition, edition_of(head))
        self._write_one(folder, _HEAD, encode(head))

    def remove(self, partition: Partition, edition: str) -> None:
        folder = self._folder(partition, edition)
        try:
            head_file = folder / _HEAD
            head_file.unlink(missing_ok=True)  # first: it vouches for the pages
            head_file.with_suffix(_DAMAGED).unlink(missing_ok=True)
            for path in folder.glob("page-*"):
                path.unlink()
            if edition != UNNAMED and not any(folder.iterdir()):
                folder.rmdir()  # else it has files that were set aside
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{folder} can't be removed ({error.strerror})") from error

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        self._write_one(self._folder(partition), _segment_name(name), data)

    def names(self, partition: Partition) -> Sequence[str]:
        files = self._folder(partition).glob(_segment_name("*"))
        matches = [_SEGMENT.fullmatch(path.name) for path in files]
        return sorted(match[1] for match in matches if match is not None)

    def get(self, partition: Partition, name: str) -> bytes | None:
        path = self._folder(partition) / _segment_name(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def drop(self, partition: Partition, name: str) -> None:
        path = self._folder(partition) / _segment_name(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} can't be removed ({error.strerror})") from error

    def close(self) -> None:
        self._lock.close()

    def _folder(self, partition: Partition, edition: str = UNNAMED) -> Path:
        topic = self._directory / "partitions" / partition.topic
        return topic / str(partition.number) / edition

    def _edition(self, partition: Partition, name: str) -> Edition | None:
        """None if it has neither a head nor a page. Raises StoreError."""
        folder = self._folder(partition, name)
        head_file = folder / _HEAD
        try:
            pages = sorted(path for path in folder.iterdir() if _is_page(path))
            has_head = head_file.exists()
            changed = head_file.stat().st_mtime if has_head else 0.0
            head = self._read(head_file, Head) if has_head else None
            is_damaged = head is None and head_file.with_suffix(_DAMAGED).exists()
            if is_damaged:
                changes = (path.stat().st_mtime for path in pages)
                changed = max(changes, default=0.0)
        except OSError as error:
            raise _unreadable(folder, error) from error
        if head is None and not pages:
            return None
        read = partial(self._pages, folder, pages)
        if head is None:
            written = changed if is_damaged else 0.0
            return Edition(name, None, written, read, is_damaged)
        return Edition(name, head, head.written or changed, read)

    def _pages(self, folder: Path, files: Sequence[Path]) -> Sequence[Page]:
        try:
            there = [path for path in files if path.exists()]  # or set aside since
            pages = [self._read(path, Page) for path in there]
        except OSError as error:
            raise _unreadable(folder, error) from error
        return [page for page in pages if page is not None]

    def _read(self, path: Path, kind: type[Stored]) -> Stored | None:
        data = path.read_bytes()
        try:
            return decode(data, kind)
        except DamagedPage as error:
            is_whole = isinstance(error, UnknownSchema)
            suffix = ".unread" if is_whole else _DAMAGED
            aside = path.with_suffix(suffix)
            path.replace(aside)
            self._log.error("page_set_aside", file=str(aside), cause=str(error))
            return None

    def _write_one(self, folder: Path, name: str, data: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._replace(folder, name, data)
            _sync_directory(folder)
            _sync_directory(folder.parent)  # the folder may be new
        except OSError as error:
            raise _unwritable(folder, error) from error

    def _replace(self, folder: Path, name: str, data: bytes) -> None:
        temporary = folder / f".{name}.tmp"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)


def examine(directory: Path) -> None:
    """Whether a store could be kept there, for ``check``. Raises ConfigError.

    It makes nothing, neither the directory nor its lock.
    """
    path = directory.absolute()
    parents = (path, *path.parents)
    existing = next(parent for parent in parents if os.access(parent, os.F_OK))
    is_writable = os.access(existing, os.W_OK | os.X_OK)
    if not (existing.is_dir() and is_writable):
        raise _unusable(directory, f"{existing} is not a directory to write in")
    try:
        lock = (directory / "lock").open("r+")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(directory, str(error.strerror)) from None
    with lock:
        _take_lock(lock, directory)


def _is_page(path: Path) -> bool:
    return _PAGE.fullmatch(path.name) is not None


def _page_name(number: int) -> str:
    return f"page-{number:06d}.swp"


def _segment_name(name: str) -> str:
    return f"segment-{name}.swp"


def _take_lock(file: TextIO, directory: Path) -> None:
    """Hold the lock until the file is closed.

    If another daemon holds it, closes the file and raises ConfigError.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(
            f"another daemon keeps its state in {directory}: "
            "give each its own DETECTOR_RECOVERY__STORE"
        ) from None


def _unusable(directory: Path, cause: str) -> ConfigError:
    return ConfigError(
        f"state can't be kept in {directory} ({cause}): "
        "make it writable or name another directory in DETECTOR_RECOVERY__STORE"
    )


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{error.filename or path} can't be read ({error.strerror})")


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder} can't be written ({error.strerror})")


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
