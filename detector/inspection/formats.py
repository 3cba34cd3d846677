"""Which format the records of a sample have: the one that makes points of them.

Formats are tried one after the other, the ones that take little else first. A record
counts for the first that makes the same points of it as ``auto`` does, which knows what
a record is by its content. If ``auto`` makes none, any points will do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from detector.events import Partition, RecordBatch

_AUTO: Final = "auto"
#: Formats that take nearly any JSON object, so they are tried last.
GENERAL: Final = ("json", _AUTO, "debezium", "fluent_bit")

# the names of the points of each record
_Points = Mapping[tuple[Partition, int], frozenset[str | bytes]]


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
    by_content = _points(tried.get(_AUTO, ()))
    for name, decoded in tried.items():
        points = _points(decoded)
        fitting = {
            record
            for record, names in points.items()
            if by_content.get(record, names) == names
        }
        fitting -= taken
        counts[name] = len(fitting)
        taken |= fitting
    return {name: count for name, count in counts.most_common() if count}


def _points(decoded: Sequence[RecordBatch]) -> _Points:
    found: dict[tuple[Partition, int], set[str | bytes]] = {}
    for batch in decoded:
        for offset, name in zip(batch.offsets.tolist(), batch.names, strict=True):
            found.setdefault((batch.partition, offset), set()).add(name)
    return {record: frozenset(names) for record, names in found.items()}
