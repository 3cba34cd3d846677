"""What the page and the API show: incidents that are open or recent.

Theory of operation. The log follows the state. A partition that is assigned brings the
incidents that its decision rows say are open, and a partition that is revoked takes
its incidents along. Between the two, alerts open and close incidents.

An incident is shown at its peak: the point furthest over its threshold, with what was
observed and expected there. After a restart the peak is known from the last
notification, if the outbox or its list of open incidents still holds it. Otherwise the
decision row is all that is known, until a later point exceeds the old peak.

Memory is bounded: at most :data:`LISTED` open incidents are listed, the rest is
counted.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from detector.events import (
    Alert,
    Labels,
    Partition,
    PendingNotification,
    Phase,
    Reason,
)
from detector.history.entries import Incident, entry
from detector.history.peaks import NO_PLACE, NO_SLOT, Peak, Peaks
from detector.notify.labels import Labelling
from detector.notify.payload import AlertBody
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.recovery.snapshot import Restored

# Open incidents: one answer of the API stays at about 1 MB.
LISTED: Final = 1_000
RECENT: Final = 200  # incidents that ended

_Known = tuple[Incident, Peak | None]  # what is known of an incident
_Key = tuple[str, float]  # names an incident in a partition: stream and onset
_decoder = msgspec.msgpack.Decoder(Alert)


class Incidents(msgspec.Struct, frozen=True):
    """The answer of ``/api/v1/alerts``.

    Attributes:
        firing: open incidents, those that began last first.
        resolved: incidents that ended since the start, those that ended last first.
        not_listed: how many open incidents ``firing`` leaves out; it has at most
            :data:`LISTED`.
    """

    firing: list[AlertBody]
    resolved: list[AlertBody]
    not_listed: int = 0


@dataclass(slots=True)
class _Listed:
    """An open incident and its place among the peaks."""

    incident: Incident
    place: int


_ByStream = dict[str, _Listed]


class IncidentLog(NullObserver):
    """Written by the loop, read by the HTTP thread. Implements Observer."""

    def __init__(self, labelling: Labelling, composer: AlertComposer) -> None:
        self._labelling = labelling
        self._composer = composer
        self._lock = threading.Lock()
        self._open: dict[Partition, _ByStream] = {}
        self._firing: dict[Partition, int] = {}
        self._recent: deque[_Known] = deque(maxlen=RECENT)
        self._peaks = Peaks(LISTED)
        self._slots: Iterator[int] = iter(())  # of the alerts that follow a batch

    def use(self, composer: AlertComposer) -> None:
        """Describe incidents so from now on."""
        self._composer = composer

    # -- the loop's side ---------------------------------------------------------------

    def assigned(self, partition: Partition, restored: Restored) -> None:
        """List the incidents that were open when the partition was last written."""
        alerts = _last_notifications(restored)
        with self._lock:
            # of a partition that stays, under another bundle
            alerts = self._listed_alerts(partition) | alerts
            self._drop(partition)
            for stream, row, tags in _firing_rows(restored):
                onset = float(row["onset"])
                alert = alerts.get((stream, onset))
                incident = Incident.restored(
                    partition,
                    stream,
                    row,
                    alert,
                    tags,
                )
                self._count(partition, 1)
                self._list(incident)

    def revoked(self, partition: Partition) -> None:
        """Another member has its incidents now."""
        with self._lock:
            self._drop(partition)

    def scored(self, batch: ScoredBatch) -> None:
        slots = batch.slots[batch.transitions]
        self._slots = iter(slots.tolist())
        with self._lock:
            listed = self._open.get(batch.partition)
            if listed:
                place_of = functools.partial(_place_of, listed)
                self._peaks.follow(batch, place_of)

    def alerted(self, alert: Alert) -> None:
        slot = next(self._slots, NO_SLOT)
        with self._lock:
            if not alert.firing:
                self._end(alert)
            elif alert.reason is Reason.FIRED:
                self._count(alert.partition, 1)
                self._list(Incident.of(alert), slot)
            else:
                self._update(alert)

    def _list(
        self,
        incident: Incident,
        slot: int = NO_SLOT,
    ) -> None:
        """Unless as many are listed as may be."""
        alert = incident.alert
        listed = self._open.setdefault(alert.partition, {})
        before = listed.pop(alert.stream, None)
        if before is not None:
            self._peaks.close(before.place)
        place = self._peaks.open(alert.starts_at, slot)
        if place != NO_PLACE:
            listed[alert.stream] = _Listed(incident, place)

    def _update(self, alert: Alert) -> None:
        partition = self._listed(alert.partition)
        listed = partition.get(alert.stream)
        if listed is not None:
            listed.incident = listed.incident.updated(alert)

    def _end(self, alert: Alert) -> None:
        self._count(alert.partition, -1)
        incident = Incident.unlisted(alert)
        peak = None
        partition = self._listed(alert.partition)
        listed = partition.pop(alert.stream, None)
        if listed is not None:
            incident = listed.incident.ended(alert)
            peak = self._peaks.peak(listed.place)
            self._peaks.close(listed.place)
        self._recent.append((incident, peak))

    def _listed(self, partition: Partition) -> _ByStream:
        return self._open.get(partition, {})

    def _listed_alerts(self, partition: Partition) -> dict[_Key, Alert]:
        listed = self._listed(partition).values()
        incidents = [one.incident for one in listed if one.incident.is_known]
        return {_key(incident.alert): incident.alert for incident in incidents}

    def _drop(self, partition: Partition) -> None:
        dropped = self._open.pop(partition, {})
        for listed in dropped.values():
            self._peaks.close(listed.place)
        self._firing.pop(partition, None)

    def _count(self, partition: Partition, more: int) -> None:
        count = self._firing.get(partition, 0) + more
        self._firing[partition] = max(0, count)

    # -- the HTTP thread's side --------------------------------------------------------

    def alerts(self, limit: int = LISTED) -> Incidents:
        """What is open, at most ``limit`` incidents, and what ended lately."""
        with self._lock:
            firing = [self._known(listed) for listed in self._all_listed()]
            resolved = list(reversed(self._recent))
            count = sum(self._firing.values())
        firing.sort(key=_starts_at, reverse=True)
        firing = firing[:limit]
        not_listed = count - len(firing)
        return Incidents(
            firing=[self._entry(known) for known in firing],
            resolved=[self._entry(known) for known in resolved],
            not_listed=max(0, not_listed),
        )

    def _all_listed(self) -> Iterator[_Listed]:
        for partition in self._open.values():
            yield from partition.values()

    def _known(self, listed: _Listed) -> _Known:
        return listed.incident, self._peaks.peak(listed.place)

    def _entry(self, known: _Known) -> AlertBody:
        incident, peak = known
        return entry(
            incident,
            peak,
            self._composer,
            self._labelling,
        )


def _starts_at(known: _Known) -> float:
    incident, _ = known
    return incident.alert.starts_at


def _place_of(listed: _ByStream, stream: str) -> int:
    found = listed.get(stream)
    return NO_PLACE if found is None else found.place


def _firing_rows(restored: Restored) -> Iterator[tuple[str, np.void, Labels]]:
    for page in restored.pages:
        is_firing = page.decisions["phase"] == Phase.FIRING
        firing = np.flatnonzero(is_firing)
        for i in firing.tolist():
            tags = page.labels[i] if page.labels else {}
            yield page.names[i], page.decisions[i], tags


def _last_notifications(restored: Restored) -> dict[_Key, Alert]:
    """What was last sent, or is to be sent, of each open incident."""
    sent = [incident.alert for _, incident in restored.open]
    alerts = [_decoder.decode(alert) for alert in sent]
    waiting = [notification for _, notification in restored.alerts]
    waiting.sort(key=_order)
    alerts += [notification.alert for notification in waiting]
    firing = [alert for alert in alerts if alert.firing]
    return {_key(alert): alert for alert in firing}


def _key(alert: Alert) -> _Key:
    return alert.stream, alert.starts_at


def _order(waiting: PendingNotification) -> int:
    return waiting.order
