"""What was injected against what was reported. Pure, so that the summary can be tested
without a broker.

An incident belongs to a fault when it is of the fault's stream and starts while the
fault shows, or within ``SLACK_S`` after it: the step back to normal is part of the
fault. Every other incident is a false alarm, one of a faulty stream at another time
too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.demo.generator import DAY_S, Fault
from deploy.harness.receiver import Incident

SLACK_S: Final = 3600.0
WEEK_S: Final = 7 * DAY_S


def belongs(incident: Incident, fault: Fault) -> bool:
    return (
        incident.stream == fault.stream
        and fault.start <= incident.starts < fault.end + SLACK_S
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Attributes:
    found: for each injected fault its first incident, or None.
    false_alarms: incidents that belong to no fault.
    resolved: incidents that ended.
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
        """Median seconds of event time from a fault's start to the decision that fired."""
        return _median(
            [
                i.fired_at - f.start
                for f, i in zip(self.faults, self.found, strict=True)
                if i
            ]
        )

    def wall_delay(self, produced: Mapping[Fault, float]) -> float | None:
        """Median seconds from producing a fault's first record to the webhook's
        arrival; ``produced`` on the receiver's clock.
        """
        return _median(
            [
                i.arrived - produced[f]
                for f, i in zip(self.faults, self.found, strict=True)
                if i and f in produced
            ]
        )


def judge(
    faults: Sequence[Fault],
    incidents: Sequence[Incident],
    *,
    streams: int,
    seconds: float,
) -> Verdict:
    """Match; ``seconds`` of event time were produced for each of ``streams``."""
    ordered = sorted(incidents, key=lambda incident: incident.starts)
    found = tuple(
        next((i for i in ordered if belongs(i, fault)), None) for fault in faults
    )
    false_alarms = tuple(
        i for i in ordered if not any(belongs(i, fault) for fault in faults)
    )
    resolved = sum(i.ends is not None for i in ordered)
    return Verdict(
        tuple(faults),
        found,
        false_alarms,
        len(ordered),
        resolved,
        streams * seconds / WEEK_S,
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
