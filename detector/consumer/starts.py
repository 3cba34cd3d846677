"""Where an assigned partition starts to be read, and what its restart cost.

The store says up to which offset a partition is applied. The log may have moved on
meanwhile: retention took records, or somebody deleted and created the topic. What is
lost is logged with its remedy and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import structlog

from detector.errors import ResetCause
from detector.events import Partition
from detector.metrics import Metrics
from detector.ports import Source
from detector.recovery.note import NOBODY_WAITS, Told, of_note
from detector.recovery.restore import clamp
from detector.recovery.snapshot import Restored, WarmUp
from detector.recovery.told import take_up

_REMEDIES = {
    ResetCause.OTHER_BUNDLE: "set the bundle of before, or let streams learn anew",
    ResetCause.TAKEN_OVER: "nothing: incidents, counters and rates go on, and the new"
    " network warms up",
    ResetCause.PAGE_UNREADABLE: "check the disk or the topic; records are read again "
    "from the start of the log",
    ResetCause.NO_CHECKPOINT: "give it the store that the group wrote to before, in "
    "DETECTOR_RECOVERY__STORE; members of a group share kafka:TOPIC",
}


#: Records of a partition that are read again at most, so that its streams warm up. By
#: judgement: it takes seconds, and a hundred streams have a thousand points each.
WARM_UP_RECORDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Start:
    """A partition's states, and the offset from which its records are read.

    Attributes:
        warm_from: the offset from which they are read before, silently; ``offset`` if
            nothing has to warm up.
        log_end: the offset after the last record of its log at this moment.
        told: the open incidents that receivers know of, and no page holds any more.
    """

    restored: Restored
    offset: int
    warm_from: int
    log_end: int
    told: Told = NOBODY_WAITS


class StartFinder:
    """Fits what the store holds to what the log holds.

    ``warm_up`` is how many records of a partition may be read again, silently.
    """

    def __init__(self, metrics: Metrics, warm_up: int = WARM_UP_RECORDS) -> None:
        self._metrics = metrics
        self._warm_up = warm_up
        self._log = structlog.get_logger("partitions")

    def find(self, source: Source, partition: Partition, restored: Restored) -> Start:
        """Raises Transient, before anything is counted."""
        if restored.offset is None:
            return self._find_new(source, partition, restored)
        first, end = source.bounds(partition)
        clamped = clamp(restored, first, end)
        offset = clamped.offset or 0
        if offset < restored.offset:
            self._report_recreated(partition, restored.offset, end)
        if offset > restored.offset:
            self._report_lost(partition, restored.offset, first)
        for cause, count in restored.resets.items():
            self._report_reset(partition, cause, count)
        warm_from = self._warm_from(restored.warm_up, first, offset)
        return Start(clamped, offset, warm_from, end)

    def take_up(self, partition: Partition, start: Start, width: int) -> Restored:
        """What the partition goes on from, with the incidents that receivers know of.

        ``width`` is the bundle's state size.
        """
        if not len(start.told):
            return start.restored
        after = take_up(start.restored, partition, start.told, width)
        outcomes = self._metrics.recovered_incidents
        outcomes.labels("goes_on").inc(after.found)
        outcomes.labels("ended").inc(after.ended)
        outcomes.labels("not_known").inc(start.told.unlisted)
        log = self._log.error if start.told.unlisted else self._log.warning
        log(
            "incidents_taken_up",
            partition=str(partition),
            go_on=after.found,
            ended=after.ended,
            not_known=start.told.unlisted,
            note="the store was lost; the committed offset names the open incidents,"
            " and has room for about a hundred",
        )
        return after.restored

    def _warm_from(self, warm_up: WarmUp | None, first: int, offset: int) -> int:
        if warm_up is None:
            return offset
        furthest = max(first, offset - self._warm_up)
        left = warm_up.offset
        begin = furthest if left is None else max(furthest, left)
        return min(begin, offset)

    def _find_new(
        self, source: Source, partition: Partition, restored: Restored
    ) -> Start:
        """The store knows nothing of it: the group's offset counts, if there is one."""
        offset = source.first_offset(partition)
        first, end = source.bounds(partition)
        committed = source.committed(partition)
        if committed is None or not committed.offset:
            return Start(restored, offset, offset, end)
        self._report_reset(partition, ResetCause.NO_CHECKPOINT, 1)
        warm_up = WarmUp()
        warm_from = self._warm_from(warm_up, first, offset)
        begun = replace(restored, offset=offset, warm_up=warm_up)
        return Start(begun, offset, warm_from, end, of_note(committed.note))

    def _report_recreated(self, partition: Partition, applied: int, end: int) -> None:
        self._log.error(
            "topic_recreated",
            partition=str(partition),
            applied=applied,
            log_ends=end,
            note="states are kept; the topic is read from its start",
        )

    def _report_lost(self, partition: Partition, applied: int, first: int) -> None:
        self._metrics.lost_records.inc(first - applied)
        self._log.error(
            "records_lost",
            partition=str(partition),
            applied=applied,
            log_begins=first,
            records=first - applied,
            note="streams go on from the states they have",
            remedy="raise the topic's retention above the longest outage",
        )

    def _report_reset(
        self, partition: Partition, cause: ResetCause, count: int
    ) -> None:
        self._metrics.state_resets.labels(cause.value).inc(count)
        is_planned = cause is ResetCause.TAKEN_OVER
        log = self._log.warning if is_planned else self._log.error
        log(
            "states_reset",
            partition=str(partition),
            cause=cause.value,
            count=count,
            remedy=_REMEDIES[cause],
        )
