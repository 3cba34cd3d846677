"""Where each named part of a state row is.

A step keeps all that a stream remembers in one flat float32 row [S]. Every step module
of this room names the parts of its row, in order, by a :class:`StateLayout`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StateLayout:
    """The parts of a state row.

    Attributes:
        features: F, the number of metrics that the step takes.
        parts: name and width of each part, in the order of the row.
    """

    features: int
    parts: tuple[tuple[str, int], ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Floats of each part."""
        return tuple(width for _, width in self.parts)

    @property
    def size(self) -> int:
        """S, the floats of a whole row."""
        return sum(self.widths)

    def slices(self) -> dict[str, slice]:
        """Each part's place in a row."""
        found = {}
        start = 0
        for name, width in self.parts:
            found[name] = slice(start, start + width)
            start += width
        return found
