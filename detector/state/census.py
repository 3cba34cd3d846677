"""How many streams there are of each prefix, to see what a topic fills the table with.

Counts are kept as streams come and go, so that reading them costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from detector.names import prefix


@dataclass(frozen=True, slots=True)
class PrefixCount:
    """Streams whose names begin alike, see :func:`detector.names.prefix`."""

    prefix: str
    streams: int


class Census:
    """Streams of the table and of its cold pages, by prefix."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, names: Iterable[str]) -> None:
        self._counts.update(map(prefix, names))

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            shared = prefix(name)
            self._counts[shared] -= 1
            if self._counts[shared] <= 0:
                del self._counts[shared]

    def largest(self, count: int) -> list[PrefixCount]:
        """The prefixes with the most streams, largest first. Any thread may ask."""
        counts = self._counts.copy()  # at once: the loop goes on counting
        found = counts.most_common(count)
        return [PrefixCount(name, streams) for name, streams in found]
