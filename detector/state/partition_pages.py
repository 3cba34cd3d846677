"""The pages and streams of one assigned partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from detector.state.cold_pages import ColdPages
from detector.state.row_memory import PAGE, PAGE_BITS

NO_SLOT = -1  # of a new stream if the table is full
CROWDED = -2  # of a new stream for which newcomers must make room first
COLD = -1  # in place of the index of a page that is only in the store


class SlotIndex(dict[str | bytes, int]):
    """Name -> slot. Looking up a new name opens its row, so a poll is one ``map``.

    A record's key is looked up as bytes. It is decoded once a stream, not once a
    record.
    """

    def __init__(self, open_slot: Callable[[str], int]) -> None:
        super().__init__()
        self._open_slot = open_slot

    def __missing__(self, name: str | bytes) -> int:
        if isinstance(name, bytes):
            text = name.decode()
            slot = self[text]
        else:
            slot = self._open_slot(name)
        if slot >= 0:
            self[name] = slot
        return slot

    def move(self, name: str, slot: int) -> None:
        """A stream's row is at another slot now."""
        for key in (name, name.encode()):
            if key in self:
                self[key] = slot


@dataclass(slots=True)
class PartitionPages:
    """One assigned partition.

    Attributes:
        index: name -> slot of the streams in memory.
        pages: page number -> index of the page in memory, or :data:`COLD`.
        used: page number -> rows in use.
        vacant: numbers of the pages that take new streams; the last one is next.
        spare: numbers of cold pages without streams, for the next new pages.
        cold: the pages that are only in the store.
        newcomers: streams with a single point so far, in order of their coming.
    """

    index: SlotIndex
    pages: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    vacant: list[int] = field(default_factory=list)
    spare: list[int] = field(default_factory=list)
    cold: ColdPages = field(default_factory=ColdPages)
    newcomers: dict[str, None] = field(default_factory=dict)

    def new_number(self) -> int:
        """A page number that nothing uses."""
        if self.spare:
            return self.spare.pop()
        self.pages.append(COLD)
        self.used.append(0)
        return len(self.pages) - 1

    def add(self, page: int) -> int:
        """Give the empty page at this index a number; it takes new streams."""
        number = self.new_number()
        self.pages[number] = page
        self.used[number] = 0
        self.vacant.append(number)
        return number

    def vacant_number(self) -> int | None:
        """The number of a page with room; None if all are full."""
        while self.vacant:
            number = self.vacant[-1]
            if self.used[number] < PAGE:
                return number
            self.vacant.pop()
        return None

    def take_slot(self, number: int) -> int:
        """The first free slot of a page with room."""
        start = self.pages[number] * PAGE
        slot = start + self.used[number]
        self.used[number] += 1
        return slot

    def give_back(self, name: str) -> tuple[int, int]:
        """Remove a stream: its slot, and the last slot of its page, which must move."""
        slot = self.index.pop(name)
        self.newcomers.pop(name, None)
        self.index.pop(name.encode(), None)
        page = slot >> PAGE_BITS
        number = self.pages.index(page)
        self.used[number] -= 1
        if number not in self.vacant:
            self.vacant.insert(0, number)
        last = page * PAGE + self.used[number]
        return slot, last

    def hold(self, number: int, names: Sequence[str], latest: float) -> None:
        """The rows of these streams are only in the store, in this page.

        ``latest`` is the event time of the last point of any of them.
        """
        if names:
            self.cold.hold(number, names, latest)
        else:
            self.spare.append(number)

    def hot(self) -> list[tuple[int, int]]:
        """Number and index of the pages in memory."""
        numbered = enumerate(self.pages)
        return [(number, page) for number, page in numbered if page != COLD]
