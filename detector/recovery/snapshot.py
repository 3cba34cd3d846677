"""Pages and heads: what a checkpoint writes, as bytes that vouch for themselves.

Theory of operation. A *page* holds a few hundred streams of one partition and the offset up to which the partition's records have
been applied to them. A *head*, written after the pages of a checkpoint, says how far the whole partition has been applied
and which stamp each page has at that moment. A page that is not dirty has, by definition, seen nothing between its stamp and
the head's offset; so a page whose stamp is the one that the head names counts as applied up to the head, a newer page counts
as applied up to its own stamp (the checkpoint was cut off before its head), and an older page (a zombie's, or one put back from a
backup) counts as applied up to its own stamp too. Reading starts at the lowest of these offsets, and each page skips what it has
seen. A stale page thus costs a longer replay and never a wrong state.

Bytes are ``magic, BLAKE2b-256 of the body, body`` with a msgpack body: plain data, nothing is executed when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import numpy as np

from detector.alerting.decide import DECISION
from detector.events import Alert, Partition
from detector.model.streams import PageRows

SCHEMA = 1
MAGIC = b"SWP1"
_DIGEST = 32


class DamagedPage(ValueError):
    """The bytes are torn, foreign or of another schema; the text says which."""


class Page(msgspec.Struct, frozen=True):
    """One page as it is stored; ``states``, ``decisions`` and ``times`` are the rows of ``names`` as little-endian bytes."""

    schema: int
    bundle: str
    partition: Partition
    number: int
    offset: int
    names: tuple[str, ...]
    width: int
    states: bytes
    decisions: bytes
    times: bytes
    alerts: tuple[Alert, ...]


class Head(msgspec.Struct, frozen=True):
    """How far a partition has been applied, and the stamp of each of its pages then."""

    schema: int
    bundle: str
    partition: Partition
    offset: int
    stamps: dict[int, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a partition starts from: its pages in order of number, the undelivered alerts with the number of the page that
    holds each, the offset to read from (None: never checkpointed), and the stamp that each page bears in the store: heads to come
    must name that one for as long as the page is not written again."""

    pages: tuple[PageRows, ...]
    alerts: tuple[tuple[int, Alert], ...]
    offset: int | None
    stamps: Mapping[int, int] = field(default_factory=dict)


Stored = TypeVar("Stored", Page, Head)


def encode(stored: Page | Head) -> bytes:
    body = msgspec.msgpack.encode(stored)
    return MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes, kind: type[Stored]) -> Stored:
    """Raises DamagedPage."""
    digest, body = data[len(MAGIC) : len(MAGIC) + _DIGEST], data[len(MAGIC) + _DIGEST :]
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


def to_page(bundle: str, partition: Partition, rows: PageRows, alerts: Sequence[Alert]) -> Page:
    width = rows.states.shape[1]
    states, decisions, times = rows.states.tobytes(), rows.decisions.tobytes(), rows.times.tobytes()
    return Page(SCHEMA, bundle, partition, rows.number, rows.offset, rows.names, width, states, decisions, times, tuple(alerts))


def to_rows(page: Page) -> PageRows:
    count = len(page.names)
    states = np.frombuffer(page.states, np.float32).reshape(count, page.width)
    decisions = np.frombuffer(page.decisions, DECISION)
    return PageRows(page.number, page.offset, page.names, states, decisions, np.frombuffer(page.times))


def restore(bundle: str, head: Head | None, pages: Sequence[Page], width: int) -> Restored:
    """Put a partition together again; ``width`` is the bundle's state size.

    A page that the head names and that is not there was damaged: its number comes back empty, and reading starts at the
    beginning, so that its streams are learned again while every other page skips what it holds. Pages of another bundle give
    their alerts and offset, never their states. Pages that the head does not name were cut off before it: what they hold is read again.
    """
    if head is None and not pages:
        return Restored((), (), None)
    if head is None:  # damaged, or never written: pages that were cut off before it may be missing, so all is read again
        head = Head(SCHEMA, pages[0].bundle, pages[0].partition, 0, {p.number: p.offset for p in pages})
    named = [p for p in pages if p.number in head.stamps and p.bundle == head.bundle]
    if head.bundle != bundle:
        alerts = tuple((0, a) for p in named for a in p.alerts)
        return Restored((_empty(0, head.offset, width),) if alerts else (), alerts, head.offset)
    found = {p.number: p for p in named}
    rows = []
    for number in range(max(head.stamps, default=-1) + 1):  # a number without a page keeps its place: a page's number is its place
        page, stamp = found.get(number), head.stamps.get(number, 0)
        if page is None:
            rows.append(_empty(number, 0, width))
        else:
            applied = page.offset if page.offset < stamp else max(page.offset, head.offset)
            rows.append(replace(to_rows(page), offset=applied))
    alerts = tuple((p.number, a) for p in named for a in p.alerts)
    stamps = {number: page.offset for number, page in found.items()}
    return Restored(tuple(rows), alerts, min([head.offset, *(r.offset for r in rows)]), stamps)


def _empty(number: int, offset: int, width: int) -> PageRows:
    return PageRows(number, offset, (), np.empty((0, width), np.float32), np.empty(0, DECISION), np.empty(0))
