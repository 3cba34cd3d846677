"""Streams that fell silent: their rows lie in the store alone, and what is kept of them
here is which page holds each.

Theory of operation. Rows that nothing was applied to for a while are copied, a page
full of them at a time, into a *cold* page that goes out with a checkpoint. Once it is
durable, those that nothing was applied to meanwhile leave the table, and the pages they
left go out with the next checkpoint: a crash in between finds a row twice and never not
at all (see :mod:`detector.recovery.snapshot`). A point for such a stream brings its row
back. The cold page is not written again for that: what it still holds of the stream is
older than what any other page does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from detector.state.page_rows import PageRows


@dataclass(slots=True)
class ColdPages:
    """The cold pages of one partition.

    Attributes:
        held: stream -> number of the page that has its row.
        left: streams left in each page.
    """

    held: dict[str, int] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    _rows: dict[int, PageRows] = field(default_factory=dict)
    _places: dict[int, dict[str, int]] = field(default_factory=dict)

    def hold(self, number: int, names: Sequence[str]) -> None:
        """These streams are in that page alone from now on."""
        self.held.update(dict.fromkeys(names, number))
        self.left[number] = len(names)

    def missing_pages(self, names: Iterable[str | bytes]) -> set[int]:
        """Pages that must be supplied before these streams can be opened."""
        found = {
            self.held.get(name.decode() if isinstance(name, bytes) else name)
            for name in names
        }
        return {
            number
            for number in found
            if number is not None and number not in self._rows
        }

    def add_page(self, rows: PageRows) -> None:
        """A page that :meth:`wanted` asked for."""
        self._rows[rows.number] = rows
        self._places[rows.number] = {name: i for i, name in enumerate(rows.names)}

    def drop_page(self, number: int) -> int:
        """Forget a page that can't be read; how many streams are lost."""
        lost = [name for name, page in self.held.items() if page == number]
        for name in lost:
            del self.held[name]
        self.left.pop(number, None)
        return len(lost)

    def clear(self) -> None:
        """The poll that pages were supplied for is over."""
        self._rows.clear()
        self._places.clear()

    def take(self, name: str) -> tuple[PageRows, int] | None:
        """The supplied page and the place in it of a stream that is cold no longer;
        None if it was not cold.
        """
        number = self.held.pop(name, None)
        if number is None:
            return None
        self.left[number] -= 1
        if not self.left[number]:
            del self.left[number]
        return self._rows[number], self._places[number][name]
