"""Which rows of a partition are idle, and what time it is in the partition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.events import Phase
from detector.state.partition_pages import PartitionPages
from detector.state.row_memory import PAGE, RowMemory, Slots

_Bools = npt.NDArray[np.bool_]


def slots_in_use(memory: RowMemory, owned: PartitionPages, offset: int) -> Slots:
    """The rows of pages that are not ahead of ``offset``."""
    hot = [
        (number, page)
        for number, page in owned.hot()
        if memory.page_applied[page] <= offset
    ]
    if not hot:
        return np.empty(0, np.int64)
    starts = np.array([page * PAGE for _, page in hot])
    used = np.array([owned.used[number] for number, _ in hot])
    places = np.arange(PAGE)
    is_used = places < used[:, None]
    slots: Slots = (starts[:, None] + places)[is_used]
    return slots


def are_idle(memory: RowMemory, slots: Slots, before: float) -> _Bools:
    """bool [n], rows that had no point since monotonic ``before``.

    Rows in an incident are not idle, since their next point may end it.
    """
    is_quiet = memory.touched[slots] < before
    is_calm = memory.decisions["phase"][slots] <= Phase.OK
    return np.asarray(is_quiet & is_calm)


def partition_time(memory: RowMemory, slots: Slots, before: float) -> float:
    """Event time of most streams that are not idle; -inf if all are.

    It is their median, so that no single stream moves it, wherever its clock is.
    """
    active = slots[memory.touched[slots] >= before]
    times = memory.times[active]
    begun = times[np.isfinite(times)]
    return float(np.median(begun)) if len(begun) else -np.inf
