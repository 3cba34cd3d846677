"""Open incidents: what receivers get again while they last, and the end at last.

Theory of operation. A route with a ``repeat_interval`` repeats an incident that still
fires, that long (in wall time) after its receiver last acknowledged it. What was
never acknowledged is still in the queue and is not repeated. A route that depends on
the severity may lead to a receiver at the beginning and not after an escalation, and
a reload or a restart may bring other routes. So whoever got the beginning is
remembered, and gets the end whatever the routes say then. Both must outlive the
process: an open incident is in its stream's page from its first notification to its
last.

The last notification is kept as bytes, which take a quarter of the memory of objects:
in the worst hour every stream of the fleet is in here.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from detector.events import Alert, OpenIncident, Partition
from detector.notify.receiver_queue import PageKey, StreamKey

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Alert)


@dataclass(slots=True)
class _Incident:
    """One open incident, in memory.

    Attributes:
        alert: its last notification while it fires, as msgpack.
        last_acked: receiver -> wall time of its last acknowledgement, in epoch seconds;
            0 before the first.
        due: receiver -> wall time at which it gets the incident again.
    """

    page: PageKey
    starts_at: float
    alert: bytes
    last_acked: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)


class OpenIncidents:
    """Not thread-safe: the outbox holds its lock."""

    def __init__(self) -> None:
        self._open: dict[StreamKey, _Incident] = {}
        self._pages: dict[PageKey, set[StreamKey]] = {}
        self._due: dict[str, list[tuple[float, StreamKey]]] = {}

    def update(
        self,
        page: PageKey,
        alert: Alert,
        receivers: Sequence[str],
    ) -> None:
        """It began or escalated, and these receivers are about to get that."""
        stream = page[0], alert.stream
        incident = self._open.get(stream)
        same = incident is not None and incident.starts_at == alert.starts_at
        if incident is None or not same or incident.page != page:
            self.end(stream)
            incident = _Incident(page, alert.starts_at, b"")
            self._add(stream, incident)
        incident.alert = _encoder.encode(alert)
        for name in receivers:
            incident.last_acked.setdefault(name, 0.0)

    def end(self, stream: StreamKey) -> tuple[str, ...]:
        """Remove it: the receivers that got it while it fired, or are about to."""
        incident = self._open.pop(stream, None)
        if incident is None:
            return ()
        self._pages[incident.page].discard(stream)
        return tuple(incident.last_acked)

    def acknowledge(
        self,
        stream: StreamKey,
        alert: Alert,
        receiver: str,
        at: float,
        repeat: float,
    ) -> PageKey | None:
        """The receiver acknowledged or refused it at ``at``, in wall time.

        It is due again after ``repeat`` seconds; 0: never. The page that changed.
        """
        incident = self._open.get(stream)
        if incident is None or incident.starts_at != alert.starts_at:
            return None
        incident.last_acked[receiver] = at
        self._schedule(stream, receiver, repeat)
        return incident.page

    def is_open(self, stream: StreamKey, alert: Alert) -> bool:
        incident = self._open.get(stream)
        return incident is not None and incident.starts_at == alert.starts_at

    def next_due(self, receiver: str) -> float:
        """Wall time of the next repeat; infinite if there is none."""
        schedule = self._due.get(receiver)
        return schedule[0][0] if schedule else math.inf

    def take_due(
        self,
        receiver: str,
        now: float,
    ) -> Iterator[tuple[PageKey, Alert, float]]:
        """What the receiver gets again, and when that was due; each once until then."""
        schedule = self._due.get(receiver, [])
        while schedule and schedule[0][0] <= now:
            at, stream = heapq.heappop(schedule)
            incident = self._open.get(stream)
            if incident is not None and incident.due.get(receiver) == at:
                del incident.due[receiver]
                yield incident.page, _decoder.decode(incident.alert), at

    def restore(
        self,
        page: PageKey,
        stored: OpenIncident,
        repeat_interval: Callable[[Alert, str], float],
    ) -> None:
        """As it was stored; repeats follow the routes in force now."""
        stream = page[0], stored.stream
        last_acked = dict(stored.last_acked)
        incident = _Incident(page, stored.starts_at, stored.alert, last_acked)
        self._add(stream, incident)
        alert = _decoder.decode(stored.alert)
        for receiver, at in last_acked.items():
            if at:
                self._schedule(stream, receiver, repeat_interval(alert, receiver))

    def reschedule(self, repeat_interval: Callable[[Alert, str], float]) -> None:
        """Repeats follow other routes from now on."""
        self._due.clear()
        for stream, incident in self._open.items():
            incident.due.clear()
            alert = _decoder.decode(incident.alert)
            for receiver, at in incident.last_acked.items():
                if at:
                    self._schedule(stream, receiver, repeat_interval(alert, receiver))

    def of_page(self, page: PageKey) -> tuple[OpenIncident, ...]:
        """For the page, as it is written."""
        found = []
        for key in self._pages.get(page, ()):
            incident = self._open[key]
            acked = dict(incident.last_acked)
            found.append(
                OpenIncident(key[1], incident.starts_at, incident.alert, acked)
            )
        return tuple(found)

    def forget(self, partition: Partition) -> None:
        """Another member repeats and ends them from now on."""
        streams = [key for key in self._open if key[0] == partition]
        for stream in streams:
            self.end(stream)

    def _add(self, stream: StreamKey, incident: _Incident) -> None:
        self._open[stream] = incident
        self._pages.setdefault(incident.page, set()).add(stream)

    def _schedule(self, stream: StreamKey, receiver: str, interval: float) -> None:
        if interval:
            incident = self._open[stream]
            due = incident.last_acked[receiver] + interval
            incident.due[receiver] = due
            schedule = self._due.setdefault(receiver, [])
            heapq.heappush(schedule, (due, stream))
