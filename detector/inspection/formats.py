"""Which format the records of a sample have: the one that makes points of them.

Formats are tried one after the other, the ones that take little else first. A record
counts for the first that makes a point of it and does not reject it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from detector.events import Partition, RecordBatch

#: Formats that take nearly any JSON object, so they are tried last.
GENERAL: Final = ("json", "auto")


def by_strictness(names: Sequence[str]) -> list[str]:
    """Formats in the order in which they are tried."""
    strict = [name for name in names if name not in GENERAL]
    return [*strict, *(name for name in GENERAL if name in names)]


def records_by_format(
    tried: Mapping[str, Sequence[RecordBatch]],
) -> Mapping[str, int]:
    """How many records have which format, the most frequent first.

    ``tried`` are the same records, decoded as each format, in the order of trial.
    """
    counts: Counter[str] = Counter()
    taken: set[tuple[Partition, int]] = set()
    for name, decoded in tried.items():
        fitting = _with_points(decoded) - taken
        counts[name] = len(fitting)
        taken |= fitting
    return {name: count for name, count in counts.most_common() if count}


def _with_points(decoded: Sequence[RecordBatch]) -> set[tuple[Partition, int]]:
    return {
        (batch.partition, offset)
        for batch in decoded
        for offset in set(batch.offsets.tolist())
    }
