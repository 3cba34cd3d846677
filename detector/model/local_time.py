"""Wall clocks: which zone each stream lives in, and how far that zone's clock is ahead
of UTC at an event time.

Theory of operation. A zone's rules are sampled once, when the settings are loaded:
:func:`compiled` asks for its offset on every day that an event time may fall on (1970
to 2100) and finds the second at which it changed between two days that differ. What is
left are plain arrays: the instants at which any of the zones changes, and each zone's
offset from each of them on. A wave then costs one binary search and one lookup,
whatever lies in it; one whose streams are all in UTC, which is number 0, costs nothing.

A stream's zone follows from its name and the settings, so it is looked up when its row
is opened or restored and never stored: it is configuration, not state.

Files are read where a zone is made by its name (:mod:`detector.model.settings`), never
here.
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
    """Of Z zones, of which number 0 is UTC.

    Attributes:
        default: the zone of a stream that no rule names.
        rules: what is found in a stream's name, and its zone then; the first that is
            found decides.
        since: float64 [K], rising instants at which any zone's offset changes; the
            first is -inf.
        ahead: float64 [Z, K], seconds that each zone's clock is ahead of UTC from each
            of them on.
    """

    default: int
    rules: tuple[tuple[re.Pattern[str], int], ...]
    since: F64
    ahead: F64

    @property
    def only_utc(self) -> bool:
        return len(self.ahead) == 1

    def zone_of(self, stream: str) -> int:
        """The number of a stream's zone."""
        for pattern, number in self.rules:
            if pattern.search(stream):
                return number
        return self.default

    def local_times(self, times: F64, zones: ZoneNumbers | int) -> F64:
        """Event times [n] as the clocks on the wall show them, in seconds since their
        1970; ``zones``: the number of each one's zone, or of all.
        """
        if not np.any(zones):
            return times
        return np.asarray(
            times + self.ahead[zones, np.searchsorted(self.since, times, "right") - 1]
        )


def compile_zones(
    zones: Sequence[tzinfo],
    default: int = 0,
    rules: Sequence[tuple[re.Pattern[str], int]] = (),
) -> Zones:
    """``zones``: those beside UTC, which are numbered from 1 on."""
    found = [dict(_changes(zone)) for zone in zones]
    since = sorted({instant for changes in found for instant in changes} | {-np.inf})
    ahead = np.zeros((1 + len(zones), len(since)))
    for row, changes in zip(ahead[1:], found, strict=True):
        instants = sorted(changes)
        row[:] = [
            changes[instants[place - 1]]
            for place in np.searchsorted(instants, since, "right").tolist()
        ]
    return Zones(default, tuple(rules), np.array(since), ahead)


def _changes(zone: tzinfo) -> Iterator[tuple[float, float]]:
    """From when on a zone is how many seconds ahead: from ever, then at each change;
    two changes within a day are none.
    """
    before = _ahead(zone, int(EARLIEST))
    yield -np.inf, before
    day_length = int(DAY)
    first = int(EARLIEST) + day_length
    last = int(LATEST)
    for day in range(first, last + day_length, day_length):
        after = _ahead(zone, day)
        if after != before:
            yield _first(zone, day - day_length, day), after
            before = after


def _first(zone: tzinfo, low: int, high: int) -> int:
    """The second in (low, high] from which on the zone's offset is no longer that at
    ``low``.
    """
    before = _ahead(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _ahead(zone, middle) == before else (low, middle)
    return high


def _ahead(zone: tzinfo, at: int) -> float:
    ahead = datetime.fromtimestamp(at, zone).utcoffset()
    assert ahead is not None
    return ahead.total_seconds()


UTC = compile_zones(())
