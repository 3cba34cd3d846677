"""Streams warm up from the log before their partition goes on.

Theory of operation. After a change of the bundle, or without a store, streams lack what
their network has to know. The log may still hold the records that it would know it
from. So these are read again, up to the offset at which the partition goes on, by a
*silent* pipeline: it has no receivers, its metrics are its own, and nothing of it is
written. Then its rows join those that were restored
(:func:`detector.recovery.takeover.after_warm_up`), and the partition goes on at exactly
its offset.

A kill meanwhile changes nothing: all of it happens again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import structlog

from detector.clock import Clock
from detector.consumer.starts import Start
from detector.events import Partition, RecordBatch
from detector.metrics import Metrics
from detector.pipeline.build import pipeline_of
from detector.pipeline.parts import Setup
from detector.pipeline.pipeline import Pipeline
from detector.recovery.snapshot import Restored, WarmUp
from detector.recovery.takeover import after_warm_up

#: Seconds that a partition waits for its streams to warm up. By judgement: longer than
#: the records take that are read again, and no outage.
LONGEST: Final = 60.0


@dataclass(slots=True)
class _WarmingUp:
    """One partition.

    Attributes:
        position: records before it are applied.
        began: monotonic seconds.
        records: how many were read.
    """

    start: Start
    position: int
    began: float
    records: int = 0


class WarmUps:
    """The partitions that warm up. It belongs to the loop's thread, under its lock.

    ``live`` is the pipeline in force: the silent one runs the same bundle.
    """

    def __init__(self, live: Pipeline, metrics: Metrics, clock: Clock) -> None:
        self._live = live
        self._metrics = metrics
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self._partitions: dict[Partition, _WarmingUp] = {}
        self._log = structlog.get_logger("partitions")

    def __len__(self) -> int:
        return len(self._partitions)

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self._partitions)

    def begin(self, partition: Partition, start: Start) -> None:
        """Its records are read from ``start.warm_from`` on."""
        if self._pipeline is None:
            self._pipeline = pipeline_of(self._live.parts.setup)
        warm_up = start.restored.warm_up or WarmUp()
        rows = Restored(warm_up.pages, (), start.warm_from)
        now = self._clock.monotonic()
        self._pipeline.assign(partition, rows, now)
        self._partitions[partition] = _WarmingUp(start, start.warm_from, now)
        self._log.info(
            "warming_up",
            partition=str(partition),
            first=start.warm_from,
            until=start.offset,
            note="these records are learned from again, and raise no alert",
        )

    def retune(self, setup: Setup) -> None:
        """The bundle in force runs under other settings: so does the silent one."""
        if self._pipeline is not None:
            self._pipeline.retune(setup)

    def forget(self, partitions: Sequence[Partition]) -> None:
        """They are not ours any more."""
        for partition in partitions:
            if self._partitions.pop(partition, None) is not None:
                self._let_go(partition)

    def positions(self, polled: Sequence[RecordBatch]) -> dict[Partition, int]:
        """Where to read on those of these that warm up."""
        named = {batch.partition for batch in polled} & self._partitions.keys()
        return {partition: self._partitions[partition].position for partition in named}

    def process(self, polled: Sequence[RecordBatch]) -> list[RecordBatch]:
        """Learn from the records of partitions that warm up; gives the others."""
        others = []
        for batch in polled:
            warming = self._partitions.get(batch.partition)
            if warming is None:
                others.append(batch)
            else:
                self._learn(warming, _before(batch, warming.start.offset))
        return others

    def take_finished(self) -> list[tuple[Partition, Start]]:
        """What each partition that is done goes on from."""
        now = self._clock.monotonic()
        found = []
        for partition, warming in list(self._partitions.items()):
            is_warm = warming.position >= warming.start.offset
            if is_warm or now - warming.began > LONGEST:
                self._report(partition, warming, is_warm)
                found.append((partition, self._finished(partition, warming)))
        return found

    def _learn(self, warming: _WarmingUp, batch: RecordBatch) -> None:
        assert self._pipeline is not None
        self._pipeline.process([batch], self._clock.monotonic())
        warming.position = batch.next_offset
        warming.records += batch.records
        self._metrics.warm_up_records.inc(batch.records)

    def _finished(self, partition: Partition, warming: _WarmingUp) -> Start:
        assert self._pipeline is not None
        table = self._pipeline.table
        offset = warming.start.offset
        numbers = [number for number, _ in table.pages(partition)]
        pages = [table.copy_page(partition, number, offset) for number in numbers]
        start = warming.start
        told = {incident.stream for incident in start.told.incidents}
        takeover = self._pipeline.parts.setup.takeover
        warm = after_warm_up(start.restored, pages, takeover, offset, told)
        del self._partitions[partition]
        self._let_go(partition)
        return Start(warm, offset, offset, start.log_end, start.told)

    def _let_go(self, partition: Partition) -> None:
        assert self._pipeline is not None
        self._pipeline.revoke(partition)
        if not self._partitions:
            self._pipeline = None  # it may hold as much memory as the other

    def _report(self, partition: Partition, warming: _WarmingUp, is_warm: bool) -> None:
        log = self._log.info if is_warm else self._log.warning
        log(
            "warmed_up" if is_warm else "warm_up_cut_short",
            partition=str(partition),
            records=warming.records,
            left=max(0, warming.start.offset - warming.position),
            seconds=round(self._clock.monotonic() - warming.began, 2),
        )


def _before(batch: RecordBatch, offset: int) -> RecordBatch:
    """What of a batch comes before this offset."""
    if batch.next_offset <= offset:
        return batch
    count = int(np.searchsorted(batch.offsets, offset))
    return replace(
        batch,
        names=batch.names[:count],
        offsets=batch.offsets[:count],
        times=batch.times[:count],
        values=batch.values[:count],
        next_offset=offset,
        rejected=[record for record in batch.rejected if record.offset < offset],
        kinds=None if batch.kinds is None else batch.kinds[:count],
        starts=None if batch.starts is None else batch.starts[:count],
        labels=None if batch.labels is None else batch.labels[:count],
        clock=None if batch.clock is None else batch.clock.first(count),
    )
