"""How many streams a table holds, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

UNBOUNDED: Final = 1 << 40  # streams


@dataclass(frozen=True, slots=True)
class TableLimits:
    """The bounds of a stream table.

    Attributes:
        max_streams: in memory; beyond them new streams are refused.
        max_newcomers: streams of one partition with a single point. Beyond them the
            oldest are forgotten.
        expire_after: seconds without a point after which a stream is forgotten.
    """

    max_streams: int = UNBOUNDED
    max_newcomers: int = UNBOUNDED
    expire_after: float = math.inf
