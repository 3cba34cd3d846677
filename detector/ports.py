"""The interfaces that name events alone. Adapters implement them and import no other
adapter; other interfaces are beside the code that uses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from detector.events import Alert, Partition, RawBatch


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group keeps of a partition.

    Attributes:
        offset: records before it are applied.
        note: what has to outlive the store.
    """

    offset: int
    note: str = ""


class Assignments(Protocol):
    """Learns from a source which partitions come and go.

    The source calls it on a thread of its own, which must not be held up for long.
    """

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """They are ours, and give no records until ``Source.start`` is called."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, Committed]:
        """Write them: they are another member's once this returns.

        Returns what to commit for each that was written.
        """
        ...

    def lost(self, partitions: Sequence[Partition]) -> None:
        """They are another member's already: drop them without writing."""
        ...


class Source(Protocol):
    """Where records come from, as they are: whoever reads them decodes them."""

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        """At most ``max_records`` records of started partitions, one batch for each.

        Waits at most ``timeout`` seconds. A batch without a record says that a
        partition was read on over what is no record, as the end of a transaction.
        Raises Transient.
        """
        ...

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """The offset of the first record in the log, and the one after the last.

        Raises Transient.
        """
        ...

    def first_offset(self, partition: Partition) -> int:
        """Where to begin a partition without a checkpoint. Raises Transient."""
        ...

    def committed(self, partition: Partition) -> Committed | None:
        """What the group committed last; None if nothing. Raises Transient."""
        ...

    def start(self, partition: Partition, offset: int) -> None:
        """Let an assigned partition give records, from ``offset`` on."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from ``offset``; nothing if the partition is not ours any more."""
        ...

    def hold(
        self, partition: Partition, offset: int, cause: str, seconds: float
    ) -> None:
        """Read a partition again from ``offset``, once these seconds are over.

        Until then it gives no records, and :meth:`fault` names it and the cause.
        """
        ...

    def commit(self, offsets: Mapping[Partition, Committed], wait: float = 0.0) -> None:
        """Tell the group how far the durable state reaches.

        Waits ``wait`` seconds for its answer; 0 does not wait. Raises Transient.
        """
        ...

    def refused(self) -> Mapping[Partition, int]:
        """The offsets that the group refused since the last call. Does not wait.

        They are of commits that raised, and of those whose answer came later.
        """
        ...

    def lag(self, partition: Partition, offset: int) -> int | None:
        """Records from ``offset`` to the end of the partition; None if not known."""
        ...

    def fault(self) -> str:
        """Which partitions can't be read at present and why; "" if all can be."""
        ...

    def close(self, timeout: float) -> None: ...


class SpillStore(Protocol):
    """Where the outbox puts notifications that exceed memory.

    The futures raise StoreError.
    """

    def put(
        self, partition: Partition, name: str, alerts: Sequence[Alert]
    ) -> Future[None]: ...

    def get(self, partition: Partition, name: str) -> Future[tuple[Alert, ...]]: ...

    def drop(self, partition: Partition, name: str) -> Future[None]: ...


class DeadLetters(Protocol):
    """Keeps notifications that a receiver refused for good, for a person to read."""

    @property
    def file(self) -> str:
        """Where it keeps them."""

    def notification(self, alert: Alert, cause: str, receiver: str) -> None: ...

    def summary(self, alerts: Sequence[Alert], cause: str, receiver: str) -> None:
        """One notification that sums up a backlog, of which these are the parts."""
        ...
