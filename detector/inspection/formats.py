"""Which format the records of a sample have.

All formats are tried. A record counts for the first that makes the same points of it as
``auto`` does, which recognises each record by its content. Where ``auto`` makes none,
it counts for the first that makes any.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from detector.events import Partition, RecordBatch

AUTO: Final = "auto"
#: Formats that take nearly any JSON object, so they are tried last, in this order.
_GENERAL: Final = ("json", "debezium", "fluent_bit", AUTO)

_Place = tuple[Partition, int]
_Streams = Mapping[_Place, Sequence[str | bytes]]


def by_strictness(names: Sequence[str]) -> list[str]:
    """Formats in the order in which they are tried."""
    strict = [name for name in names if name not in _GENERAL]
    return [*strict, *(name for name in _GENERAL if name in names)]


def records_by_format(
    tried: Mapping[str, Sequence[RecordBatch]],
) -> Mapping[str, int]:
    """How many records have which format, the most frequent first.

    ``tried`` are the same records, decoded as each format, in the order of trial.
    """
    counts: Counter[str] = Counter()
    taken: set[_Place] = set()
    recognised = _streams(tried.get(AUTO, ()))
    for name, decoded in tried.items():
        for place, streams in _streams(decoded).items():
            fits = recognised.get(place, streams) == streams
            if fits and place not in taken:
                taken.add(place)
                counts[name] += 1
    return dict(counts.most_common())


def _streams(decoded: Sequence[RecordBatch]) -> _Streams:
    """The streams of each record's points, in their order."""
    found: dict[_Place, list[str | bytes]] = defaultdict(list)
    for batch in decoded:
        for name, offset in zip(batch.names, batch.offsets.tolist(), strict=True):
            found[batch.partition, offset].append(name)
    return found
