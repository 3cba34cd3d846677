"""Where pages survive: the port that the stores implement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from detector.events import Partition
from detector.recovery.editions import Edition, last_written
from detector.recovery.snapshot import Head, Page


class Store(Protocol):
    """Keeps pages, heads and segments. One thread uses it.

    Every method raises StoreError. What a page and a head belong to is their edition
    (:func:`~detector.recovery.editions.edition_of`). Segments belong to the partition.

    :mod:`detector.consumer.checkpoints` calls :meth:`write_pages` before
    :meth:`write_head`: a head vouches for its pages.
    """

    def editions(self, partition: Partition) -> Sequence[Edition]:
        """Those that are there and that this version reads.

        What is damaged is logged, and left out.
        """
        ...

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        """One page as it was last written; None if none is there and whole."""
        ...

    def remove(self, partition: Partition, edition: str) -> None:
        """Remove an edition's head and pages; nothing if it is gone."""
        ...

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        """All of them are durable when this returns."""
        ...

    def write_head(self, head: Head) -> None:
        """It is durable when this returns."""
        ...

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        """Make a segment durable. A name is written once and never again."""
        ...

    def names(self, partition: Partition) -> Sequence[str]:
        """Names of the segments, as of the partition's last load."""
        ...

    def get(self, partition: Partition, name: str) -> bytes | None:
        """A segment's bytes; None if it was dropped."""
        ...

    def drop(self, partition: Partition, name: str) -> None:
        """Remove a segment; nothing if it is gone."""
        ...

    def close(self) -> None: ...


def load_last(store: Store, partition: Partition) -> tuple[Head | None, Sequence[Page]]:
    """Head and pages of the edition that was written last. Raises StoreError."""
    last = last_written(store.editions(partition))
    return (None, []) if last is None else (last.head, last.read())
