"""What time it is where a record comes from: the topic's own time.

Theory of operation. No wall clock decides about a record, since a replay must decide
alike. Three things tell the time, and each is a function of the log alone:

- *The broker's stamp* (``LogAppendTime``): the time itself. Nobody else can set it.
- *The producer's stamp* (``CreateTime``): the clock of whoever sent the record. It may
  be wrong together with the record's own time field. So it can refute a time that is
  ahead of it, but it vouches for none.
- *The stream's own past*: for files, for archives that were produced again, and for
  producers whose two clocks are wrong together. :mod:`detector.state.point_order` tells
  a stream that paused from a clock that jumped.

Nobody can move the time of others: a record is compared with its own stamp and with its
own stream, and with nothing that other records say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.timestamps import PLAUSIBLE

_F64 = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]

#: Seconds. An unset zone or a summer time that was missed is more; a clock that drifts
#: without NTP is less for months.
FUTURE_SECONDS: Final = 600.0
#: Seconds. Two workers of one producer swap neighbours at a point a minute; who waits
#: longer than a minute for one of them tells an alert too late.
LATENESS_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """What times are believed, for each topic.

    Attributes:
        future_seconds: a record that is further ahead of the topic's own time is
            rejected.
        lateness_seconds: how much later than its successor a point of the same stream
            may come and still be scored in order.
        earliest: epoch seconds; a time before it is refused.
    """

    future_seconds: float = FUTURE_SECONDS
    lateness_seconds: float = LATENESS_SECONDS
    earliest: float = PLAUSIBLE

    def vouches(self, log_time: float, time: float) -> bool:
        """Whether the log's time is that of the event; NaN vouches for none."""
        return abs(log_time - time) <= self.future_seconds


#: Bounds that take times from 1970 on, for files and tools.
ANY_TIME: Final = ClockBounds(earliest=0.0)


@dataclass(frozen=True, slots=True)
class RecordClock:
    """The clocks of n points.

    Attributes:
        bounds: those of their topic.
        log_times: float64 [n], the time of each one's record in the log, in epoch
            seconds; NaN if it has none.
        is_brokers: bool [n], the broker set that time.
        in_order: bool [n], the order of the log is the order of the points: equal times
            of one stream are different points.
    """

    bounds: ClockBounds
    log_times: _F64
    is_brokers: _Bools
    in_order: _Bools

    def first(self, count: int) -> RecordClock:
        """Those of the first ``count`` points."""
        return RecordClock(
            self.bounds,
            self.log_times[:count],
            self.is_brokers[:count],
            self.in_order[:count],
        )

    def of(self, point: int) -> PointClock:
        """That of one point."""
        return PointClock(
            self.bounds,
            float(self.log_times[point]),
            bool(self.is_brokers[point]),
            bool(self.in_order[point]),
        )


@dataclass(frozen=True, slots=True)
class PointClock:
    """The clock of one point; the attributes are those of :class:`RecordClock`."""

    bounds: ClockBounds
    log_time: float = math.nan
    is_brokers: bool = False
    in_order: bool = False


def without_log(count: int, bounds: ClockBounds) -> RecordClock:
    """The clocks of ``count`` points that come from a file."""
    none = np.zeros(count, np.bool_)
    return RecordClock(bounds, np.full(count, np.nan), none, none)
