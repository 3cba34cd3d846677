"""What a checkpoint writes and a restart reads: pages, heads and segments.

A *page* holds up to 256 streams of one partition. Its *stamp* names the offset up to
which the partition's records are applied to them, and the writer. A *head* is written
after the pages of a checkpoint. It holds the offset of the whole partition and the
stamp of each page at that moment. A *segment* holds notifications that exceed memory.

:mod:`detector.recovery.codec` turns them into bytes;
:mod:`detector.recovery.restore` puts a partition together from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from detector.errors import ResetCause
from detector.events import Alert, OpenIncident, Partition, PendingNotification
from detector.recovery.note import NOBODY_WAITS, Told
from detector.state.counters import COUNTER, CounterRows, no_counters
from detector.state.decisions import DECISION
from detector.state.held_points import StreamPast
from detector.state.page_rows import NO_LABELS, PageRows

#: Number of the stored form. Raise it when the form changes, and keep a reader of the
#: one before, as :mod:`detector.recovery.schema_9` is.
SCHEMA = 10


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Identifies one version of a page.

    Attributes:
        offset: records before this offset are applied to the page.
        writer: number of the process that wrote it.
    """

    offset: int
    writer: int


class Page(msgspec.Struct, frozen=True):
    """One page as it is stored: n streams of a bundle with state size S.

    Attributes:
        width: S.
        states: float32 [n, S], little-endian.
        decisions: DECISION [n].
        times: float64 [n], epoch seconds.
        alerts: notifications of these streams that are still to be delivered.
        open: their open incidents that receivers hear of again.
        labels: of the n streams; empty if none of them has any.
        counters: COUNTER [n, F], of their metrics; empty if none is kept.
        pasts: of the streams that hold a point or remember a jump, by their place.
    """

    schema: int
    bundle: str
    partition: Partition
    number: int
    stamp: Stamp
    names: tuple[str, ...]
    width: int
    states: bytes
    decisions: bytes
    times: bytes
    alerts: tuple[PendingNotification, ...]
    open: tuple[OpenIncident, ...]
    labels: tuple[Mapping[str, str], ...] = ()
    counters: bytes = b""
    pasts: dict[int, StreamPast] = {}


class Head(msgspec.Struct, frozen=True):
    """How far a partition is applied.

    Attributes:
        offset: records before this offset are applied.
        stamps: page number -> the stamp of the page at that moment.
        cold: numbers of the pages whose rows are in the store alone.
        features: the bundle's; empty in heads of schemas before 10.
        written: when, in epoch seconds. It rises from head to head of a partition,
            whatever the clock does; 0 in heads of versions without editions.
    """

    schema: int
    bundle: str
    partition: Partition
    offset: int
    stamps: dict[int, Stamp]
    cold: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    written: float = 0.0


class Segment(msgspec.Struct, frozen=True):
    """Notifications that exceed memory and pages, in their order."""

    schema: int
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class PageCopy:
    """One page's rows, its undelivered notifications and its open incidents."""

    rows: PageRows
    alerts: tuple[PendingNotification, ...] = ()
    open: tuple[OpenIncident, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointData:
    """Copies that one partition's checkpoint writes while the loop goes on.

    Attributes:
        changed: pages whose rows or notifications changed.
        idle: pages of idle streams, which leave memory once they are durable.
        told: the incidents that are open.
    """

    head: Head
    changed: tuple[PageCopy, ...]
    idle: tuple[PageRows, ...] = ()
    told: Told = NOBODY_WAITS

    def pages(self) -> Iterator[Page]:
        """Encodes one page at a time, so memory never holds all of them twice.

        Pages of idle streams come first.
        """
        for rows in self.idle:
            yield self._page(PageCopy(rows))
        for copy in self.changed:
            yield self._page(copy)

    def _page(self, copy: PageCopy) -> Page:
        return to_page(
            self.head.bundle,
            self.head.partition,
            copy.rows,
            self.head.stamps[copy.rows.number].writer,
            copy.alerts,
            copy.open,
        )


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a bundle computes on, silently, before it goes on with a partition.

    Attributes:
        pages: its rows of the partition's streams, in order of number, each applied to
            its own offset. Streams without a row start anew.
        offset: where to read from; None: as far back as the settings say.
        is_whole: its rows replace those that were restored, which are older; else they
            give what belongs to the network.
    """

    pages: tuple[PageRows, ...] = ()
    offset: int | None = None
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What a partition starts from.

    Attributes:
        pages: in order of number.
        alerts: undelivered notifications, each with the number of its page.
        offset: where to read from; None: the store holds no checkpoint.
        stamps: page number -> the stamp of the page in the store. Heads name this stamp
            until the page is written again.
        cold: numbers of the pages whose rows may stay in the store.
        open: open incidents, each with the number of its page.
        segments: names of the partition's segments.
        resets: what of the stored state can't be used, counted as
            :class:`ResetCause` says.
        ended: incidents that end with this start; ``alerts`` has them too.
        written: when the head was written, as it says.
        warm_up: what is to be computed first; None: nothing, or it is done.
    """

    pages: tuple[PageRows, ...]
    alerts: tuple[tuple[int, PendingNotification], ...]
    offset: int | None
    stamps: Mapping[int, Stamp] = field(default_factory=dict)
    cold: frozenset[int] = frozenset()
    open: tuple[tuple[int, OpenIncident], ...] = ()
    segments: tuple[str, ...] = ()
    resets: Mapping[ResetCause, int] = field(default_factory=dict)
    ended: tuple[Alert, ...] = ()
    written: float = 0.0
    warm_up: WarmUp | None = None


def to_page(
    bundle: str,
    partition: Partition,
    rows: PageRows,
    writer: int,
    alerts: Sequence[PendingNotification],
    opened: Sequence[OpenIncident] = (),
) -> Page:
    return Page(
        schema=SCHEMA,
        bundle=bundle,
        partition=partition,
        number=rows.number,
        stamp=Stamp(rows.offset, writer),
        names=rows.names,
        width=rows.states.shape[1],
        states=rows.states.tobytes(),
        decisions=rows.decisions.tobytes(),
        times=rows.times.tobytes(),
        alerts=tuple(alerts),
        open=tuple(opened),
        labels=rows.labels if any(rows.labels) else (),
        counters=rows.counters.tobytes(),
        pasts=dict(rows.pasts),
    )


def to_rows(page: Page) -> PageRows:
    """Its rows; the arrays are views of its bytes and can't be written to."""
    count = len(page.names)
    states = np.frombuffer(page.states, np.float32)
    return PageRows(
        number=page.number,
        offset=page.stamp.offset,
        names=page.names,
        states=states.reshape(count, page.width),
        decisions=np.frombuffer(page.decisions, DECISION),
        times=np.frombuffer(page.times, np.float64),
        labels=page.labels or (NO_LABELS,) * count,
        counters=_counters(page.counters, count),
        pasts=page.pasts,
    )


def _counters(stored: bytes, count: int) -> CounterRows:
    if not stored:
        return no_counters(count)
    return np.frombuffer(stored, COUNTER).reshape(count, -1)
