"""Streams that fell silent: which page in the store holds each.

Theory of operation. Rows that have had no point for a while are copied, one page full
at a time, into a *cold* page, which the next checkpoint writes. Once it is durable, the
rows that have had no point since leave the table. The pages that they left are written
by the checkpoint after that. So a crash in between finds a row twice and never not at
all (:mod:`detector.recovery.snapshot`).

A point for such a stream brings its row back. The cold page is not written again for
that: what it still holds of the stream is older than what any other page holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from detector.state.page_rows import PageRows

_Places = dict[str, int]  # a stream's place in its page


@dataclass(slots=True)
class ColdPages:
    """The cold pages of one partition.

    Attributes:
        held: stream -> number of the page that has its row.
        left: page number -> how many streams are left in it.
        latest: page number -> event time of the last point of any of them.
        names: page number -> the streams that it was given, some of which have left.
    """

    held: dict[str, int] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    latest: dict[int, float] = field(default_factory=dict)
    names: dict[int, Sequence[str]] = field(default_factory=dict)
    _rows: dict[int, PageRows] = field(default_factory=dict)
    _places: dict[int, _Places] = field(default_factory=dict)

    def hold(self, number: int, names: Sequence[str], latest: float = math.inf) -> None:
        """From now on, only this page has the rows of these streams.

        ``latest`` is the event time of the last point of any of them.
        """
        moved = dict.fromkeys(names, number)
        self.held.update(moved)
        self.left[number] = len(names)
        self.latest[number] = latest
        self.names[number] = names

    def before(self, time: float) -> list[int]:
        """Numbers of the pages whose streams had no point since this event time."""
        return [number for number, latest in self.latest.items() if latest < time]

    def missing_pages(self, names: Iterable[str | bytes]) -> set[int]:
        """Numbers of the pages to add before these streams can be opened."""
        needed: set[int] = set()
        for name in names:
            text = name.decode() if isinstance(name, bytes) else name
            if text in self.held:
                needed.add(self.held[text])
        return needed - self._rows.keys()

    def add_page(self, rows: PageRows) -> None:
        """Add a page that :meth:`missing_pages` names."""
        self._rows[rows.number] = rows
        places = {name: place for place, name in enumerate(rows.names)}
        self._places[rows.number] = places

    def drop_page(self, number: int) -> list[str]:
        """Forget a page; gives the streams that were left in it."""
        given = self.names.pop(number, ())
        lost = [name for name in given if self.held.get(name) == number]
        for name in lost:
            del self.held[name]
        self.left.pop(number, None)
        self.latest.pop(number, None)
        return lost

    def clear(self) -> None:
        """Forget the added pages: the poll that needed them is over."""
        self._rows.clear()
        self._places.clear()

    def take(self, name: str) -> tuple[PageRows, int] | None:
        """The page and the place in it of a stream that leaves it; None if not cold."""
        number = self.held.pop(name, None)
        if number is None:
            return None
        self.left[number] -= 1
        if not self.left[number]:
            del self.left[number]
            del self.latest[number]
            del self.names[number]
        place = self._places[number][name]
        return self._rows[number], place
