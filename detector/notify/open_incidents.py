"""Open incidents that receivers must be told of again: while they go on, and when they
end.

Theory of operation. A route with a ``repeat_interval`` tells again of an incident that
still fires so many seconds of wall time after its receiver last acknowledged it; what
was never acknowledged is still in the queue and needs no repeating. A route that looks
at the severity hears of a beginning and not of the escalation, so whoever heard of the
beginning is remembered, and is told the end whatever its severity. Both must outlive
the process: an incident stands in its stream's page from its first notification to its
last.

The last notification is kept as bytes, a quarter of what the objects take: in the worst
hour every stream of the fleet is in here.
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
    """``told`` is wall time of the last acknowledgement, 0 before the first; ``due``
    when a receiver is told again.
    """

    page: PageKey
    starts_at: float
    alert: bytes
    last_acked: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)


class OpenIncidents:
    """Not thread-safe: the outbox's lock is held around it."""

    def __init__(self) -> None:
        self._open: dict[StreamKey, _Incident] = {}
        self._pages: dict[PageKey, set[StreamKey]] = {}
        self._due: dict[str, list[tuple[float, StreamKey]]] = {}

    def goes_on(self, page: PageKey, alert: Alert, receivers: Sequence[str]) -> None:
        """It began or got worse, which these receivers are about to be told."""
        stream = page[0], alert.stream
        incident = self._open.get(stream)
        if incident is None or (incident.page, incident.starts_at) != (
            page,
            alert.starts_at,
        ):
            self.ended(stream)
            incident = self._open[stream] = _Incident(page, alert.starts_at, b"")
            self._pages.setdefault(page, set()).add(stream)
        incident.alert = _encoder.encode(alert)
        for name in receivers:
            incident.last_acked.setdefault(name, 0.0)

    def ended(self, stream: StreamKey) -> tuple[str, ...]:
        """Who was told of it while it fired, or is about to be."""
        incident = self._open.pop(stream, None)
        if incident is None:
            return ()
        self._pages[incident.page].discard(stream)
        return tuple(incident.last_acked)

    def acknowledged(
        self, stream: StreamKey, alert: Alert, receiver: str, at: float, again: float
    ) -> PageKey | None:
        """The receiver acknowledged or refused it at ``at``; it is told again after
        ``again`` seconds, 0: never. The page that changed.
        """
        incident = self._open.get(stream)
        if incident is None or incident.starts_at != alert.starts_at:
            return None
        incident.last_acked[receiver] = at
        self._call(stream, incident, receiver, again)
        return incident.page

    def still(self, stream: StreamKey, alert: Alert) -> bool:
        incident = self._open.get(stream)
        return incident is not None and incident.starts_at == alert.starts_at

    def next_due(self, receiver: str) -> float:
        """Wall time of the next repeat; infinite where there is none."""
        calls = self._due.get(receiver)
        return calls[0][0] if calls else math.inf

    def due(self, receiver: str, now: float) -> Iterator[tuple[PageKey, Alert, float]]:
        """What to tell the receiver again, with the time at which that was due; each
        once until it has been told.
        """
        calls = self._due.get(receiver, [])
        while calls and calls[0][0] <= now:
            at, stream = heapq.heappop(calls)
            incident = self._open.get(stream)
            if incident is not None and incident.due.get(receiver) == at:
                del incident.due[receiver]
                yield incident.page, _decoder.decode(incident.alert), at

    def restore(
        self,
        page: PageKey,
        restored: OpenIncident,
        again: Callable[[Alert, str], float],
    ) -> None:
        """As it was stored; ``again`` says how often a receiver is told by the routes
        in force.
        """
        stream = page[0], restored.stream
        incident = self._open[stream] = _Incident(
            page, restored.starts_at, restored.alert, dict(restored.last_acked)
        )
        self._pages.setdefault(page, set()).add(stream)
        alert = _decoder.decode(restored.alert)
        for receiver, at in restored.last_acked.items():
            if at:
                self._call(stream, incident, receiver, again(alert, receiver))

    def opened(self, page: PageKey) -> tuple[OpenIncident, ...]:
        """What the page holds."""
        found = ((stream, self._open[stream]) for stream in self._pages.get(page, ()))
        return tuple(
            OpenIncident(stream, i.starts_at, i.alert, dict(i.last_acked))
            for (_, stream), i in found
        )

    def forget(self, partition: Partition) -> None:
        """Another member tells of them from now on."""
        for stream in [s for s in self._open if s[0] == partition]:
            self.ended(stream)

    def _call(
        self, stream: StreamKey, incident: _Incident, receiver: str, again: float
    ) -> None:
        if again:
            incident.due[receiver] = incident.last_acked[receiver] + again
            heapq.heappush(
                self._due.setdefault(receiver, []), (incident.due[receiver], stream)
            )
