"""Reads what a bundle goes on from: its own edition, or what it takes over.

Theory of operation. The edition that was written last says where the partition is. If
it is another bundle's, or of a version before, the bundle goes on from it and writes an
edition of its own. Pages of idle streams are moved there at once, without a place in
memory; all others are written with the next checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from detector.clock import Clock, SystemClock
from detector.errors import StoreError
from detector.events import Partition
from detector.recovery.editions import Edition, edition_name, last_written, named
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored, Stamp, to_page, to_rows
from detector.recovery.store import Store
from detector.recovery.store_thread import StoreWorker
from detector.recovery.takeover import Takeover
from detector.state.page_rows import PageRows
from detector.timestamps import DAY

#: Seconds that editions of other bundles and versions are kept. By judgement: a new
#: bundle shows within a week whether it is any better.
KEEP: Final = 7 * DAY
# In stamps of pages that are moved: what they hold follows from what they are made of.
_MOVER = 0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReadingBundle:
    """The bundle that reads.

    Attributes:
        digest: of the bundle.
        width: its state size.
        takeover: what it takes over from another bundle.
    """

    digest: str
    width: int
    takeover: Takeover

    @property
    def edition(self) -> str:
        """The name of what it writes."""
        return edition_name(self.digest)


class StateReader:
    """Reads the states of one bundle from the store.

    Editions of others are removed ``keep`` seconds after they were written last.
    """

    def __init__(
        self,
        worker: StoreWorker,
        bundle: ReadingBundle,
        keep: float = KEEP,
        clock: Clock | None = None,
    ) -> None:
        self._worker = worker
        self._bundle = bundle
        self._keep = keep
        self._clock = clock or SystemClock()
        self._log = structlog.get_logger("store")

    def another(self, bundle: ReadingBundle) -> StateReader:
        """Reads the same store for another bundle."""
        return StateReader(self._worker, bundle, self._keep, self._clock)

    def load(self, partition: Partition) -> Future[Restored]:
        """A partition as it is stored. The future raises StoreError or ConfigError."""

        def job(store: Store) -> Restored:
            editions = store.editions(partition)
            last = last_written(editions)
            restored = Restored((), (), None)
            if last is not None:
                restored = self._restored(store, partition, editions, last)
                self._remove_old(store, partition, editions, last)
            segments = tuple(store.names(partition))
            return replace(restored, segments=segments)

        return self._worker.submit(job)

    def page(
        self, partition: Partition, number: int, timeout: float | None = None
    ) -> PageRows | None:
        """Wait for one page, at most ``timeout`` seconds; None if none is there and
        whole.

        Raises StoreError.
        """

        def job(store: Store) -> PageRows | None:
            page = store.page(partition, self._bundle.edition, number)
            return None if page is None else to_rows(page)

        return _awaited(self._worker.submit(job), timeout)

    def move(
        self, partition: Partition, rows: PageRows, timeout: float | None = None
    ) -> Stamp:
        """Write a page of idle streams for this bundle, and wait until it is there, at
        most ``timeout`` seconds.

        Gives its stamp. Raises StoreError.
        """
        page = to_page(self._bundle.digest, partition, rows, _MOVER, ())

        def job(store: Store) -> None:
            store.write_pages(partition, [page])

        _awaited(self._worker.submit(job), timeout)
        return page.stamp

    def _restored(
        self,
        store: Store,
        partition: Partition,
        editions: Sequence[Edition],
        last: Edition,
    ) -> Restored:
        bundle = self._bundle
        own = named(editions, bundle.edition)
        is_own = own is last
        left = None
        if own is not None and own.head is not None and not is_own:
            left = restore(bundle.digest, own.head, own.read(), bundle.width)
        found = restore(
            bundle.digest,
            last.head,
            last.read(),
            bundle.width,
            bundle.takeover,
            left,
        )
        found = replace(found, written=last.written)
        if is_own:
            return found
        self._log.info(
            "states_moved",
            partition=str(partition),
            before=last.name or "unnamed",
            now=bundle.edition,
            note="what was there before is kept",
        )
        return self._moved(store, partition, found)

    def _moved(self, store: Store, partition: Partition, found: Restored) -> Restored:
        """Write the pages of idle streams, which are not to be read into memory.

        Those that have a stamp are there.
        """
        in_use = {number for number, _ in (*found.alerts, *found.open)}
        numbers = found.cold - in_use
        there = {n: stamp for n, stamp in found.stamps.items() if n in numbers}
        missing = numbers - there.keys()
        idle = [rows for rows in found.pages if rows.number in missing]
        digest = self._bundle.digest
        pages = (to_page(digest, partition, rows, _MOVER, ()) for rows in idle)
        store.write_pages(partition, pages)
        moved = {rows.number: Stamp(rows.offset, _MOVER) for rows in idle}
        return replace(found, cold=numbers, stamps={**there, **moved})

    def _remove_old(
        self,
        store: Store,
        partition: Partition,
        editions: Sequence[Edition],
        last: Edition,
    ) -> None:
        oldest = self._clock.wall() - self._keep
        for edition in editions:
            is_in_use = edition is last or edition.name == self._bundle.edition
            if is_in_use or not 0 < edition.written < oldest:
                continue
            try:
                store.remove(partition, edition.name)
            except StoreError as error:
                self._log.warning("old_states_not_removed", cause=str(error))
                return
            self._log.info(
                "old_states_removed",
                partition=str(partition),
                edition=edition.name or "unnamed",
                note="DETECTOR_RECOVERY__KEEP says for how long they are kept",
            )


def _awaited(result: Future[_T], timeout: float | None) -> _T:
    """Raises StoreError if it takes longer than ``timeout`` seconds."""
    try:
        return result.result(timeout)
    except NotInTime:
        raise StoreError(
            "the store hangs: a page of idle streams takes too long"
        ) from None
