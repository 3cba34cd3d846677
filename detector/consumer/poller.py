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
        """Raises Transient; the records that were fetched are then read again.

        Decoding may fail so, because a record's schema may be elsewhere.
        """
        fetched = source.poll(self._records, POLL_TIMEOUT)
        try:
            polled = [self._decode(raw) for raw in fetched]
        except Transient:
            for raw in fetched:
                if len(raw):  # else there was nothing to read but markers
                    source.seek(raw.partition, raw.offsets[0])
            raise
        self._adapt(polled)
        return polled

    def _adapt(self, polled: Sequence[RecordBatch]) -> None:
        records = sum(batch.records for batch in polled)
        points = sum(len(batch.names) for batch in polled)
        if records:
            wanted = self._max_points * records // max(1, points)
            self._records = max(1, min(self._max_points, wanted))
