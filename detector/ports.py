"""What the pipeline and the app ask of the world; adapters implement these and import no other adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from detector.alerting.decide import Decided
from detector.alerting.payload import Post
from detector.events import F32, F64, I64, Alert, Columns, Partition, Rejected
from detector.model.runtime import Step
from detector.recovery.snapshot import Head, Page


class Engine(Protocol):
    """One step of the graph for a batch of streams."""

    def step(self, x: F32, clock: F32, state: F32) -> Step: ...


class Assignments(Protocol):
    """Told by a source which partitions come and go; called on a thread of the source's own, which must not be held up for long."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """They are ours and give no records until ``Source.start`` is called for each."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """They will be another's after this returns: write what is owned; the answer is the offset to commit for each that was written."""
        ...

    def lost(self, partitions: Sequence[Partition]) -> None:
        """They already are another's: drop them without writing."""
        ...


class Source(Protocol):
    """Where records come from."""

    def poll(self, max_records: int, timeout: float) -> Sequence[Columns]:
        """At most ``max_records`` decoded records, waiting at most ``timeout`` seconds. Raises Transient."""
        ...

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """The offset of the first record that is still there, and the offset after the last one. Raises Transient."""
        ...

    def first_offset(self, partition: Partition) -> int:
        """Where to read a partition from that was never checkpointed. Raises Transient."""
        ...

    def start(self, partition: Partition, offset: int) -> None:
        """Let an assigned partition give records, from ``offset`` on."""
        ...

    def seek(self, partition: Partition, offset: int) -> None: ...

    def commit(self, offsets: Mapping[Partition, int], wait: float = 0.0) -> None:
        """Tell the group how far the durable state reaches, and wait so many seconds for its answer. Raises Transient."""
        ...

    def refused(self) -> Mapping[Partition, int]:
        """The offsets that the group did not take, since this was last asked: of commits that raised, and of those whose answer came later."""
        ...

    def lag(self, partition: Partition, offset: int) -> int | None:
        """Records between ``offset`` and the end of the partition, or None where it is not known."""
        ...

    def close(self, timeout: float) -> None: ...


class Store(Protocol):
    """Where pages survive. Used from one thread. All methods raise StoreError."""

    def load(self, partition: Partition) -> tuple[Head | None, Sequence[Page]]: ...

    def page(self, partition: Partition, number: int) -> Page | None:
        """One page as it was last written; None where there is none that is whole."""
        ...

    def write(self, head: Head, pages: Iterable[Page]) -> None:
        """Make the pages durable, in their order, and only then the head that vouches for them."""
        ...

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        """Make a segment durable beside the pages; its name is written once and never again."""
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


class Shelf(Protocol):
    """Where the outbox puts notifications that are too many for memory; the futures raise StoreError."""

    def put(self, partition: Partition, name: str, alerts: Sequence[Alert]) -> Future[None]: ...

    def get(self, partition: Partition, name: str) -> Future[tuple[Alert, ...]]: ...

    def drop(self, partition: Partition, name: str) -> Future[None]: ...


class DeadLetters(Protocol):
    """Where what can't be used is kept for a person to look at."""

    def record(self, rejected: Rejected) -> None: ...

    def notification(self, alert: Alert, cause: str) -> None: ...

    def close(self) -> None: ...


class Receiver(Protocol):
    """Delivers one post, or raises Transient or Permanent."""

    def deliver(self, post: Post) -> None: ...


class ScoreSink(Protocol):
    """Sees every scored wave: values float32 [B, F], what the graph said of them, and what was decided. How ``replay`` writes its rows."""

    def wave(self, partition: Partition, offsets: I64, x: F32, step: Step, decided: Decided) -> None: ...


__all__ = [
    "F64",
    "Assignments",
    "DeadLetters",
    "Engine",
    "Receiver",
    "ScoreSink",
    "Shelf",
    "Source",
    "Store",
]
