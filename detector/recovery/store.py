"""store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from detector.events import Partition
from detector.recovery.snapshot import Head, Page


class Store(Protocol):
    """Where pages survive. Used from one thread. All methods raise StoreError."""

    def load(self, partition: Partition) -> tuple[Head | None, Sequence[Page]]: ...

    def page(self, partition: Partition, number: int) -> Page | None:
        """One page as it was last written; None where there is none that is whole."""
        ...

    def write(self, head: Head, pages: Iterable[Page]) -> None:
        """Make the pages durable, in their order, and only then the head that vouches
        for them.
        """
        ...

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        """Make a segment durable beside the pages; its name is written once and never
        again.
        """
        ...

    def names(self, partition: Partition) -> Sequence[str]:
        """Of the segments there were when the partition was last loaded."""
        ...

    def get(self, partition: Partition, name: str) -> bytes | None:
        """A segment's bytes; None where it was dropped."""
        ...

    def drop(self, partition: Partition, name: str) -> None:
        """A segment that is wanted no more; nothing if it is gone."""
        ...

    def close(self) -> None: ...
