"""Pages and heads: what a checkpoint writes, as bytes that vouch for themselves.

Theory of operation. A *page* holds a few hundred streams of one partition and its
*stamp*: the offset up to which the partition's records have been applied to them, and
who wrote it. A *head*, written after the pages of a checkpoint, says how far the whole
partition has been applied and which stamp each page has at that moment. A page that is
not dirty has, by definition, seen nothing between its stamp and the head's offset; so a
page that bears the very stamp that the head names counts as applied up to the head. Any
other page (newer, because the checkpoint was cut off before its head; older, because it
was put back from a backup; another writer's, because a member of the group wrote on
after it had lost the partition) counts as applied up to its own offset: a state follows
from its stream's records alone, so it is right as of that offset whoever computed it.
Reading starts at the lowest of these offsets, and each page skips what it has seen. A
stale page thus costs a longer replay and never a wrong state.

Two writers may have put a new stream into pages of different numbers. Of two rows of
one stream the one with the later event time counts: it has seen more of the stream's
records.

Bytes are ``magic, BLAKE2b-256 of the body, body`` with a msgpack body: plain data,
nothing is executed when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import numpy as np

from detector.events import Alert, OpenIncident, Partition, PendingNotification
from detector.state.decisions import DECISION
from detector.state.page_rows import PageRows

SCHEMA = 7
MAGIC = b"SWP1"
_DIGEST = 32


class DamagedPage(ValueError):
    """The bytes are torn, foreign or of another schema; the text says which."""


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What tells one version of a page from any other: the offset up to which it was
    applied, and the writer's number.
    """

    offset: int
    writer: int


class Page(msgspec.Struct, frozen=True):
    """One page as it is stored; ``states``, ``decisions`` and ``times`` are the rows of
    ``names`` as little-endian bytes.
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


class Head(msgspec.Struct, frozen=True):
    """How far a partition has been applied, the stamp of each of its pages then, and
    which of them are cold.
    """

    schema: int
    bundle: str
    partition: Partition
    offset: int
    stamps: dict[int, Stamp]
    cold: tuple[int, ...] = ()


class Segment(msgspec.Struct, frozen=True):
    """Notifications that are too many for memory and pages, in their order."""

    schema: int
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class CheckpointData:
    """What one partition's checkpoint writes: copies, so that the loop may go on while
    they are encoded and written.

    ``rows`` are its dirty pages, each with the alerts that are still to be delivered;
    ``idle`` are pages of rows that may leave the table after.
    """

    head: Head
    rows: tuple[
        tuple[PageRows, tuple[PendingNotification, ...], tuple[OpenIncident, ...]], ...
    ]
    idle: tuple[PageRows, ...] = ()

    def pages(self) -> Iterator[Page]:
        """One after another: a hundred thousand streams are not held twice more in
        memory.
        """
        for rows, alerts, opened in [
            *((rows, (), ()) for rows in self.idle),
            *self.rows,
        ]:
            yield to_page(
                self.head.bundle,
                self.head.partition,
                rows,
                self.head.stamps[rows.number].writer,
                alerts,
                opened,
            )


@dataclass(frozen=True, slots=True)
class Restored:
    """What a partition starts from: its pages in order of number, the undelivered
    alerts and the open incidents with the number of the page that holds each, the
    offset to read from (None: never checkpointed), the stamp that each page bears in
    the store (heads to come must name that one for as long as the page is not written
    again), the numbers of the pages whose rows may stay there, and the names of the
    segments of its notifications.
    """

    pages: tuple[PageRows, ...]
    alerts: tuple[tuple[int, PendingNotification], ...]
    offset: int | None
    stamps: Mapping[int, Stamp] = field(default_factory=dict)
    cold: frozenset[int] = frozenset()
    open: tuple[tuple[int, OpenIncident], ...] = ()
    segments: tuple[str, ...] = ()


Stored = TypeVar("Stored", Page, Head, Segment)


def encode(stored: Page | Head | Segment) -> bytes:
    body = msgspec.msgpack.encode(stored)
    return MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes, kind: type[Stored]) -> Stored:
    """Raises DamagedPage."""
    digest = data[len(MAGIC) : len(MAGIC) + _DIGEST]
    body = data[len(MAGIC) + _DIGEST :]
    if data[: len(MAGIC)] != MAGIC:
        raise DamagedPage("it does not begin as a page does")
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise DamagedPage("its digest does not match its content")
    try:
        stored = msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise DamagedPage(f"its content can't be read: {error}") from None
    if stored.schema != SCHEMA:
        raise DamagedPage(f"it has schema {stored.schema}, this version reads {SCHEMA}")
    return stored


def to_page(
    bundle: str,
    partition: Partition,
    rows: PageRows,
    writer: int,
    alerts: Sequence[PendingNotification],
    opened: Sequence[OpenIncident] = (),
) -> Page:
    width = rows.states.shape[1]
    states = rows.states.tobytes()
    decisions = rows.decisions.tobytes()
    times = rows.times.tobytes()
    stamp = Stamp(rows.offset, writer)
    return Page(
        SCHEMA,
        bundle,
        partition,
        rows.number,
        stamp,
        rows.names,
        width,
        states,
        decisions,
        times,
        tuple(alerts),
        tuple(opened),
    )


def to_rows(page: Page) -> PageRows:
    count = len(page.names)
    states = np.frombuffer(page.states, np.float32).reshape(count, page.width)
    decisions = np.frombuffer(page.decisions, DECISION)
    return PageRows(
        page.number,
        page.stamp.offset,
        page.names,
        states,
        decisions,
        np.frombuffer(page.times),
    )


def restore(
    bundle: str, head: Head | None, pages: Sequence[Page], width: int
) -> Restored:
    """Put a partition together again; ``width`` is the bundle's state size.

    A page that the head names and that is not there was damaged: its number comes back
    empty, and reading starts at the beginning, so that its streams are learned again
    while every other page skips what it holds. So it does without a head: pages may be
    missing that nobody knows of. Pages of another bundle give their alerts and offset,
    never their states or open incidents.
    """
    if head is None and not pages:
        return Restored((), (), None)
    if head is None:
        head = Head(SCHEMA, pages[0].bundle, pages[0].partition, 0, {})
    alerts = tuple((p.number, a) for p in pages for a in p.alerts)
    if head.bundle != bundle:
        alerts = tuple((0, a) for _, a in alerts)
        return Restored(
            (_empty(0, head.offset, width),) if alerts else (), alerts, head.offset
        )
    found = {p.number: p for p in pages if p.bundle == bundle}
    rows = []
    # a page's number is its place
    for number in range(max([*head.stamps, *found], default=-1) + 1):
        page = found.get(number)
        stamp = head.stamps.get(number)
        if page is None:
            rows.append(_empty(number, head.offset if stamp is None else 0, width))
        elif page.stamp == stamp:
            rows.append(replace(to_rows(page), offset=max(stamp.offset, head.offset)))
        else:
            rows.append(to_rows(page))
    offset = min([head.offset, *(r.offset for r in rows)])
    opened = tuple((p.number, incident) for p in found.values() for incident in p.open)
    return Restored(
        _once_each(rows),
        alerts,
        offset,
        {n: page.stamp for n, page in found.items()},
        frozenset(head.cold),
        opened,
    )


def rebased(restored: Restored, first: int, end: int) -> Restored:
    """Restored for a log that holds the offsets from ``first`` to before ``end``.

    Where records that were never applied are gone, reading starts at ``first`` and the
    states are kept. Where the log ends before what was applied, it is another log under
    the same name: it is read from its start, and all pages are written again at the
    next checkpoint, since their stamps count offsets of the old one.
    """
    if restored.offset is None:
        return restored
    if max([restored.offset, *(r.offset for r in restored.pages)]) > end:
        anew = tuple(replace(rows, offset=first) for rows in restored.pages)
        return replace(restored, pages=anew, offset=first, stamps={}, cold=frozenset())
    pages = tuple(
        replace(rows, offset=max(rows.offset, first)) for rows in restored.pages
    )
    return replace(restored, pages=pages, offset=max(restored.offset, first))


def _once_each(pages: Sequence[PageRows]) -> tuple[PageRows, ...]:
    """The same pages, each stream in one of them only: where its event time is latest,
    and of equals where most was applied.
    """
    names = [name for rows in pages for name in rows.names]
    if len(set(names)) == len(names):
        return tuple(pages)
    best: dict[str, tuple[float, int, int]] = {}
    for rows in pages:
        for name, time in zip(rows.names, rows.times.tolist(), strict=True):
            best[name] = max(
                best.get(name, (-np.inf, -1, -1)), (time, rows.offset, rows.number)
            )
    return tuple(
        _kept(rows, [best[name][2] == rows.number for name in rows.names])
        for rows in pages
    )


def _kept(rows: PageRows, keep: Sequence[bool]) -> PageRows:
    chosen = np.flatnonzero(keep)
    names = tuple(rows.names[i] for i in chosen.tolist())
    return replace(
        rows,
        names=names,
        states=rows.states[chosen],
        decisions=rows.decisions[chosen],
        times=rows.times[chosen],
    )


def _empty(number: int, offset: int, width: int) -> PageRows:
    return PageRows(
        number,
        offset,
        (),
        np.empty((0, width), np.float32),
        np.empty(0, DECISION),
        np.empty(0),
    )
