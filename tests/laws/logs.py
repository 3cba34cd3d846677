"""Reading a log again from some offset, which may be within a poll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from detector.events import RecordBatch
from detector.record_clock import RecordClock


def from_offset(polls: Sequence[RecordBatch], offset: int) -> Iterator[RecordBatch]:
    """What is left of these polls for a consumer that seeks to ``offset``."""
    for batch in polls:
        if batch.next_offset <= offset:
            continue
        keep = batch.offsets >= offset
        labels = batch.labels
        yield replace(
            batch,
            names=list(compress(batch.names, keep)),
            offsets=batch.offsets[keep],
            times=batch.times[keep],
            values=batch.values[keep],
            kinds=None if batch.kinds is None else batch.kinds[keep],
            starts=None if batch.starts is None else batch.starts[keep],
            labels=None if labels is None else list(compress(labels, keep)),
            clock=None if batch.clock is None else _kept(batch.clock, keep),
        )


def _kept(clock: RecordClock, keep: npt.NDArray[np.bool_]) -> RecordClock:
    return RecordClock(
        clock.bounds,
        clock.log_times[keep],
        clock.is_brokers[keep],
        clock.in_order[keep],
    )
