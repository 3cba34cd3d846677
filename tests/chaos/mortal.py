"""``python -m tests.chaos.mortal``: the daemon, with a store that kills it.

``CHAOS_DIE`` is ``step:count``. The process ends by SIGKILL at that step of the
count-th checkpoint that writes anything.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from detector import log
from detector.app import Daemon
from detector.cli.run import run_until_signalled
from detector.clock import SystemClock
from detector.compose import make_store
from detector.events import Partition
from detector.recovery.editions import Edition
from detector.recovery.snapshot import Head, Page
from detector.recovery.store import Store
from detector.recovery.store_local import LocalStore
from detector.settings import load as config

#: Before any page; after some pages; after all pages and before the head; after the
#: head and before the commit; in the middle of a file.
STEPS = ("before", "among", "headless", "uncommitted", "torn")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class TearingStore(LocalStore):
    """Dies with half a file on the disk once ``tear`` is set."""

    tear = False

    def _replace(self, folder: Path, name: str, data: bytes) -> None:
        if self.tear:
            (folder / f".{name}.tmp").write_bytes(data[: len(data) // 2])
            die()
        super()._replace(folder, name, data)


class MortalStore:
    """Passes everything on to ``store``, and dies as asked. Implements Store."""

    def __init__(self, store: Store, step: str, count: int) -> None:
        self._store = store
        self._step = step
        self._count = count

    def editions(self, partition: Partition) -> Sequence[Edition]:
        return self._store.editions(partition)

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        return self._store.page(partition, edition, number)

    def remove(self, partition: Partition, edition: str) -> None:
        self._store.remove(partition, edition)

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        self._store.put(partition, name, data)

    def names(self, partition: Partition) -> Sequence[str]:
        return self._store.names(partition)

    def get(self, partition: Partition, name: str) -> bytes | None:
        return self._store.get(partition, name)

    def drop(self, partition: Partition, name: str) -> None:
        self._store.drop(partition, name)

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        self._count -= 1
        if self._count != 0:
            self._store.write_pages(partition, pages)
            return
        if isinstance(self._store, TearingStore):
            self._store.tear = self._step == "torn"
        self._store.write_pages(partition, self._fatal(pages))
        if self._step == "headless":
            die()

    def write_head(self, head: Head) -> None:
        self._store.write_head(head)
        if self._count == 0:
            die()

    def close(self) -> None:
        self._store.close()

    def _fatal(self, pages: Iterable[Page]) -> Iterator[Page]:
        for number, page in enumerate(pages):
            if self._step == "before" or (self._step == "among" and number == 1):
                die()
            yield page


def main() -> int:
    settings = config.load()
    log.configure(settings.log.format, settings.log.level)
    step, _, count = os.environ["CHAOS_DIE"].partition(":")
    directory = settings.recovery.directory
    store = (
        TearingStore(directory) if directory else make_store(settings, SystemClock())
    )
    return run_until_signalled(
        Daemon(settings, store=MortalStore(store, step, int(count)))
    )


if __name__ == "__main__":
    sys.exit(main())
