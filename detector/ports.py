"""What the pipeline and the app ask of the world; adapters implement these and import
no other adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from detector.events import Alert, Partition, RawBatch


class Assignments(Protocol):
    """Told by a source which partitions come and go; called on a thread of the source's
    own, which must not be held up for long.
    """

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """They are ours, and give no records until ``Source.start`` is called."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """They will be another's after this returns: write what is owned; the answer is
        the offset to commit for each that was written.
        """
        ...

    def lost(self, partitions: Sequence[Partition]) -> None:
        """They already are another's: drop them without writing."""
        ...


class Source(Protocol):
    """Where records come from, as they are: whoever reads them decodes them."""

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        """At most ``max_records`` records of started partitions, one batch for each.

        Waits at most ``timeout`` seconds; without a record there is no batch.
        Raises Transient.
        """
        ...

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """The offset of the first record that is still there, and the offset after the
        last one. Raises Transient.
        """
        ...

    def first_offset(self, partition: Partition) -> int:
        """Where to begin a partition without a checkpoint. Raises Transient."""
        ...

    def committed(self, partition: Partition) -> int | None:
        """The group's offset; None if it has committed none. Raises Transient."""
        ...

    def start(self, partition: Partition, offset: int) -> None:
        """Let an assigned partition give records, from ``offset`` on."""
        ...

    def seek(self, partition: Partition, offset: int) -> None: ...

    def commit(self, offsets: Mapping[Partition, int], wait: float = 0.0) -> None:
        """Tell the group how far the durable state reaches, and wait so many seconds
        for its answer. Raises Transient.
        """
        ...

    def refused(self) -> Mapping[Partition, int]:
        """The offsets that the group did not take, since this was last asked: of
        commits that raised, and of those whose answer came later.
        """
        ...

    def lag(self, partition: Partition, offset: int) -> int | None:
        """Records between ``offset`` and the end of the partition, or None where it is
        not known.
        """
        ...

    def close(self, timeout: float) -> None: ...


class SpillStore(Protocol):
    """Where the outbox puts notifications that are too many for memory; the futures
    raise StoreError.
    """

    def put(
        self, partition: Partition, name: str, alerts: Sequence[Alert]
    ) -> Future[None]: ...

    def get(self, partition: Partition, name: str) -> Future[tuple[Alert, ...]]: ...

    def drop(self, partition: Partition, name: str) -> Future[None]: ...


class DeadLetters(Protocol):
    """Where notifications are kept that no receiver takes, for a person to look at."""

    def notification(self, alert: Alert, cause: str) -> None: ...

    def close(self) -> None: ...
