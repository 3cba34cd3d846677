"""Editions: what one bundle wrote of a partition in one schema.

Theory of operation. Each bundle, and each version of this program, writes pages and a
head under a name of its own. So going back finds what was left there, whatever the
bundle or the version in between wrote. The edition whose head was written last says
where the partition is; the others are kept for a stated time. If the head of the one
that was in force is damaged, its pages tell that they are later than any other.

Versions before this one wrote one edition without a name. They never look at others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from detector.recovery.codec import READABLE
from detector.recovery.snapshot import SCHEMA, Head, Page

#: The name of the edition that versions without editions wrote.
UNNAMED: Final = ""
# Hexadecimal digits of a bundle's digest in a name: no two bundles of one daemon share
# them.
_DIGITS: Final = 16
_NAME = re.compile(r"(\d+)-.*")


@dataclass(frozen=True, slots=True)
class Edition:
    """What a store holds of one edition of a partition.

    Attributes:
        head: None if there is none, or it is damaged.
        written: when the head was written, in epoch seconds; if it is damaged, when the
            newest page was; 0 without a head.
        read: gives the pages that are there and whole. Raises StoreError.
        is_damaged: there was a head, and it can't be read.
    """

    name: str
    head: Head | None
    written: float
    read: Callable[[], Sequence[Page]]
    is_damaged: bool = False


def edition_name(bundle: str, schema: int = SCHEMA) -> str:
    """Of what a bundle with this digest writes."""
    return f"{schema}-{bundle[:_DIGITS]}"


def edition_of(stored: Page | Head) -> str:
    return edition_name(stored.bundle, stored.schema)


def is_readable(name: str) -> bool:
    """Whether this version reads an edition; those of later ones it leaves alone."""
    found = _NAME.fullmatch(name)
    return name == UNNAMED or (found is not None and int(found[1]) in READABLE)


def last_written(editions: Sequence[Edition]) -> Edition | None:
    """The edition that says where the partition is; None if there is none.

    One without a head is of a first checkpoint that was cut off, if there are others.
    One whose head is damaged counts if it was written later and has a page of a later
    offset. Pages that were only moved there have none. Raises StoreError.
    """
    with_head = [edition for edition in editions if edition.head is not None]
    last = max(with_head, key=_written, default=None)
    if last is None or last.head is None:
        return max(editions, key=_written, default=None)
    damaged = [edition for edition in editions if edition.is_damaged]
    for edition in sorted(damaged, key=_written, reverse=True):
        if edition.written > last.written and _furthest(edition) > last.head.offset:
            return edition
    return last


def _written(edition: Edition) -> float:
    return edition.written


def _furthest(edition: Edition) -> int:
    """The offset of its newest page; -1 without any. Raises StoreError."""
    return max((page.stamp.offset for page in edition.read()), default=-1)


def named(editions: Sequence[Edition], name: str) -> Edition | None:
    return next((edition for edition in editions if edition.name == name), None)
