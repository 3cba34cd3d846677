"""Polls about as many points at once as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from detector.errors import Transient
from detector.events import RawBatch, RecordBatch
from detector.ports import Source

#: Seconds that a poll waits for records: a stop goes unnoticed for as long.
POLL_TIMEOUT: Final = 0.2
#: Records of the first poll. How many points each holds is not known yet.
FIRST_POLL: Final = 500
#: Seconds until a partition is read again whose records can't be decoded now.
HOLD: Final = 2.0

Decode = Callable[[RawBatch], RecordBatch]


class Poller:
    """Polls and decodes. Asks for as many records as hold about ``max_points`` points.

    If each metric is a stream, one record may hold thousands of points.
    """

    def __init__(self, decode: Decode, max_points: int) -> None:
        self._decode = decode
        self._max_points = max_points
        self._records = min(max_points, FIRST_POLL)

    def use(self, decode: Decode, max_points: int) -> None:
        """Decode otherwise from the next poll on."""
        self._decode = decode
        self._max_points = max_points
        self._records = min(max_points, self._records)

    def poll(self, source: Source) -> Sequence[RecordBatch]:
        """Raises Transient if the source does.

        Records that can't be decoded now, because their schema is elsewhere, are read
        again later: their partition waits, and others go on.
        """
        polled = []
        for raw in source.poll(self._records, POLL_TIMEOUT):
            try:
                polled.append(self._decode(raw))
            except Transient as error:
                first = raw.offsets[0]
                source.hold(raw.partition, first, str(error), HOLD)
        self._adapt(polled)
        return polled

    def _adapt(self, polled: Sequence[RecordBatch]) -> None:
        records = sum(batch.records for batch in polled)
        points = sum(len(batch.names) for batch in polled)
        if records:
            wanted = self._max_points * records // max(1, points)
            self._records = max(1, min(self._max_points, wanted))
