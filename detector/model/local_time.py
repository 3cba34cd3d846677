"""Local time: which zone each stream is in, and its offset from UTC at an event time.

Theory of operation. The rules of a zone are sampled once, when the settings are loaded.
:func:`compile_zones` asks for the offset on every day that an event time may have (1970
to 2100). It finds the second of the change between two days that differ. What is left
are arrays: the instants at which any zone changes, and each zone's offset from each of
them on. A wave then costs one binary search and one lookup. A wave with all streams in
UTC, which is number 0, costs nothing.

A stream's zone follows from its name and the settings. It is configuration and not
state: it is looked up when a row is opened or restored, and never stored.

This module reads no files; :mod:`detector.model.settings` makes zones by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import numpy as np
import numpy.typing as npt

from detector.events import F64
from detector.timestamps import DAY, EARLIEST, LATEST

ZoneNumbers = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Zones:
    """Z zones; number 0 is UTC.

    Attributes:
        default: number of the zone of a stream that no rule matches.
        rules: patterns to search for in a stream's name, and the number of its zone;
            the first match decides.
        since: float64 [K], rising epoch seconds at which any zone's offset changes; the
            first is -inf.
        offsets: float64 [Z, K], seconds to add to UTC from each of these instants on.
    """

    default: int
    rules: tuple[tuple[re.Pattern[str], int], ...]
    since: F64
    offsets: F64

    @property
    def only_utc(self) -> bool:
        return len(self.offsets) == 1

    def zone_of(self, stream: str) -> int:
        """The number of a stream's zone."""
        for pattern, number in self.rules:
            if pattern.search(stream):
                return number
        return self.default

    def local_times(self, times: F64, zones: ZoneNumbers | int) -> F64:
        """Event times [n] as local clocks show them, in seconds since their 1970.

        ``zones``: the number of each one's zone [n], or one for all.
        """
        if not np.any(zones):
            return times
        spans = np.searchsorted(self.since, times, "right") - 1
        return np.asarray(times + self.offsets[zones, spans])


def compile_zones(
    zones: Sequence[tzinfo],
    default: int = 0,
    rules: Sequence[tuple[re.Pattern[str], int]] = (),
) -> Zones:
    """Sample ``zones``, which are numbered from 1 on: UTC is always number 0."""
    changes = [dict(_changes(zone)) for zone in zones]
    instants = {-np.inf}
    for found in changes:
        instants.update(found)
    since = np.array(sorted(instants))
    offsets = np.zeros((1 + len(zones), len(since)))
    for row, found in zip(offsets[1:], changes, strict=True):
        own = np.array(sorted(found))
        values = np.array([found[instant] for instant in own.tolist()])
        row[:] = values[np.searchsorted(own, since, "right") - 1]
    return Zones(default, tuple(rules), since, offsets)


def _changes(zone: tzinfo) -> Iterator[tuple[float, float]]:
    """(epoch seconds, offset): the first offset at -inf, then each change.

    Two changes within a day that cancel out are not seen.
    """
    day_length = int(DAY)
    start = int(EARLIEST)
    before = _offset(zone, start)
    yield -np.inf, before
    for day in range(start + day_length, int(LATEST) + day_length, day_length):
        after = _offset(zone, day)
        if after != before:
            yield _change_between(zone, day - day_length, day), after
            before = after


def _change_between(zone: tzinfo, low: int, high: int) -> int:
    """The first second in (low, high] at which the offset is not that at ``low``."""
    before = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: tzinfo, time: int) -> float:
    """Seconds to add to UTC at epoch seconds ``time``."""
    offset = datetime.fromtimestamp(time, zone).utcoffset()
    assert offset is not None
    return offset.total_seconds()


UTC = compile_zones(())
