"""Reading a log again from some offset, which may be within a poll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detector.events import RecordBatch


def from_offset(polls: Sequence[RecordBatch], offset: int) -> Iterator[RecordBatch]:
    """What is left of these polls for a consumer that seeks to ``offset``."""
    for batch in polls:
        keep = batch.offsets >= offset
        if not keep.any():
            continue
        names = [name for name, kept in zip(batch.names, keep, strict=True) if kept]
        yield RecordBatch(
            batch.partition,
            names,
            batch.offsets[keep],
            batch.times[keep],
            batch.values[keep],
            batch.next_offset,
        )
