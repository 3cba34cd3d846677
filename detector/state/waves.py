"""Waves: the k-th point of every stream in a poll is in wave k.

All streams of a wave differ, so a wave is one gather, one step and one scatter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.events import I64


def interleave(slots: I64) -> tuple[I64, I64]:
    """Order the points of a poll by wave.

    Gives indices into ``slots`` [n] (first all first points of a stream, then all
    second ones, and so on, each in order of arrival), and where each wave ends in them.
    """
    n = len(slots)
    by_slot = np.argsort(slots, kind="stable")
    ordered = slots[by_slot]
    is_first = np.empty(n, np.bool_)
    is_first[:1] = True
    following = ordered[1:]
    np.not_equal(following, ordered[:-1], out=is_first[1:])
    if is_first.all():
        return np.arange(n), np.full(min(n, 1), n)
    position = np.arange(n)
    starts = np.where(is_first, position, 0)
    start_of_slot = np.maximum.accumulate(starts)
    wave = position - start_of_slot
    by_wave = np.argsort(wave, kind="stable")
    sizes = np.bincount(wave)
    return by_slot[by_wave], np.cumsum(sizes)


def waves(slots: I64) -> Iterator[I64]:
    """Indices into ``slots`` [n], one array for each wave, in order of arrival."""
    order, ends = interleave(slots)
    start = 0
    for end in ends.tolist():
        yield order[start:end]
        start = end
