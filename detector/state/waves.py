"""The waves that step streams: the k-th point of every stream in a poll is wave k.

Within a wave all streams differ, so a wave is one gather, one step, one scatter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.events import I64


def interleave(slots: I64) -> tuple[I64, I64]:
    """Indices into ``slots`` [n], the first occurrence of each slot, the second of
    each, …, in order of arrival; and where each of these ends.
    """
    n = len(slots)
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    first = np.empty(n, np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    if first.all():
        return np.arange(n), np.full(min(n, 1), n)
    position = np.arange(n)
    rank = position - np.maximum.accumulate(np.where(first, position, 0))
    return order[np.argsort(rank, kind="stable")], np.cumsum(np.bincount(rank))


def waves(slots: I64) -> Iterator[I64]:
    """Indices into ``slots`` [n], wave by wave: wave k holds the k-th occurrence of
    each slot, in order of arrival.
    """
    order, ends = interleave(slots)
    start = 0
    for end in ends.tolist():
        yield order[start:end]
        start = end
