"""Which reported incidents belong to which injected faults. Pure: needs no broker.

An incident belongs to a fault if it is of the fault's stream, and starts while the
fault shows or at most ``SLACK_S`` later: the step back to normal is part of the fault.
Any other incident is a false alarm, also on a stream that has a fault at another time.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.demo.generator import Fault
from deploy.harness.receiver import Incident
from detector.timestamps import WEEK

SLACK_S: Final = 3600.0


def belongs(incident: Incident, fault: Fault) -> bool:
    is_in_time = fault.start <= incident.starts < fault.end + SLACK_S
    return incident.stream == fault.stream and is_in_time


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run found.

    Attributes:
        found: the first incident of each fault, or None.
        false_alarms: incidents that belong to no fault.
        incidents: how many there were.
        resolved: how many of them ended.
        stream_weeks: streams times weeks of event time.
    """

    faults: tuple[Fault, ...]
    found: tuple[Incident | None, ...]
    false_alarms: tuple[Incident, ...]
    incidents: int
    resolved: int
    stream_weeks: float

    @property
    def found_count(self) -> int:
        return sum(incident is not None for incident in self.found)

    @property
    def false_alarms_per_week(self) -> float:
        return len(self.false_alarms) / self.stream_weeks if self.stream_weeks else 0.0

    def event_delay(self) -> float | None:
        """Median seconds of event time from a fault's start to its incident firing."""
        return _median([i.fired_at - f.start for f, i in self._pairs()])

    def wall_delay(self, produced: Mapping[Fault, float]) -> float | None:
        """Median seconds from a fault's first record to the webhook's post.

        ``produced`` has the time of that record on the receiver's clock.
        """
        delays = []
        for fault, incident in self._pairs():
            if fault in produced:
                delays.append(incident.arrived - produced[fault])
        return _median(delays)

    def _pairs(self) -> Iterator[tuple[Fault, Incident]]:
        """The faults that were found, with their incidents."""
        for fault, incident in zip(self.faults, self.found, strict=True):
            if incident is not None:
                yield fault, incident


def judge(
    faults: Sequence[Fault],
    incidents: Sequence[Incident],
    *,
    streams: int,
    seconds: float,
) -> Verdict:
    """Match incidents to faults. ``seconds`` are the event time of each stream."""
    ordered = sorted(incidents, key=lambda incident: incident.starts)
    false_alarms = [
        incident
        for incident in ordered
        if not any(belongs(incident, fault) for fault in faults)
    ]
    return Verdict(
        faults=tuple(faults),
        found=tuple(first_incident(fault, ordered) for fault in faults),
        false_alarms=tuple(false_alarms),
        incidents=len(ordered),
        resolved=sum(incident.ends is not None for incident in ordered),
        stream_weeks=streams * seconds / WEEK,
    )


def first_incident(fault: Fault, incidents: Sequence[Incident]) -> Incident | None:
    """The first of these that belongs to the fault."""
    for incident in incidents:
        if belongs(incident, fault):
            return incident
    return None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
