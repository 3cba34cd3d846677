"""batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detector.events import Partition


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One partition's share of a poll as it came: n records; ``timestamps`` are the
    records' own, in milliseconds.
    """

    partition: Partition
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
